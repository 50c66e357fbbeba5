import { goldenPicture } from '../../fixtures/golden.ts';
import { repairChecksums } from '../../fuzz/decoders/png.ts';
import {
  animatedWebp,
  avif,
  bmp,
  cutOut,
  exifSegment,
  gif,
  greyTiff,
  jpeg,
  png,
  rgbPng,
  scene,
  tiff,
  webp,
  withSegments,
} from '../../media/sample-pictures.ts';
import type { Random } from '../random.ts';
import { mutate } from './mutate.ts';
import { tiffLayouts } from './tiffs.ts';

/** A sound file that mutations start from. */
export interface Medium {
  readonly name: string;
  /** The form field it is sent in. */
  readonly field: 'files';
  readonly bytes: Uint8Array;
  /** Makes checksums right again, so that the decoder gets to see the damage. */
  readonly repair?: (bytes: Uint8Array) => void;
}

const WIDTH = 61;
const HEIGHT = 47;

/** Every format, and of each the kinds that take another way through the decoders. */
export async function loadMedia(): Promise<readonly Medium[]> {
  const pictures: Readonly<Record<string, Uint8Array>> = {
    'plain.jpg': await jpeg(WIDTH, HEIGHT),
    'large.jpg': await jpeg(1100, 950),
    'progressive.jpg': await jpeg(WIDTH, HEIGHT, true),
    'turned.jpg': withSegments(await jpeg(WIDTH, HEIGHT), exifSegment(6)),
    'cmyk.jpg': await goldenPicture('cmyk.jpg'),
    'optimised-422.jpg': await goldenPicture('optimised-422.jpg'),
    'rgb.png': rgbPng(WIDTH, HEIGHT),
    'interlaced.png': png(WIDTH, HEIGHT, { interlaced: true, samples: (x, y) => scene(x, y).slice(0, 3) }),
    'transparent.png': png(WIDTH, HEIGHT, { colourType: 6, samples: cutOut }),
    'sixteen-bits.png': png(WIDTH, HEIGHT, {
      bitDepth: 16,
      colourType: 0,
      samples: (x, y) => [(x * 997 + y * 131) & 0xffff],
    }),
    'lossless.webp': await webp(WIDTH, HEIGHT),
    'lossy.webp': await new Bun.Image(bmp(WIDTH, HEIGHT)).webp({ quality: 80 }).bytes(),
    'transparent.webp': await webp(WIDTH, HEIGHT, cutOut),
    'animated.webp': animatedWebp(WIDTH, HEIGHT, [
      await webp(WIDTH, HEIGHT),
      await webp(WIDTH, HEIGHT, cutOut),
    ]),
    'two-frames.gif': gif(WIDTH, HEIGHT, {
      palette: [
        [1, 2, 3],
        [250, 100, 0],
      ],
      index: (x, y) => (x ^ y) & 1,
      transparent: 0,
      frames: 2,
    }),
    'alpha.bmp': bmp(WIDTH, HEIGHT),
    'rgb.tiff': await tiff(WIDTH, HEIGHT),
    'grey.tiff': greyTiff(WIDTH, HEIGHT, (x, y) => (x * 5 + y) & 0xff),
    ...Object.fromEntries(tiffLayouts().map(({ name, bytes }) => [name, bytes])),
    'plain.avif': await avif(WIDTH, HEIGHT),
    'transparent.avif': await avif(WIDTH, HEIGHT, cutOut),
  };
  return Object.entries(pictures).map(([name, bytes]) => ({
    name,
    field: 'files',
    // Some encoders hand out views of memory that they use again.
    bytes: Uint8Array.from(bytes),
    ...(name.endsWith('.png') && { repair: repairChecksums }),
  }));
}

const REPAIRED = 0.7;

export function mutateMedium({ bytes, repair }: Medium, random: Random): Uint8Array {
  const mutated = mutate(bytes, random);
  if (repair && random.chance(REPAIRED)) repair(mutated);
  return mutated;
}
