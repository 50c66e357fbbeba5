import { crc32 } from 'node:zlib';
import { ByteView, ordinaryPicture, type PictureHeader, readExifOrientation } from './picture-header.ts';

const SIGNATURE_BYTES = 8;
const CHUNK_OVERHEAD_BYTES = 12;
const GREY_ALPHA = 4;
const RGB_ALPHA = 6;
const samplesByColourType: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [2, 3],
  [3, 1],
  [GREY_ALPHA, 2],
  [RGB_ALPHA, 4],
]);
/** Encoders write pixels in chunks of at least 8 KiB: 8,192 for the largest picture. Each checksum is a native call. */
const MAX_CHUNKS = 100_000;
/** Deflate's best: 258 bytes from a bit of length code and a bit of distance code. */
const MAX_DEFLATE_RATIO = 1032;

/**
 * Reads a PNG's header, and walks its chunks to the end. Compares the checksums of the chunks that make the pixels,
 * because the decoder does not.
 */
export function readPngHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'png', 'big');
  let at = SIGNATURE_BYTES;
  if (view.ascii(at + 4, 4) !== 'IHDR') throw view.broken('does not begin with its header');
  const width = view.uint32(at + 8);
  const height = view.uint32(at + 12);
  const bitDepth = view.uint8(at + 16);
  const colourType = view.uint8(at + 17);
  const samples = samplesByColourType.get(colourType);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  if (samples === undefined) throw view.broken(`declares colour type ${colourType}, which does not exist`);

  let exif: Uint8Array | undefined;
  let dataBytes = 0;
  let chunks = 0;
  for (let type = ''; type !== 'IEND'; ) {
    chunks += 1;
    if (chunks > MAX_CHUNKS) throw view.broken(`has more than ${MAX_CHUNKS} chunks`);
    const length = view.uint32(at);
    type = view.fourCc(at + 4);
    const data = at + 8;
    view.require(data + length + 4);
    if (isCritical(type) && crc32(bytes.subarray(at + 4, data + length)) !== view.uint32(data + length)) {
      const chunk = isName(type) ? `its ${type} chunk` : 'a chunk whose name is damaged';
      throw view.broken(`is damaged: the checksum of ${chunk} is wrong`);
    }
    if (type === 'IDAT') dataBytes += length;
    if (type === 'eXIf') exif = bytes.subarray(data, data + length);
    at += CHUNK_OVERHEAD_BYTES + length;
  }
  if (dataBytes * MAX_DEFLATE_RATIO < (width * height * samples * bitDepth) / 8) {
    throw view.truncated(`${width} × ${height} pixels are declared, but only ${dataBytes} bytes hold pixels`);
  }

  return {
    ...ordinaryPicture,
    format: 'png',
    width,
    height,
    orientation: exif ? readExifOrientation(exif) : 1,
    // A tRNS chunk does not count: the reference drops it before it resizes.
    alpha: colourType === GREY_ALPHA || colourType === RGB_ALPHA,
  };
}

/** Only a plain name may become part of a sentence: a damaged file has any bytes there. */
function isName(type: string): boolean {
  return /^[A-Za-z]{4}$/.test(type);
}

/** Chunks that a decoder needs to make the picture. Their names begin with a capital letter. */
function isCritical(type: string): boolean {
  return type[0]! >= 'A' && type[0]! <= 'Z';
}
