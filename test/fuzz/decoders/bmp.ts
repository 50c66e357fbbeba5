import { concat, uint32le } from '../../media/sample-pictures.ts';
import { mutate } from '../../robustness/hostile/mutate.ts';
import type { Random } from '../../robustness/random.ts';
import { randomBytes, randomLength } from './bits.ts';

const headerSizes = [12, 16, 40, 40, 40, 52, 56, 64, 108, 124] as const;
const masks = [
  [0xff0000, 0xff00, 0xff, 0xff000000],
  [0xff, 0xff00, 0xff0000, 0],
  [0xf800, 0x7e0, 0x1f, 0],
  [0x7c00, 0x3e0, 0x1f, 0x8000],
  [0x3ff00000, 0xffc00, 0x3ff, 0xc0000000],
  [0, 0, 0, 0],
  [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
] as const;

function uint16le(value: number): readonly number[] {
  return [value & 0xff, (value >> 8) & 0xff];
}

/** Runs, literal pieces, jumps, ends of rows and of the picture. */
function runLengths(length: number, random: Random): Uint8Array {
  const bytes: number[] = [];
  while (bytes.length < length) {
    if (random.chance(0.5)) bytes.push(1 + random.below(255), random.below(256));
    else if (random.chance(0.4)) bytes.push(0, 0);
    else if (random.chance(0.3)) bytes.push(0, 2, random.below(256), random.below(256));
    else {
      const count = 3 + random.below(random.chance(0.8) ? 20 : 253);
      bytes.push(0, count, ...randomBytes(count + (count % 2), random));
    }
  }
  if (random.chance(0.7)) bytes.push(0, 1);
  return Uint8Array.from(bytes);
}

/** A BMP of random header, depth, compression, masks and palette, mostly well-formed. */
function makeBmp(random: Random): Uint8Array {
  const headerBytes = random.pick(headerSizes);
  const side = () => (random.chance(0.95) ? 1 + random.below(90) : 1 + random.below(1500));
  const [width, height] = [side(), side()];
  const plain = random.chance(0.6);
  const bits = plain ? random.pick([24, 32]) : random.pick([0, 1, 2, 4, 8, 8, 16, 24, 32, 64]);
  const matching = { 4: [0, 2], 8: [0, 1], 16: [0, 3], 32: [0, 3, 3, 6] }[bits] ?? [0];
  const compression = random.chance(0.95) ? random.pick(matching) : random.below(14);
  const colours =
    bits <= 8 ? (random.chance(0.7) ? 0 : random.below(300)) : random.chance(0.9) ? 0 : random.below(20);
  const [red, green, blue, alpha] = random.chance(0.8)
    ? random.pick(masks)
    : ([0, 0, 0, 0].map(() => random.below(2 ** 32)) as [number, number, number, number]);
  const signedHeight = random.chance(0.3) ? 2 ** 32 - height : height;
  const fields =
    headerBytes === 12
      ? concat(uint32le(12), uint16le(width), uint16le(height), [1, 0], uint16le(bits))
      : concat(
          uint32le(headerBytes),
          uint32le(width),
          uint32le(signedHeight >>> 0),
          [1, 0],
          uint16le(bits),
          uint32le(compression),
          uint32le(0),
          uint32le(2835),
          uint32le(2835),
          uint32le(colours),
          uint32le(0),
          uint32le(red),
          uint32le(green),
          uint32le(blue),
          uint32le(alpha),
          randomBytes(68, random),
        );
  const masked = headerBytes === 40 && (compression === 3 || compression === 6);
  const header = concat(
    fields.subarray(0, headerBytes),
    masked ? fields.subarray(40, compression === 6 ? 56 : 52) : [],
  );
  const entries = bits <= 8 ? colours || 2 ** bits : colours;
  const palette = randomBytes(entries * (headerBytes === 12 ? 3 : 4), random);
  const rows = Math.ceil((width * bits) / 32) * 4 * height;
  const stored = Math.min(rows, 2_000_000);
  const pixels =
    compression === 1 || compression === 2
      ? runLengths(random.chance(0.8) ? width * height : randomLength(3000, random), random)
      : randomBytes(random.chance(0.05) ? random.below(stored + 1) : stored, random);
  const offset = 14 + header.length + palette.length + (random.chance(0.1) ? random.below(60) - 30 : 0);
  return concat(
    'BM',
    uint32le(offset + pixels.length),
    [0, 0, 0, 0],
    uint32le(offset),
    header,
    palette,
    pixels,
  );
}

export function hostileBmp(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const kind = random.below(10);
  if (kind < 6) return makeBmp(random);
  if (kind < 8) return mutate(makeBmp(random), random, 3);
  return mutate(random.pick(seeds), random);
}
