import { Readable } from 'node:stream';
import { constants, crc32, createInflate } from 'node:zlib';
import type { Size } from '../../../../native/geometry.ts';
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

/** What is in a PNG's chunks. */
interface PngChunks {
  readonly exif: Uint8Array | undefined;
  readonly hasTransparentColour: boolean;
  /** The contents of the IDAT chunks: deflated pixels. */
  readonly pixelData: readonly Uint8Array[];
  /** The checksum of an IDAT chunk is wrong. */
  readonly isSuspect: boolean;
  /** The file ends after the pixels, before its last chunk does: bytes up to there; undefined: it is whole. */
  readonly cutAt: number | undefined;
}

/**
 * Reads a PNG's header, and walks its chunks to the end. Compares the checksums of the chunks that make the pixels,
 * because the decoder does not. The end may be missing, and IDAT's checksums may be wrong: what they hold has a checksum
 * of its own, which `provePng` compares.
 */
export function readPngHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'png', 'big');
  const { width, height, colourType, rawBytes } = readStart(view);
  const { exif, hasTransparentColour, pixelData, isSuspect, cutAt } = readChunks(view);
  const dataBytes = pixelData.reduce((sum, { length }) => sum + length, 0);
  if (dataBytes * MAX_DEFLATE_RATIO < rawBytes) {
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
    ...(hasTransparentColour && { seeThrough: true }),
    ...((isSuspect || cutAt !== undefined) && { unproven: true }),
  };
}

function readStart(view: ByteView) {
  const at = SIGNATURE_BYTES;
  if (view.ascii(at + 4, 4) !== 'IHDR') throw view.broken('does not begin with its header');
  const width = view.uint32(at + 8);
  const height = view.uint32(at + 12);
  const bitDepth = view.uint8(at + 16);
  const colourType = view.uint8(at + 17);
  const isInterlaced = view.uint8(at + 20) === 1;
  const samples = samplesByColourType.get(colourType);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  if (samples === undefined) throw view.broken(`declares colour type ${colourType}, which does not exist`);
  return {
    width,
    height,
    colourType,
    rawBytes: rawBytesOf({ width, height }, samples * bitDepth, isInterlaced),
  };
}

/** Adam7: of every pass its first column and row, and the steps between columns and rows. */
const interlacedPasses = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** The length of the inflated pixels. Each row begins with a byte for its filter. */
function rawBytesOf({ width, height }: Size, bitsPerPixel: number, isInterlaced: boolean): number {
  const passes = isInterlaced ? interlacedPasses : ([[0, 0, 1, 1]] as const);
  return passes.reduce((sum, [left, top, stepX, stepY]) => {
    const columns = Math.ceil((width - left) / stepX);
    const rows = Math.ceil((height - top) / stepY);
    return columns > 0 && rows > 0 ? sum + rows * (1 + Math.ceil((columns * bitsPerPixel) / 8)) : sum;
  }, 0);
}

function readChunks(view: ByteView): PngChunks {
  const { bytes } = view;
  const pixelData: Uint8Array[] = [];
  let exif: Uint8Array | undefined;
  let hasTransparentColour = false;
  let isSuspect = false;
  let cutAt: number | undefined;
  let chunks = 0;
  let at = SIGNATURE_BYTES;
  for (let type = ''; type !== 'IEND'; ) {
    chunks += 1;
    if (chunks > MAX_CHUNKS) throw view.broken(`has more than ${MAX_CHUNKS} chunks`);
    // After the pixels, nothing is needed; and what is there of them may be all.
    if (pixelData.length > 0 && at + 8 > view.length) {
      cutAt = at;
      break;
    }
    const length = view.uint32(at);
    type = view.fourCc(at + 4);
    const data = at + 8;
    const end = data + length;
    if (end + 4 > view.length && (type === 'IDAT' || pixelData.length > 0)) {
      if (type === 'IDAT') pixelData.push(bytes.subarray(data, end));
      cutAt = type === 'IDAT' ? Math.min(end, view.length) : at;
      break;
    }
    view.require(end + 4);
    if (isCritical(type) && crc32(bytes.subarray(at + 4, end)) !== view.uint32(end)) {
      if (type === 'IDAT') isSuspect = true;
      // Nothing is in it.
      else if (type !== 'IEND' || length > 0) {
        const chunk = isName(type) ? `its ${type} chunk` : 'a chunk whose name is damaged';
        throw view.broken(`is damaged: the checksum of ${chunk} is wrong`);
      }
    }
    if (type === 'IDAT') pixelData.push(bytes.subarray(data, end));
    if (type === 'eXIf') exif = bytes.subarray(data, end);
    if (type === 'tRNS') hasTransparentColour = true;
    at = end + 4;
  }
  return { exif, hasTransparentColour, pixelData, isSuspect, cutAt };
}

/**
 * Inflates the pixels of an unproven PNG once, off the main thread, and compares their length and checksum.
 * @returns the file with its end, which a decoder reads
 * @throws ServiceError image_broken if pixels are missing or damaged
 */
export async function provePng(bytes: Uint8Array): Promise<Uint8Array> {
  const view = new ByteView(bytes, 'png', 'big');
  const { rawBytes } = readStart(view);
  const { pixelData, isSuspect, cutAt } = readChunks(view);
  // The checksum at the end of the data may be cut off: that is no fault unless another one is wrong.
  const finishFlush = isSuspect ? constants.Z_FINISH : constants.Z_SYNC_FLUSH;
  const inflate = createInflate({ chunkSize: INFLATED_AT_ONCE_BYTES, finishFlush });
  let inflated = 0;
  try {
    for await (const piece of Readable.from(pixelData).pipe(inflate)) {
      inflated += piece.length;
      if (inflated > rawBytes) break;
    }
  } catch {
    throw view.broken('is damaged: its pixel data have a wrong checksum');
  }
  if (inflated < rawBytes) {
    throw view.truncated(`its pixels have ${inflated} bytes, but ${rawBytes} are declared`);
  }
  // Its own header may be the damaged part.
  if (isSuspect && inflated > rawBytes) throw view.broken('is damaged: it has more pixels than it declares');
  return cutAt === undefined ? bytes : withEnd(bytes, cutAt, pixelData.at(-1)!);
}

const INFLATED_AT_ONCE_BYTES = 256 * 1024;

/** @param last what is there of the last IDAT chunk */
function withEnd(bytes: Uint8Array, cutAt: number, last: Uint8Array): Uint8Array {
  const lastAt = last.byteOffset - bytes.byteOffset;
  // Checksums are left at 0: the decoder does not compare them.
  const missingChecksum = lastAt + last.length === cutAt ? 4 : 0;
  const endAt = cutAt + missingChecksum;
  const ended = new Uint8Array(endAt + CHUNK_OVERHEAD_BYTES);
  ended.set(bytes.subarray(0, cutAt));
  new DataView(ended.buffer).setUint32(lastAt - 8, last.length);
  ended.set(new TextEncoder().encode('IEND'), endAt + 4);
  return ended;
}

/** Only four letters may become part of a sentence: in a damaged file, any bytes can be there. */
function isName(type: string): boolean {
  return /^[A-Za-z]{4}$/.test(type);
}

/** Chunks that a decoder needs to make the picture. Their names begin with a capital letter. */
function isCritical(type: string): boolean {
  return type[0]! >= 'A' && type[0]! <= 'Z';
}
