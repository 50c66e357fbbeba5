import { CheckpointError } from './checkpoint-error.ts';

/** Reads a pickle's operands one after another; never beyond its end. */
export class PickleCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get position(): number {
    return this.#position;
  }

  take(byteLength: number): Uint8Array {
    return this.#bytes.subarray(this.#advance(byteLength), this.#position);
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** A length of 64 bits. */
  uint64(): number {
    return Number(this.#view.getBigUint64(this.#advance(8), true));
  }

  /** The one operand that is big-endian in every protocol. */
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** Python's own variable-length integers: little-endian, two's complement. */
  long(byteLength: number): number | bigint {
    if (byteLength > MAX_LONG_BYTES)
      throw new CheckpointError(`its pickle holds a number of ${byteLength} bytes`);
    let value = 0n;
    const bytes = this.take(byteLength);
    for (let i = byteLength - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    return narrowed(byteLength === 0 ? 0n : BigInt.asIntN(byteLength * 8, value));
  }

  /** UTF-8, ended by a line feed. */
  line(): string {
    const start = this.#position;
    const end = this.#bytes.subarray(0, start + MAX_LINE_BYTES).indexOf(LINE_FEED, start);
    if (end < 0) throw new CheckpointError(`its pickle holds a line without end at byte ${start}`);
    this.#position = end + 1;
    return text.decode(this.#bytes.subarray(start, end));
  }

  string(byteLength: number): string {
    return text.decode(this.take(byteLength));
  }

  #advance(byteLength: number): number {
    const start = this.#position;
    if (byteLength > this.#bytes.byteLength - start) {
      throw new CheckpointError(
        `its pickle is cut short: ${byteLength} bytes are announced at byte ${start} of ${this.#bytes.byteLength}`,
      );
    }
    this.#position = start + byteLength;
    return start;
  }
}

/** Sizes and positions need 8; PyTorch's magic number is 10 bytes long. */
const MAX_LONG_BYTES = 32;
const MAX_LINE_BYTES = 4096;
const LINE_FEED = 0x0a;
// A byte order mark would be part of the string.
const text = new TextDecoder('utf-8', { ignoreBOM: true });

/** A number where it is exact, as sizes always are. */
export function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
