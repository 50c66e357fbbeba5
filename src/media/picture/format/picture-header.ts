import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import type { PictureFormat } from '../../../contract/formats.ts';
import { brokenPicture } from '../picture-errors.ts';

/** The facts of a picture's header, read before anything is decoded. The size is as stored, before it is turned. */
export interface PictureHeader extends Size {
  readonly format: PictureFormat;
  /** How the stored pixels are turned for display. */
  readonly orientation: ExifOrientation;
  /** The pixels have an opacity, and the reference resizes it with them. */
  readonly alpha: boolean;
  /** Pixels may be transparent although `alpha` is false: the reference ignores it, people see through them. */
  readonly seeThrough?: true;
  /** The end is missing, or a checksum is wrong: only the pixel data can show whether the picture is there. */
  readonly unproven?: true;
  /** Few decoders read this variant: an animated WebP, or a BMP with a palette, run lengths or 16 bits a pixel. */
  readonly rare: boolean;
  /**
   * Bytes that a decoder holds in addition to the pixels. For a JPEG in several scans (every progressive one), it keeps
   * all coefficients until the last scan. For a HEIC, a row of tiles and the decoder's own frames; for a TIFF, a
   * decompressed strip or tile.
   */
  readonly coefficientBytes: number;
  /** The part of the file that is decoded: the JPEG in a camera's raw picture. Left out: all of it. */
  readonly preview?: { readonly start: number; readonly end: number };
}

/** The facts that hold for most pictures, for readers to start from. */
export const ordinaryPicture = {
  orientation: 1,
  alpha: false,
  rare: false,
  coefficientBytes: 0,
} as const satisfies Partial<PictureHeader>;

/** The picture's size as shown: after its orientation is applied. */
export function shownSize(header: PictureHeader): Size {
  return turnedSize(header, header.orientation);
}

/** Swaps the sides if the orientation lies on its side: converts the stored size to the shown one, and back. */
export function turnedSize({ width, height }: Size, orientation: ExifOrientation): Size {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}

/** Reads numbers of a picture file by their offset. Every read past the end throws: the file is truncated. */
export class ByteView {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #format: PictureFormat;
  readonly #littleEndian: boolean;

  constructor(bytes: Uint8Array, format: PictureFormat, endianness: 'big' | 'little') {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#format = format;
    this.#littleEndian = endianness === 'little';
  }

  get length(): number {
    return this.bytes.length;
  }

  uint8(at: number): number {
    this.require(at + 1);
    return this.#view.getUint8(at);
  }

  uint16(at: number): number {
    this.require(at + 2);
    return this.#view.getUint16(at, this.#littleEndian);
  }

  uint24(at: number): number {
    this.require(at + 3);
    const [first, middle, last] = [at, at + 1, at + 2].map((index) => this.#view.getUint8(index));
    const [low, high] = this.#littleEndian ? [first, last] : [last, first];
    return low! | (middle! << 8) | (high! << 16);
  }

  int32(at: number): number {
    this.require(at + 4);
    return this.#view.getInt32(at, this.#littleEndian);
  }

  uint32(at: number): number {
    this.require(at + 4);
    return this.#view.getUint32(at, this.#littleEndian);
  }

  /** A number too large to be exact is beyond the end of any file. */
  uint64(at: number): number {
    this.require(at + 8);
    // Twice as fast as creating a BigInt.
    const [first, second] = [
      this.#view.getUint32(at, this.#littleEndian),
      this.#view.getUint32(at + 4, this.#littleEndian),
    ];
    const [high, low] = this.#littleEndian ? [second, first] : [first, second];
    return high * 2 ** 32 + low;
  }

  ascii(at: number, length: number): string {
    this.require(at + length);
    return latin1(this.bytes, at, length);
  }

  /** Four characters: the name of a chunk or box. */
  fourCc(at: number): string {
    this.require(at + 4);
    const { bytes } = this;
    return String.fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!);
  }

  /** @throws ServiceError image_broken if the file ends before `end` */
  require(end: number): void {
    if (end > this.length) throw this.truncated(`it has ${this.length} bytes, but ${end} are declared`);
  }

  truncated(evidence: string) {
    return brokenPicture(this.#format, `is truncated: ${evidence}`);
  }

  broken(fault: string) {
    return brokenPicture(this.#format, fault);
  }
}

/** Bytes as characters with the same numbers; fewer if the file ends earlier. */
export function latin1(bytes: Uint8Array, at: number, length: number): string {
  const piece = bytes.subarray(at, at + length);
  return Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString('latin1');
}

const ORIENTATION_TAG = 0x0112;
const ENTRY_BYTES = 12;

/**
 * Reads the orientation from EXIF data: a TIFF header and its first directory.
 * @returns 1 (upright) if the data are damaged
 */
export function readExifOrientation(exif: Uint8Array): ExifOrientation {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const byteOrder = view.getUint16(0);
    if (byteOrder !== 0x4949 && byteOrder !== 0x4d4d) return 1;
    const littleEndian = byteOrder === 0x4949;
    const directory = view.getUint32(4, littleEndian);
    const entries = view.getUint16(directory, littleEndian);
    for (let index = 0; index < entries; index++) {
      const entry = directory + 2 + index * ENTRY_BYTES;
      if (view.getUint16(entry, littleEndian) === ORIENTATION_TAG) {
        return toOrientation(view.getUint16(entry + 8, littleEndian));
      }
    }
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault;
  }
  return 1;
}

export function toOrientation(value: number): ExifOrientation {
  return Number.isInteger(value) && value >= 1 && value <= 8 ? (value as ExifOrientation) : 1;
}

const EXIF_PREFIX = 'Exif\0\0';

/** Removes the prefix that JPEG always and WebP sometimes puts before EXIF data; undefined if there is none. */
export function withoutExifPrefix(data: Uint8Array): Uint8Array | undefined {
  return latin1(data, 0, EXIF_PREFIX.length) === EXIF_PREFIX ? data.subarray(EXIF_PREFIX.length) : undefined;
}
