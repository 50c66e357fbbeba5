import type { PictureFormat } from '../../../../native/image/bitmap.ts';
import { brokenPicture } from '../picture-errors.ts';

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
