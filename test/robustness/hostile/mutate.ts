import type { Random } from '../random.ts';

/** Numbers at which sizes, counts and offsets overflow. */
const extremes = [0, 1, 0x7f, 0x80, 0xff] as const;
/** Where formats keep their sizes, tables and types. */
const HEADER_BYTES = 200;

/**
 * Damages a file as disks, transfers and attackers do: flips bits, writes extreme numbers, cuts off, leaves
 * out, repeats, moves.
 * @param most damages in one file
 */
export function mutate(file: Uint8Array, random: Random, most = 6): Uint8Array {
  let bytes = Uint8Array.from(file);
  for (let left = 1 + random.below(most); left > 0; left--) {
    if (bytes.length === 0) return bytes;
    const at = random.below(random.chance(0.5) ? Math.min(bytes.length, HEADER_BYTES) : bytes.length);
    const length = random.below(40);
    switch (random.below(7)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes.fill(random.pick(extremes), at, at + 1 + random.below(4));
        break;
      case 2:
        if (random.chance(0.3)) bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = join(bytes.subarray(0, at), bytes.subarray(at + length));
        break;
      case 4:
        bytes = join(bytes.subarray(0, at + length), bytes.subarray(at));
        break;
      case 5:
        for (let to = at; to < Math.min(bytes.length, at + length); to++) bytes[to] = random.below(256);
        break;
      default:
        bytes.copyWithin(at, random.below(bytes.length), random.below(bytes.length));
    }
  }
  return bytes;
}

function join(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(pieces));
}
