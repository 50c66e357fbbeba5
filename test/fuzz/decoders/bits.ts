import type { Random } from '../../robustness/random.ts';

/** Writes numbers bit by bit, the lowest bit first, as GIF's codes and WebP's lossless pictures are stored. */
export class BitWriter {
  readonly #bytes: number[] = [];
  #buffer = 0;
  #filled = 0;

  /** @param count of bits, at most 16 */
  put(value: number, count: number): void {
    this.#buffer |= (value & ((1 << count) - 1)) << this.#filled;
    for (this.#filled += count; this.#filled >= 8; this.#filled -= 8) {
      this.#bytes.push(this.#buffer & 0xff);
      this.#buffer >>>= 8;
    }
  }

  /** Huffman codes are written from their highest bit on. */
  putReversed(code: number, count: number): void {
    for (let bit = count - 1; bit >= 0; bit--) this.put((code >> bit) & 1, 1);
  }

  putRandom(count: number, random: Random): void {
    for (let left = count; left > 0; left -= 16) this.put(random.below(1 << 16), Math.min(16, left));
  }

  finish(): Uint8Array {
    if (this.#filled > 0) this.#bytes.push(this.#buffer & 0xff);
    this.#buffer = this.#filled = 0;
    return Uint8Array.from(this.#bytes);
  }
}

export function randomBytes(length: number, random: Random): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = random.below(256);
  return bytes;
}

/** Small as a rule, seldom large: decoders change their ways at sizes of blocks, rows and tables. */
export function randomLength(most: number, random: Random): number {
  return random.chance(0.7) ? random.below(Math.min(most, 40)) : random.below(most);
}

/**
 * Lengths of a complete prefix code: leaves of a random binary tree.
 * @returns [alphabet] bits of each symbol's code, 0 where it has none
 */
export function randomCodeLengths(alphabet: number, longest: number, random: Random): number[] {
  const leaves = [1, 1];
  const wanted = 2 + randomLength(Math.min(alphabet, 300) - 1, random);
  while (leaves.length < wanted) {
    const splittable = random.below(leaves.length);
    const length = leaves[splittable]!;
    if (length >= longest) {
      if (leaves.every((other) => other >= longest)) break;
      continue;
    }
    leaves[splittable] = length + 1;
    leaves.push(length + 1);
  }
  const lengths = new Array<number>(alphabet).fill(0);
  for (const length of leaves) {
    let symbol = random.below(alphabet);
    for (let tries = 0; lengths[symbol] !== 0 && tries < alphabet; tries++) symbol = (symbol + 1) % alphabet;
    lengths[symbol] = length;
  }
  return lengths;
}

/** Of a prefix code's lengths, each symbol's code: canonical, as deflate, WebP and JPEG number them. */
export function canonicalCodes(lengths: readonly number[]): number[] {
  const codes = new Array<number>(lengths.length).fill(0);
  let code = 0;
  for (let length = 1; length <= 15; length++) {
    for (const [symbol, own] of lengths.entries()) if (own === length) codes[symbol] = code++;
    code <<= 1;
  }
  return codes;
}
