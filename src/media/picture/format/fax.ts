/**
 * Decodes the fax compressions of TIFF: ITU-T T.4 (Group 3, in one or two dimensions, and its variant without
 * end-of-line codes) and T.6 (Group 4).
 */

export interface FaxOptions {
  readonly width: number;
  readonly rows: number;
  /** `rle`: rows begin at bytes and have no end-of-line codes; `rle word`: at words of 16 bits. */
  readonly coding: 'rle' | 'rle word' | 'group 3' | 'group 3 in two dimensions' | 'group 4';
}

/** Codes as bits, in the order of the runs that they stand for: 0 to 63, then 64 to 1728 in steps of 64. */
const whiteCodes =
  '00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100 11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011 011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011';
const blackCodes =
  '0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 0000001100100 0000001100101';
/** Of both colours: 1792 to 2560 in steps of 64. */
const longCodes =
  '00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111 000000011100 000000011101 000000011110 000000011111';

/** The modes of a row in two dimensions. The numbers are distances between the changes of two rows. */
const PASS = 4;
const HORIZONTAL = 5;
const modeCodes: readonly (readonly [code: string, mode: number])[] = [
  ['1', 0],
  ['011', 1],
  ['000011', 2],
  ['0000011', 3],
  ['010', -1],
  ['000010', -2],
  ['0000010', -3],
  ['0001', PASS],
  ['001', HORIZONTAL],
];

const RUN_BITS = 13;
const MODE_BITS = 7;
/** An end-of-line code: at least eleven zeros, then a one. */
const EOL_ZEROS = 11;
/** Runs of 64 and more are followed by a shorter one. */
const FIRST_MAKEUP = 64;

/** Value and length of the code with which a number of `bits` bits begins; a length of 0 where there is none. */
interface CodeTable {
  readonly values: Int16Array;
  readonly lengths: Uint8Array;
}

function makeTable(bits: number, codes: readonly (readonly [code: string, value: number])[]): CodeTable {
  const values = new Int16Array(1 << bits);
  const lengths = new Uint8Array(1 << bits);
  for (const [code, value] of codes) {
    const first = Number.parseInt(code, 2) << (bits - code.length);
    const end = first + (1 << (bits - code.length));
    values.fill(value, first, end);
    lengths.fill(code.length, first, end);
  }
  return { values, lengths };
}

function runTable(codes: string): CodeTable {
  const own = codes.split(' ').map((code, index) => [code, index < 64 ? index : (index - 63) * 64] as const);
  const long = longCodes.split(' ').map((code, index) => [code, 1792 + index * 64] as const);
  return makeTable(RUN_BITS, [...own, ...long]);
}

const runTables = [runTable(whiteCodes), runTable(blackCodes)] as const;
const modeTable = makeTable(MODE_BITS, modeCodes);

/** Of a Group 3 picture, this share of the rows may be damaged: its end-of-line codes show where the next one begins. */
const TOLERATED_SHARE = 0.1;

/**
 * @param target receives rows of whole bytes, where 1 is black; all 0 before
 * @returns whether all rows were decoded
 */
export function decodeFax(data: Uint8Array, target: Uint8Array, options: FaxOptions): boolean {
  const { width, rows, coding } = options;
  const bits = new BitReader(data);
  const rowBytes = Math.ceil(width / 8);
  // Columns where the colour changes, then the width until the end. The row above the first one is white.
  let above = new Int32Array(width + 6).fill(width);
  let current = new Int32Array(width + 6);
  let damaged = 0;
  for (let y = 0; y < rows; y++) {
    let isFlat = coding !== 'group 4';
    if (coding === 'rle') bits.align(8);
    else if (coding === 'rle word') bits.align(16);
    else if (coding !== 'group 4') {
      const found = bits.skipEndOfLine();
      if (coding === 'group 3 in two dimensions') {
        if (!found && !bits.findEndOfLine()) return false;
        isFlat = bits.take(1) === 1;
      }
    }
    if (bits.isAtEnd) return false;
    const changes = isFlat ? readFlatRow(bits, current, width) : readRow(bits, current, above, width);
    const isWhole = changes >= 0;
    const count = isWhole ? changes : -changes - 1;
    current.fill(width, count);
    blacken(target.subarray(y * rowBytes, (y + 1) * rowBytes), current, width);
    [above, current] = [current, above];
    if (isWhole) continue;
    damaged += 1;
    if (!coding.startsWith('group 3') || damaged > rows * TOLERATED_SHARE) return false;
    if (y + 1 < rows && !bits.findEndOfLine(false)) return false;
  }
  return true;
}

