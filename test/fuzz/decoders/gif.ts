import { concat } from '../../media/sample-pictures.ts';
import { mutate } from '../../robustness/hostile/mutate.ts';
import type { Random } from '../../robustness/random.ts';
import { BitWriter, randomBytes, randomLength } from './bits.ts';

function uint16le(value: number): readonly number[] {
  return [value & 0xff, (value >> 8) & 0xff];
}

/** Codes that a decoder's table mostly knows, at the widths at which it reads them. */
function randomCodes(codeSize: number, pixels: number, random: Random): Uint8Array {
  const bits = new BitWriter();
  const clear = 1 << codeSize;
  let width = codeSize + 1;
  let next = clear + 2;
  const bold = random.pick([0, 0, 0.001, 0.02, 0.3]);
  const repeated = random.chance(0.3);
  if (random.chance(0.9)) bits.put(clear, width);
  // The first code after a clear is a colour, and makes no entry.
  let isFirst = true;
  const count = random.chance(0.8) ? Math.min(pixels, 6000) : randomLength(9000, random);
  for (let left = count; left > 0; left--) {
    let code = repeated ? next - (random.chance(0.5) ? 0 : 1) : random.below(next);
    if (code === clear || code === clear + 1) code = 0;
    if (isFirst) code = random.below(clear);
    if (random.chance(bold)) code = random.below(1 << width);
    if (random.chance(0.002)) code = clear;
    bits.put(code, Math.min(width, 12));
    if (code === clear) {
      width = codeSize + 1;
      next = clear + 2;
      isFirst = true;
      continue;
    }
    if (next < 4096 && !isFirst) next += 1;
    isFirst = false;
    if (next === 1 << width && width < 12) width += 1;
  }
  if (random.chance(0.8)) bits.put(clear + 1, width);
  return bits.finish();
}

function blocks(data: Uint8Array, random: Random): Uint8Array {
  const pieces: Uint8Array[] = [];
  const short = random.chance(0.2);
  for (let at = 0; at < data.length; ) {
    const length = Math.min(short ? 1 + random.below(10) : 255, data.length - at);
    pieces.push(Uint8Array.of(length), data.subarray(at, at + length));
    at += length;
  }
  return concat(...pieces, [0]);
}

function table(bits: number, random: Random): Uint8Array {
  return randomBytes(3 << (bits + 1), random);
}

/** A GIF of random canvas, frames, tables, extensions and codes, mostly well-formed. */
function makeGif(random: Random): Uint8Array {
  const side = () => (random.chance(0.95) ? 1 + random.below(90) : random.below(1500));
  const [width, height] = [side(), side()];
  const pieces: (Uint8Array | readonly number[] | string)[] = [random.chance(0.9) ? 'GIF89a' : 'GIF87a'];
  const global = random.below(8);
  const hasGlobal = random.chance(0.85);
  pieces.push(uint16le(width), uint16le(height), [(hasGlobal ? 0x80 : 0) | (random.below(8) << 4) | global]);
  pieces.push([random.below(256), random.below(256)]);
  if (hasGlobal) pieces.push(table(global, random));
  const frames = random.chance(0.7) ? 1 : 1 + random.below(5);
  for (let frame = 0; frame < frames; frame++) {
    if (random.chance(0.6)) {
      pieces.push([
        0x21,
        0xf9,
        random.chance(0.95) ? 4 : random.below(9),
        random.below(256),
        0,
        0,
        random.below(256),
        0,
      ]);
    }
    if (random.chance(0.1)) pieces.push([0x21, 0xff, 11], 'NETSCAPE2.0', [3, 1, 0, 0, 0]);
    if (random.chance(0.1))
      pieces.push([0x21, 0xfe], blocks(randomBytes(randomLength(300, random), random), random));
    const whole = random.chance(0.6);
    const [left, top, wide, high] = whole
      ? [0, 0, width, height]
      : [random.below(100), random.below(100), side(), side()];
    const local = random.chance(0.3);
    const flags = (local ? 0x80 : 0) | (random.chance(0.4) ? 0x40 : 0) | random.below(8);
    pieces.push([0x2c], uint16le(left), uint16le(top), uint16le(wide), uint16le(high), [flags]);
    if (local) pieces.push(table(flags & 7, random));
    const codeSize = random.chance(0.95) ? 2 + random.below(7) : random.below(14);
    pieces.push([codeSize], blocks(randomCodes(Math.min(codeSize, 11), wide * high, random), random));
  }
  if (random.chance(0.9)) pieces.push([0x3b]);
  return concat(...pieces);
}

export function hostileGif(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const kind = random.below(10);
  if (kind < 6) return makeGif(random);
  if (kind < 8) return mutate(makeGif(random), random, 3);
  return mutate(random.pick(seeds), random);
}
