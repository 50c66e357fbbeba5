import type { ExifOrientation, Size } from '../geometry.ts';

/**
 * A decoder refused a picture: it is damaged, a variant of its format that no decoder here reads, or larger than the
 * decoder allows.
 */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
  readonly reason: 'broken' | 'unsupported' | 'too_large';

  constructor(reason: DecodeError['reason'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

const FILE_HEADER_BYTES = 14;
const V4_HEADER_BYTES = 108;
/** Pixels begin on a multiple of 4, so they can be read as 32-bit words. */
const PIXELS_OFFSET = 124;
const BITFIELDS = 3;

interface Bitmap {
  /** The whole BMP file. */
  readonly bytes: Uint8Array;
  /** Its pixels, [height, width, 4] u8 RGBA, row-major, top row first; a view into `bytes`. */
  readonly pixels: Uint8Array;
}

/** Makes a BMP whose pixels are still to be filled in. `Bun.Image` accepts raw RGBA only in this form. */
export function createBitmap(width: number, height: number): Bitmap {
  const bytes = new Uint8Array(PIXELS_OFFSET + width * height * 4);
  const view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x4d]); // "BM"
  view.setUint32(2, bytes.length, true);
  view.setUint32(10, PIXELS_OFFSET, true);
  view.setUint32(FILE_HEADER_BYTES, V4_HEADER_BYTES, true);
  view.setInt32(18, width, true);
  view.setInt32(22, -height, true); // negative: top row first
  view.setUint16(26, 1, true); // planes
  view.setUint16(28, 32, true); // bits a pixel
  view.setUint32(30, BITFIELDS, true);
  view.setUint32(34, width * height * 4, true);
  // Masks of red, green, blue and alpha in a little-endian word: bytes in the order R, G, B, A.
  for (const [index, mask] of [0xff, 0xff00, 0xff0000, 0xff000000].entries()) {
    view.setUint32(54 + index * 4, mask, true);
  }
  return { bytes, pixels: bytes.subarray(PIXELS_OFFSET) };
}

/** Reads the size of a BMP. */
export function bitmapSize(bytes: Uint8Array): Size {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
}

const SIGNATURE_BYTES = 8;
const CHUNK_OVERHEAD_BYTES = 12;
const IDAT = 0x49444154;
const ZLIB_HEADER_BYTES = 2;

/**
 * Reads pixels out of a PNG as `Bun.Image` writes it at compression level 0: 8-bit RGBA, rows unfiltered, deflate
 * blocks stored uncompressed. It is the only lossless output of Bun.Image that costs no more than a copy. Reading it
 * needs neither inflate nor a second decoder.
 */
export class StoredPng implements Size {
  readonly width: number;
  readonly height: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Next byte to read, and where its IDAT chunk ends. */
  #position = 0;
  #chunkEnd = 0;
  /** Bytes left in the current stored block. */
  #blockBytes = 0;
  #nextRow = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.width = this.#view.getUint32(16);
    this.height = this.#view.getUint32(20);
    const [bitDepth, colourType, , , interlaced] = bytes.subarray(24, 29);
    if (bitDepth !== 8 || colourType !== 6 || interlaced !== 0) {
      throw new Error('This is a bug: Bun.Image wrote a PNG that is not plain 8-bit RGBA.');
    }
    this.#chunkEnd = SIGNATURE_BYTES;
    this.#enterNextChunk(0);
    this.#skip(ZLIB_HEADER_BYTES);
  }

  skipRows(count: number): void {
    this.#pass(count * (1 + this.width * 4));
    this.#nextRow += count;
  }

  /**
   * Reads pixels of the next row until `target` is full.
   * @param target [n, 4] u8 RGBA
   * @param first the first pixel to read
   */
  readRow(target: Uint8Array, first = 0): void {
    if (this.#nextRow++ >= this.height) throw new RangeError('This is a bug: the PNG has no further row.');
    const filter = this.#take(1)[0];
    if (filter !== 0) throw new Error('This is a bug: Bun.Image wrote a filtered PNG row.');
    this.#pass(first * 4);
    for (let at = 0; at < target.length; ) {
      const piece = this.#take(target.length - at);
      target.set(piece, at);
      at += piece.length;
    }
    this.#pass((this.width - first) * 4 - target.length);
  }

  #pass(count: number): void {
    for (let left = count; left > 0; ) left -= this.#take(left).length;
  }

  /** Up to `count` bytes of uncompressed data that lie together. */
  #take(count: number): Uint8Array {
    while (this.#blockBytes === 0) this.#enterNextBlock();
    if (this.#position === this.#chunkEnd) this.#enterNextChunk(CHUNK_OVERHEAD_BYTES - 8);
    const length = Math.min(count, this.#blockBytes, this.#chunkEnd - this.#position);
    const piece = this.#bytes.subarray(this.#position, this.#position + length);
    this.#position += length;
    this.#blockBytes -= length;
    return piece;
  }

  #enterNextBlock(): void {
    // 3 bits: last block, type (0 is stored), then the rest of the byte is padding.
    if ((this.#zlibByte() & 0b110) !== 0) {
      throw new Error('This is a bug: Bun.Image compressed a PNG at compression level 0.');
    }
    this.#blockBytes = this.#zlibByte() | (this.#zlibByte() << 8);
    this.#skip(2); // the length's complement
  }

  #skip(count: number): void {
    for (let i = 0; i < count; i++) this.#zlibByte();
  }

  #zlibByte(): number {
    if (this.#position === this.#chunkEnd) this.#enterNextChunk(CHUNK_OVERHEAD_BYTES - 8);
    return this.#view.getUint8(this.#position++);
  }

  /** @param checksumBytes that follow the chunk before */
  #enterNextChunk(checksumBytes: number): void {
    let at = this.#chunkEnd + checksumBytes;
    while (this.#view.getUint32(at + 4) !== IDAT) at += CHUNK_OVERHEAD_BYTES + this.#view.getUint32(at);
    this.#position = at + 8;
    this.#chunkEnd = this.#position + this.#view.getUint32(at);
  }
}

