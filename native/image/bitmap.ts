import type { Size } from '../geometry.ts';

/**
 * A decoder refused a picture: it is damaged, a variant of its format that no decoder here reads, or
 * larger than the decoder allows.
 */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
  readonly reason: 'broken' | 'unsupported' | 'too_large';

  constructor(reason: DecodeError['reason'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * An intermediate picture of many megabytes. Disposing it frees its memory at once. The garbage collector sees only a
 * small object and would free it late, while the next pictures are being decoded.
 */
export class Intermediate implements Disposable {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  [Symbol.dispose](): void {
    const { buffer, byteLength } = this.bytes;
    // A view into a larger buffer shares it with other views.
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  }
}

/** EXIF's numbering: 1 is upright, 2 to 4 are mirrored or upside down, 5 to 8 lie on their side. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

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

/** A BMP to be filled with pixels: the one form in which `Bun.Image` takes raw RGBA. */
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

export function bitmapSize(bytes: Uint8Array): Size {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
}
