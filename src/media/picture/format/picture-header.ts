import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import type { PictureFormat } from '../../../contract/formats.ts';
import { brokenPicture } from '../picture-errors.ts';

/** What a picture's header says; a decoder needs it beforehand. */
export interface PictureHeader {
  readonly format: PictureFormat;
  /** Size as stored, in pixels: before the orientation is applied. */
  readonly width: number;
  readonly height: number;
  /** How to turn the stored pixels for showing them. */
  readonly orientation: ExifOrientation;
  /** Pixels carry an opacity that the reference would resize with them. */
  readonly alpha: boolean;
  /**
   * Few decoders read this variant of its format: an animated WebP; a BMP with a palette, run lengths or
   * 16 bits a pixel.
   */
  readonly rare: boolean;
  /** Pixels are shades of grey, without colour. Only told for TIFF. */
  readonly grey: boolean;
  /**
   * Bytes a decoder holds beside the pixels. A JPEG in several scans (every progressive one) keeps all
   * its coefficients until the last scan.
   */
  readonly coefficientBytes: number;
}

/** The picture's size as shown: after its orientation is applied. */
export function shownSize(header: PictureHeader): Size {
  return turnedSize(header, header.orientation);
}

/** Sides change places where the orientation lies on its side: from stored to shown, and back. */
export function turnedSize({ width, height }: Size, orientation: ExifOrientation): Size {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}

/** Numbers of a picture file by their offset. Reading past the end means that the file was cut off. */
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

  /** A number that, where it is too large to be exact, is beyond any file's end anyway. */
  uint64(at: number): number {
    this.require(at + 8);
    // Twice as fast as a BigInt, which would have to be made first.
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

  /**
   * @throws ServiceError image_broken where the file ends before `end`
   */
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

/** Bytes as characters of the same numbers; fewer where the file ends before. */
export function latin1(bytes: Uint8Array, at: number, length: number): string {
  const piece = bytes.subarray(at, at + length);
  return Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString('latin1');
}

const ORIENTATION_TAG = 0x0112;
const ENTRY_BYTES = 12;

/**
 * Reads the orientation from EXIF data: a TIFF header and its first directory. Whatever is wrong with it,
 * the picture counts as upright: EXIF is advice.
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

/** EXIF data as JPEG (always) and WebP (sometimes) carry it, after a prefix; undefined without one. */
export function withoutExifPrefix(data: Uint8Array): Uint8Array | undefined {
  return latin1(data, 0, EXIF_PREFIX.length) === EXIF_PREFIX ? data.subarray(EXIF_PREFIX.length) : undefined;
}