class BitReader {
  readonly #data: Uint8Array;
  /** In bits. */
  #position = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  get isAtEnd(): boolean {
    return this.#position >= this.#data.length * 8;
  }

  /** Up to 16 bits, without taking them; zeros after the end. */
  peek(count: number): number {
    const byte = this.#position >> 3;
    const data = this.#data;
    const word = ((data[byte] ?? 0) << 16) | ((data[byte + 1] ?? 0) << 8) | (data[byte + 2] ?? 0);
    return (word >> (24 - (this.#position & 7) - count)) & ((1 << count) - 1);
  }

  take(count: number): number {
    const value = this.peek(count);
    this.#position += count;
    return value;
  }

  /** @returns the value; undefined if no code of the table comes next */
  code({ values, lengths }: CodeTable, bits: number): number | undefined {
    const next = this.peek(bits);
    const length = lengths[next]!;
    if (length === 0 || this.#position + length > this.#data.length * 8) return undefined;
    this.#position += length;
    return values[next]!;
  }

  align(bits: number): void {
    this.#position = Math.ceil(this.#position / bits) * bits;
  }

  /** Skips end-of-line codes, with the zeros that fill the time before them. */
  skipEndOfLine(): boolean {
    if (this.peek(EOL_ZEROS) !== 0) return false;
    return this.#skipZeros();
  }

  /** Goes to the next end-of-line code. @param take whether it is skipped */
  findEndOfLine(take = true): boolean {
    for (; !this.isAtEnd; this.#position++) {
      if (this.peek(EOL_ZEROS) === 0) return !take || this.#skipZeros();
    }
    return false;
  }

  #skipZeros(): boolean {
    while (!this.isAtEnd && this.peek(1) === 0) this.#position += this.peek(8) === 0 ? 8 : 1;
    this.#position += 1;
    return !this.isAtEnd;
  }
}

/** @returns the length of a run; undefined if the data are damaged */
function readRun(bits: BitReader, colour: number, width: number): number | undefined {
  for (let run = 0; ; ) {
    const part = bits.code(runTables[colour]!, RUN_BITS);
    if (part === undefined) return undefined;
    run += part;
    if (part < FIRST_MAKEUP) return run;
    if (run > width) return undefined;
  }
}

/** @returns the number of changes; if the row is damaged, -1 - the number of those before the damage */
function readFlatRow(bits: BitReader, changes: Int32Array, width: number): number {
  let at = 0;
  let count = 0;
  while (at < width) {
    const run = readRun(bits, count & 1, width);
    if (run === undefined || at + run > width || count > width) return -1 - count;
    at += run;
    changes[count++] = at;
  }
  return count;
}

/** As `readFlatRow`, for a row that is coded as differences from the row above. */
function readRow(bits: BitReader, changes: Int32Array, above: Int32Array, width: number): number {
  let at = 0;
  let count = 0;
  /** The first change of the row above that is right of here, to the other colour. */
  let next = 0;
  while (at < width) {
    const mode = bits.code(modeTable, MODE_BITS);
    if (mode === undefined || count > width) return -1 - count;
    const isBegin = count === 0 && at === 0;
    // Changes at even places are from white to black.
    next = next > 0 ? next - 1 : 0;
    if ((next & 1) !== (count & 1)) next += next > 0 ? -1 : 1;
    while (above[next]! < width && (isBegin ? above[next]! < 0 : above[next]! <= at)) next += 2;
    const [change, following] = [above[next]!, above[next + 1]!];
    if (mode === PASS) {
      at = following;
      continue;
    }
    if (mode === HORIZONTAL) {
      const first = readRun(bits, count & 1, width);
      const second = first === undefined ? undefined : readRun(bits, ~count & 1, width);
      if (first === undefined || second === undefined || at + first + second > width) return -1 - count;
      changes[count++] = at + first;
      at += first + second;
      changes[count++] = at;
      continue;
    }
    const to = change + mode;
    if (to < at || to > width) return -1 - count;
    at = to;
    changes[count++] = at;
  }
  return count;
}

/** Sets the bits of a row's black runs. */
function blacken(row: Uint8Array, changes: Int32Array, width: number): void {
  for (let index = 0; changes[index]! < width; index += 2) {
    const [from, to] = [changes[index]!, changes[index + 1]!];
    let x = from;
    for (; x < to && (x & 7) !== 0; x++) row[x >> 3]! |= 0x80 >> (x & 7);
    const wholeBytes = (to - x) >> 3;
    if (wholeBytes > 0) {
      row.fill(0xff, x >> 3, (x >> 3) + wholeBytes);
      x += wholeBytes * 8;
    }
    for (; x < to; x++) row[x >> 3]! |= 0x80 >> (x & 7);
  }
}
