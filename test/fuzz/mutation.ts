import type { Random } from '../robustness/random.ts';

/** Numbers at which sizes, counts and offsets overflow. */
const extremes = [
  0,
  1,
  2,
  7,
  8,
  16,
  31,
  32,
  63,
  64,
  100,
  127,
  128,
  255,
  256,
  512,
  1000,
  1024,
  4095,
  4096,
  32_767,
  32_768,
  65_535,
  65_536,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
] as const;

export interface Mutator {
  readonly random: Random;
  readonly maxBytes: number;
  /** Words that the readers look for. */
  readonly words: readonly Uint8Array[];
  /** Another input that was worth keeping. */
  readonly other: () => Uint8Array;
  /** What was compared when the input was last read, and differed. */
  readonly operands: readonly (readonly [string | number, string | number])[];
}

/** One to many small changes, as far as possible of kinds that formats are made of. */
export function mutated(input: Uint8Array, mutator: Mutator): Uint8Array {
  const { random, maxBytes } = mutator;
  let bytes = input;
  for (let left = 1 << random.below(5); left > 0; left--) bytes = changed(bytes, mutator);
  return bytes.length > maxBytes ? bytes.slice(0, maxBytes) : bytes;
}

function changed(bytes: Uint8Array, { random, words, other, operands }: Mutator): Uint8Array {
  const at = random.below(bytes.length + 1);
  const length = 1 + random.below(random.chance(0.8) ? 8 : Math.max(1, bytes.length >> 1));
  switch (random.below(13)) {
    case 0:
      return over(bytes, at, [(bytes[at] ?? 0) ^ (1 << random.below(8))]);
    case 1:
      return over(bytes, at, [random.below(256)]);
    case 2:
      return over(bytes, at, number(random.pick(extremes), random));
    case 3:
      return over(bytes, at, [(bytes[at] ?? 0) + random.below(33) - 16]);
    case 4:
      return spliced(bytes, at, at + length, []);
    case 5:
      return spliced(bytes, at, at, bytes.subarray(at, at + length));
    case 6:
      return spliced(
        bytes,
        at,
        at,
        Array.from({ length: Math.min(length, 40) }, () => random.below(256)),
      );
    case 7:
    case 8: {
      if (words.length === 0) return bytes;
      const word = random.pick(words);
      return random.chance(0.5) ? over(bytes, at, word) : spliced(bytes, at, at, word);
    }
    case 9:
      return likened(bytes, operands, random);
    case 10: {
      const source = other();
      const from = random.below(source.length + 1);
      return spliced(bytes, at, random.chance(0.5) ? at : at + length, source.subarray(from, from + length));
    }
    case 11: {
      const source = other();
      return spliced(bytes, at, bytes.length, source.subarray(random.below(source.length + 1)));
    }
    default: {
      const from = random.below(bytes.length + 1);
      return over(bytes, at, bytes.slice(from, from + length));
    }
  }
}

/** One side of a comparison is looked for in the input, and the other put in its place. */
function likened(bytes: Uint8Array, operands: Mutator['operands'], random: Random): Uint8Array {
  if (operands.length === 0) return bytes;
  const pair = random.pick(operands);
  const [wanted, present] = random.chance(0.5) ? pair : [pair[1], pair[0]];
  if (typeof present === 'string' || typeof wanted === 'string') {
    const [from, to] = [Buffer.from(String(present), 'latin1'), Buffer.from(String(wanted), 'latin1')];
    const at = from.length === 0 ? -1 : Buffer.from(bytes).indexOf(from, random.below(bytes.length + 1));
    return at === -1
      ? over(bytes, random.below(bytes.length + 1), to)
      : spliced(bytes, at, at + from.length, to);
  }
  const width = random.pick([1, 2, 4]);
  const big = random.chance(0.5);
  const from = Buffer.from(fixed(present, width, big));
  const near = wanted + random.pick([0, 0, 1, -1]);
  const at = Buffer.from(bytes).indexOf(from, random.below(bytes.length + 1));
  return at === -1 ? bytes : over(bytes, at, fixed(near, width, big));
}

function fixed(value: number, width: number, big: boolean): number[] {
  const bytes = Array.from({ length: width }, (_, index) => Math.trunc(value / 256 ** index) & 0xff);
  return big ? bytes.reverse() : bytes;
}

/** As text, or as bytes of any width and order. */
function number(value: number, random: Random): ArrayLike<number> {
  if (random.chance(0.25)) return Buffer.from(String(value));
  return fixed(value, random.pick([1, 2, 3, 4, 8]), random.chance(0.5));
}

function over(bytes: Uint8Array, at: number, piece: ArrayLike<number>): Uint8Array {
  const changed = new Uint8Array(Math.max(bytes.length, at + piece.length));
  changed.set(bytes);
  changed.set(piece, at);
  return changed;
}

function spliced(bytes: Uint8Array, from: number, to: number, piece: ArrayLike<number>): Uint8Array {
  const rest = bytes.subarray(Math.min(to, bytes.length));
  const joined = new Uint8Array(from + piece.length + rest.length);
  joined.set(bytes.subarray(0, from));
  joined.set(piece, from);
  joined.set(rest, from + piece.length);
  return joined;
}

/** Words for `Mutator`: the readers' own strings and numbers. */
export function wordsOf(literals: Iterable<string | number>): Uint8Array[] {
  const words: Uint8Array[] = [];
  for (const literal of literals) {
    if (typeof literal === 'string') {
      if (literal.length > 0 && literal.length <= 24)
        words.push(new Uint8Array(Buffer.from(literal, 'latin1')));
      continue;
    }
    if (!Number.isInteger(literal) || literal < 2) continue;
    const width = literal < 256 ? 1 : literal < 65_536 ? 2 : 4;
    words.push(Uint8Array.from(fixed(literal, width, true)));
    if (width > 1) words.push(Uint8Array.from(fixed(literal, width, false)));
  }
  return words;
}

/** The input with a piece of it repeated until it is large: what takes long for each of many small things shows. */
export function amplified(input: Uint8Array, random: Random): Uint8Array {
  if (input.length === 0) return input;
  const from = random.below(input.length);
  const piece = input.subarray(from, from + 1 + random.below(random.chance(0.7) ? 16 : input.length));
  const times = Math.ceil(random.pick([20_000, 200_000, 1_000_000]) / piece.length);
  const repeated = Buffer.concat(new Array<Uint8Array>(times).fill(piece));
  return spliced(input, from, from + (random.chance(0.5) ? piece.length : 0), repeated);
}
