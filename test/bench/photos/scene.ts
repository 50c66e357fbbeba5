import { bitmap, type Colour } from '../../fixtures/colour-pictures.ts';
import { randomNumbers } from '../random-numbers.ts';

const LATTICE = 256;
const OCTAVES = 7;

/** How a scene is painted. */
export interface SceneOptions {
  readonly seed: number;
  /** In pixels. */
  readonly width: number;
  readonly height: number;
  /** Standard deviation of the sensor's noise, of 255. */
  readonly grain: number;
}

/**
 * A made-up photograph: fractal noise, whose spectrum falls like that of photographs, so that JPEG sizes and
 * decode times are theirs, with discs in front of it and a sensor's grain on top.
 * @returns a BMP
 */
export function paintScene({ seed, width, height, grain }: SceneOptions): Uint8Array {
  const next = randomNumbers(seed);
  const lattice = Float32Array.from({ length: LATTICE * LATTICE }, next);
  const grains = Float32Array.from({ length: 4099 }, () => (next() + next() + next()) * grain);
  const discs = Array.from({ length: 12 }, () => ({
    x: (next() + 1) / 2,
    y: (next() + 1) / 2,
    radius: 0.03 + 0.06 * (next() + 1),
    tint: [next() * 90, next() * 90, next() * 90] as const,
  }));
  const [sky, ground] = [randomColour(next), randomColour(next)];
  const unit = 1 / Math.max(width, height);

  return bitmap(width, height, (x, y) => {
    const u = x * unit;
    const v = y * unit;
    const height01 = 0.5 + fractal(lattice, u * 4, v * 4) / 2;
    const shade = 60 * fractal(lattice, 37 + u * 9, 11 + v * 9);
    let red = sky[0] + (ground[0] - sky[0]) * height01 + shade;
    let green = sky[1] + (ground[1] - sky[1]) * height01 + shade;
    let blue = sky[2] + (ground[2] - sky[2]) * height01 + shade;
    for (const { x: left, y: top, radius, tint } of discs) {
      if ((u - left) ** 2 + (v - top) ** 2 > radius ** 2) continue;
      red += tint[0];
      green += tint[1];
      blue += tint[2];
    }
    const at = (x * 7919 + y * 104_729) % 4096;
    return [
      toByte(red + (grains[at] as number)),
      toByte(green + (grains[at + 1] as number)),
      toByte(blue + (grains[at + 2] as number)),
    ];
  });
}

function randomColour(next: () => number): Colour {
  return [128 + 90 * next(), 128 + 90 * next(), 128 + 90 * next()];
}

function toByte(value: number): number {
  return Math.min(255, Math.max(0, Math.round(value)));
}

/** Octaves of value noise, each of half the size and a little over half the strength; about −1 to 1. */
function fractal(lattice: Float32Array, x: number, y: number): number {
  let sum = 0;
  let strength = 0.5;
  let scale = 1;
  for (let octave = 0; octave < OCTAVES; octave++) {
    sum += strength * smoothNoise(lattice, x * scale, y * scale);
    strength *= 0.55;
    scale *= 2;
  }
  return sum;
}

function smoothNoise(lattice: Float32Array, x: number, y: number): number {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const across = smooth(x - left);
  const down = smooth(y - top);
  const row = (top & (LATTICE - 1)) * LATTICE;
  const nextRow = ((top + 1) & (LATTICE - 1)) * LATTICE;
  const column = left & (LATTICE - 1);
  const nextColumn = (left + 1) & (LATTICE - 1);
  const upper = mix(lattice[row + column] as number, lattice[row + nextColumn] as number, across);
  const lower = mix(lattice[nextRow + column] as number, lattice[nextRow + nextColumn] as number, across);
  return mix(upper, lower, down);
}

function smooth(fraction: number): number {
  return fraction * fraction * (3 - 2 * fraction);
}

function mix(from: number, to: number, share: number): number {
  return from + (to - from) * share;
}