export interface Window extends Size {
  readonly left: number;
  readonly top: number;
}

/** Reads a window of the pixels: [height, width, 4] u8 RGBA, row-major. */
export function readWindow(stored: StoredPng, { left, top, width, height }: Window): Uint8Array {
  const pixels = new Uint8Array(width * height * 4);
  stored.skipRows(top);
  for (let y = 0; y < height; y++) stored.readRow(pixels.subarray(y * width * 4, (y + 1) * width * 4), left);
  return pixels;
}

interface BuiltinDecodeOptions {
  /** The header's pixel count. A larger picture is refused before memory is allocated for it. */
  readonly declaredPixels: number;
  readonly orientation?: ExifOrientation;
  /** Size after the orientation. Left out: the picture's own size. */
  readonly resized?: Size;
}

/**
 * Decodes a JPEG, PNG, still WebP, GIF or plain BMP with `Bun.Image`, off the main thread: turns it upright, resizes it
 * with Pillow's antialiased bicubic filter (±1 of 255).
 *
 * A JPEG that is made smaller is shrunk by the inverse DCT first, to the smallest n/8 that is not below `resized`:
 * request the shrunk size first and resize that in a second step.
 * @returns the pixels as a PNG for `StoredPng`
 * @throws DecodeError
 */
export async function decodeBuiltin(bytes: Uint8Array, options: BuiltinDecodeOptions): Promise<Uint8Array> {
  const { declaredPixels, orientation = 1, resized } = options;
  const resizedPixels = resized ? resized.width * resized.height : 0;
  // maxPixels bounds the input, the output, and the picture between the two passes of a resize. With the ratio kept,
  // the last is never the largest.
  const image = new Bun.Image(bytes, {
    autoOrient: false,
    maxPixels: Math.max(declaredPixels, resizedPixels),
  });
  turnUpright(image, orientation);
  if (resized) image.resize(resized.width, resized.height, { filter: 'cubic' });
  try {
    return await image.png({ compressionLevel: 0 }).bytes();
  } catch (cause) {
    const reason = reasons.get((cause as { code?: string }).code ?? '');
    if (reason === undefined) throw cause;
    throw new DecodeError(reason, (cause as Error).message, { cause });
  }
}

/**
 * Encodes a picture as JPEG, off the main thread.
 * @param bitmap a BMP, see `createBitmap`
 * @param quality 1 to 100
 */
export async function encodeJpeg(bitmap: Uint8Array, quality: number): Promise<Uint8Array> {
  return await new Bun.Image(bitmap).jpeg({ quality }).bytes();
}

const reasons: ReadonlyMap<string, DecodeError['reason']> = new Map([
  ['ERR_IMAGE_DECODE_FAILED', 'broken'],
  // The header promised fewer pixels: it contradicts the data.
  ['ERR_IMAGE_TOO_MANY_PIXELS', 'broken'],
  ['ERR_IMAGE_UNKNOWN_FORMAT', 'unsupported'],
  ['ERR_IMAGE_FORMAT_UNSUPPORTED', 'unsupported'],
]);

/** Bun.Image rotates before it mirrors, in any order of the calls. */
function turnUpright(image: Bun.Image, orientation: ExifOrientation): void {
  const degrees = { 1: 0, 2: 0, 3: 180, 4: 0, 5: 90, 6: 90, 7: 90, 8: 270 }[orientation];
  if (degrees !== 0) image.rotate(degrees);
  if (orientation === 2 || orientation === 5) image.flop();
  if (orientation === 4 || orientation === 7) image.flip();
}
