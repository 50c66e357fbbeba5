import { ServiceError } from '../../../src/errors.ts';
import { readPictureHeader } from '../../../src/media/sniff.ts';
import {
  box,
  type CodedPicture,
  codedItem,
  cutProperty,
  gridData,
  heicSequence,
  heif,
  sizeProperty,
} from '../../media/sample-heifs.ts';
import {
  animatedWebp,
  avif,
  bmp,
  concat,
  cutOut,
  exifSegment,
  gif,
  greyTiff,
  jpeg,
  png,
  riff,
  riffChunk,
  tiff,
  webp,
  webpChunks,
  webpExtension,
  withSegments,
} from '../../media/sample-pictures.ts';
import { rawFile, rawKinds } from '../../media/sample-raws.ts';
import { repairChecksums } from '../decoders/png.ts';
import { check, type Target } from '../target.ts';

/** Headers are read without a look at what is coded. */
const coded: CodedPicture = {
  width: 8,
  height: 6,
  configuration: Uint8Array.from({ length: 23 }, (_, at) => (at === 16 ? 1 : 0)),
  data: new Uint8Array(16),
};

const heicOfTiles = heif({
  items: [
    {
      id: 1,
      type: 'grid',
      properties: [sizeProperty(12, 6)],
      data: gridData(2, 1, 12, 6),
      place: 'meta box',
    },
    codedItem(2, coded),
    codedItem(3, coded),
  ],
  references: [['dimg', 1, [2, 3]]],
});

/** Readers of picture headers: sizes, orientation and ends are told from them before anything is decoded. */
export const headers: Target = {
  name: 'headers',
  maxBytes: 4096,

  async seeds() {
    const small = await jpeg(9, 7);
    const preview = await new Bun.Image(bmp(160, 160, () => [9, 9, 9, 255])).jpeg({ quality: 20 }).bytes();
    const pictures = [
      await jpeg(9, 7),
      await jpeg(9, 7, true),
      withSegments(await jpeg(5, 5), exifSegment(6)),
      png(5, 4, { samples: (x, y) => [x, y, 9] }),
      png(9, 9, { colourType: 4, interlaced: true, samples: (x, y) => [x, y] }),
      await webp(6, 5),
      await new Bun.Image(bmp(16, 16)).webp({ quality: 50 }).bytes(),
      animatedWebp(6, 5, [await webp(6, 5)]),
      riff(
        webpExtension(6, 5, 0x08),
        webpChunks(await webp(6, 5)),
        riffChunk('EXIF', concat('II*\0', [8, 0, 0, 0, 0, 0])),
      ),
      gif(6, 5, { palette: [[1, 2, 3]], index: () => 0, transparent: 0, frames: 2 }),
      bmp(3, 3),
      await tiff(5, 4),
      greyTiff(4, 4, () => 7),
      ...rawKinds.map((kind) => rawFile(kind, { jpegs: [preview, small, small] })),
      await avif(9, 7),
      await avif(9, 7, cutOut),
      heif({ items: [codedItem(1, coded, [box('irot', [1]), cutProperty([4, 1], [3, 1], [0, 1], [1, 2])])] }),
      heicOfTiles,
      heicSequence(coded),
    ];
    const others = ['%PDF-1.4', '<svg xmlns="http://www.w3.org/2000/svg">', 'a text'];
    return [...pictures.map((bytes) => Uint8Array.from(bytes)), ...others.map((text) => concat(text))];
  },

  repair(bytes) {
    if (bytes[0] === 0x89) repairChecksums(bytes);
  },

  run(bytes) {
    let header: ReturnType<typeof readPictureHeader>;
    try {
      header = readPictureHeader(bytes);
    } catch (fault) {
      if (!(fault instanceof ServiceError)) throw fault;
      check(fault.code.startsWith('image_'), `the code of a picture's fault is ${fault.code}`);
      checkSentence(fault.message);
      return;
    }
    const { width, height, orientation, coefficientBytes } = header;
    check(Number.isSafeInteger(width) && width > 0 && width < 2 ** 32, `a width of ${width}`);
    check(Number.isSafeInteger(height) && height > 0 && height < 2 ** 32, `a height of ${height}`);
    check(
      Number.isInteger(orientation) && orientation >= 1 && orientation <= 8,
      `an orientation of ${orientation}`,
    );
    check(
      coefficientBytes >= 0 && Number.isFinite(coefficientBytes),
      `coefficients of ${coefficientBytes} bytes`,
    );
  },
};

/** Sentences go into answers and logs: they are short, and show nothing of a file as it is. */
function checkSentence(sentence: string): void {
  check(sentence.length < 1000, `a sentence of ${sentence.length} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  check(!/[\0-\x1f\x7f]/.test(sentence), `a sentence with a control character: ${JSON.stringify(sentence)}`);
}
