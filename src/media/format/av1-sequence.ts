import type { Size } from '../../../native/image/picture-header.ts';

const SEQUENCE_HEADER = 1;
/** Units of a stream that is one picture: a handful, or one for each of up to 4,096 tiles. */
const MAXIMUM_UNITS = 10_000;
/** Sequence levels above this one carry a tier bit. */
const LAST_LEVEL_WITHOUT_TIER = 7;

/**
 * The sizes that an AV1 stream's sequence headers allow its frames to have (AV1 specification, 5.5). A
 * decoder makes room for these, whatever the container around the stream declares.
 * @throws RangeError where the stream ends within a header, or does not come to an end
 */
export function* readSequenceSizes(stream: Uint8Array): Generator<Size> {
  let count = 0;
  for (let at = 0; at < stream.length; ) {
    count += 1;
    if (count > MAXIMUM_UNITS) throw new RangeError('its AV1 stream has too many units');
    const bits = new BitReader(stream, at);
    bits.skip(1);
    const type = bits.read(4);
    const extended = bits.read(1) === 1;
    const sized = bits.read(1) === 1;
    bits.skip(extended ? 9 : 1);
    const length = sized ? readLeb128(bits) : undefined;
    const start = bits.byteOffset;
    if (type === SEQUENCE_HEADER) yield readSequenceSize(bits);
    at = length === undefined ? stream.length : start + length;
  }
}

function readSequenceSize(bits: BitReader): Size {
  bits.skip(4); // profile, still picture
  const reduced = bits.read(1) === 1;
  if (reduced) bits.skip(5);
  else skipOperatingPoints(bits);
  const widthBits = bits.read(4) + 1;
  const heightBits = bits.read(4) + 1;
  return { width: bits.read(widthBits) + 1, height: bits.read(heightBits) + 1 };
}

function skipOperatingPoints(bits: BitReader): void {
  const timed = bits.read(1) === 1;
  if (timed) {
    bits.skip(64); // ticks and scale
    if (bits.read(1) === 1) skipUnsignedVariableLength(bits);
  }
  const modelled = timed && bits.read(1) === 1;
  const delayBits = modelled ? bits.read(5) + 1 : 0;
  if (modelled) bits.skip(42); // ticks, lengths of two times
  const delayed = bits.read(1) === 1;
  for (let left = bits.read(5) + 1; left > 0; left--) {
    bits.skip(12);
    if (bits.read(5) > LAST_LEVEL_WITHOUT_TIER) bits.skip(1);
    if (modelled && bits.read(1) === 1) bits.skip(2 * delayBits + 1);
    if (delayed && bits.read(1) === 1) bits.skip(4);
  }
}

function skipUnsignedVariableLength(bits: BitReader): void {
  let zeros = 0;
  while (bits.read(1) === 0) zeros += 1;
  bits.skip(zeros);
}

/** Seven bits a byte, the lowest first; the highest bit of a byte says that another follows. */
function readLeb128(bits: BitReader): number {
  let value = 0;
  for (let index = 0; index < 8; index++) {
    const more = bits.read(1) === 1;
    value += bits.read(7) * 2 ** (7 * index);
    if (!more) break;
  }
  return value;
}

/** Reads numbers of any number of bits, the highest first. */
class BitReader {
  readonly #bytes: Uint8Array;
  #bit: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#bit = at * 8;
  }

  /** Of the byte in which the next bit lies. */
  get byteOffset(): number {
    return Math.trunc(this.#bit / 8);
  }

  read(bits: number): number {
    let value = 0;
    for (let left = bits; left > 0; left--) {
      const byte = this.#bytes[this.byteOffset];
      if (byte === undefined) throw new RangeError('its AV1 stream ends within a header');
      value = value * 2 + ((byte >> (7 - (this.#bit % 8))) & 1);
      this.#bit += 1;
    }
    return value;
  }

  skip(bits: number): void {
    this.#bit += bits;
  }
}
