import type { Size } from '../../../native/image/picture-header.ts';

const SEQUENCE_HEADER = 1;
/** Units of a stream that is one picture: a handful, or one for each of up to 4,096 tiles. */
const MAXIMUM_UNITS = 10_000;
/** A sequence header is read bit by bit, and takes as long as this many units that are passed over. */
const UNITS_A_HEADER = 50;
/** The specification's longest variable-length number. */
const MAXIMUM_LEADING_ZEROS = 32;

/** Bytes by their offset, which goes up. A `Uint8Array` is one. */
export interface ByteSource {
  readonly length: number;
  /** undefined beyond the end */
  at(index: number): number | undefined;
}

/** Work that is left for all streams of a picture, in units passed over. */
export interface UnitBudget {
  left: number;
}
/** Sequence levels above this one carry a tier bit. */
const LAST_LEVEL_WITHOUT_TIER = 7;

/**
 * The sizes that an AV1 stream's sequence headers allow its frames to have (AV1 specification, 5.5). A
 * decoder makes room for these, whatever the container around the stream declares.
 * @param budget is taken from
 * @throws RangeError where the stream ends within a header, does not come to an end, or has too many units
 */
export function* readSequenceSizes(
  stream: ByteSource,
  budget: UnitBudget = { left: MAXIMUM_UNITS },
): Generator<Size> {
  for (let at = 0; at < stream.length; ) {
    budget.left -= 1;
    if (budget.left < 0) throw new RangeError('its AV1 stream has too many units');
    // A forbidden bit, 4 of type, whether there is an extension byte, whether a size, a reserved one.
    const header = readByte(stream, at);
    const type = (header >> 3) & 0xf;
    const sizeAt = at + (header & 4 ? 2 : 1);
    const { value: length, end: start } =
      header & 2 ? readLeb128(stream, sizeAt) : { value: undefined, end: sizeAt };
    if (type === SEQUENCE_HEADER) {
      budget.left -= UNITS_A_HEADER;
      yield readSequenceSize(new BitReader(stream, start));
    }
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
  while (bits.read(1) === 0) {
    zeros += 1;
    if (zeros > MAXIMUM_LEADING_ZEROS) throw new RangeError('its AV1 stream has a number that is too long');
  }
  bits.skip(zeros);
}

/** Seven bits a byte, the lowest first; the highest bit of a byte says that another follows. */
function readLeb128(stream: ByteSource, at: number): { value: number; end: number } {
  let value = 0;
  let end = at;
  for (let more = true; more && end - at < 8; end++) {
    const byte = readByte(stream, end);
    value += (byte & 0x7f) * 2 ** (7 * (end - at));
    more = byte >= 0x80;
  }
  return { value, end };
}

function readByte(stream: ByteSource, at: number): number {
  const byte = stream.at(at);
  if (byte === undefined) throw new RangeError('its AV1 stream ends within a header');
  return byte;
}

/** Reads numbers of any number of bits, the highest first. */
class BitReader {
  readonly #bytes: ByteSource;
  #bit: number;

  constructor(bytes: ByteSource, at: number) {
    this.#bytes = bytes;
    this.#bit = at * 8;
  }

  read(bits: number): number {
    let value = 0;
    for (let left = bits; left > 0; left--) {
      const byte = readByte(this.#bytes, Math.trunc(this.#bit / 8));
      value = value * 2 + ((byte >> (7 - (this.#bit % 8))) & 1);
      this.#bit += 1;
    }
    return value;
  }

  skip(bits: number): void {
    this.#bit += bits;
  }
}
