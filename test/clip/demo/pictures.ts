import { randomNumbers } from '../graph/random-checkpoint.ts';

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [red: number, green: number, blue: number];

const SIDE = 224;

/** [224, 224, 3] uint8, RGB: each pixel as the function says. */
export function painted(colourAt: (x: number, y: number) => Rgb): Uint8Array {
  const pixels = new Uint8ClampedArray(SIDE * SIDE * 3);
  let at = 0;
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [red, green, blue] = colourAt(x, y);
      pixels[at++] = red;
      pixels[at++] = green;
      pixels[at++] = blue;
    }
  }
  return new Uint8Array(pixels.buffer);
}

export const flat = (colour: Rgb) => painted(() => colour);

/** The left part in one colour, the rest in another. @param share of the left part, 0 to 1 */
export const divided = (left: Rgb, right: Rgb, share: number) =>
  painted((x) => (x < share * SIDE ? left : right));

/** @param size of a square, in pixels */
export const chequered = (first: Rgb, second: Rgb, size: number) =>
  painted((x, y) => ((Math.floor(x / size) + Math.floor(y / size)) % 2 === 0 ? first : second));

/** From one colour at the top to another at the bottom. */
export const graded = (top: Rgb, bottom: Rgb) =>
  painted((_, y) => {
    const mix = (channel: 0 | 1 | 2) => top[channel] + ((bottom[channel] - top[channel]) * y) / (SIDE - 1);
    return [mix(0), mix(1), mix(2)];
  });

/** Adds to each value on its own a random number of up to ± the amplitude, as coarse compression or grain do. */
export function noisy(pixels: Uint8Array, amplitude: number, seed: number): Uint8Array {
  const next = randomNumbers(seed);
  const noisier = new Uint8ClampedArray(pixels.length);
  for (const [index, value] of pixels.entries()) noisier[index] = value + amplitude * next();
  return new Uint8Array(noisier.buffer);
}

/** Makes each pixel lighter or darker by up to ± the share, whatever its colour: grass, fabric, water. */
export function textured(colour: Rgb, share: number, seed: number): Uint8Array {
  const next = randomNumbers(seed);
  return painted(() => {
    const light = 1 + share * next();
    return [colour[0] * light, colour[1] * light, colour[2] * light];
  });
}

/** @param hue in degrees, any turn; saturation and value 0 to 1 */
export function hsv(hue: number, saturation: number, value: number): Rgb {
  const channel = (offset: number) => {
    const k = (offset + hue / 60 + 6) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}
