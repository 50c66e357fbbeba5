import { type BicubicAxis, bicubicAxis, PRECISION_BITS } from './bicubic.ts';
import type { Orientation, ResizeAndCrop, Size } from './picture-header.ts';
import { StoredPng } from './stored-png.ts';

/** Main-thread work between two turns of the event loop: some 3 ms. */
const PIXELS_PER_TURN = 250_000;
const HALF = 2 ** (PRECISION_BITS - 1);

/**
 * Resizes a shrunk picture whose last column or row is cut by the picture's edge: 1357 pixels at an eighth are
 * 169.6. `Bun.Image` takes such a pixel for a whole one, which shifts all others; here the filter lies where it
 * would on the picture itself. Does in one step what `resampleBicubic` does, to the byte, for RGB alone, and
 * turns the square upright.
 * @param png the shrunk picture as stored; its bytes are used up
 * @param covered the pixels that the picture covers, of its sides as stored
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 */
export async function resizeCutPixels(
  png: Uint8Array,
  covered: Size,
  geometry: ResizeAndCrop,
  orientation: Orientation,
  target: Uint8Array,
): Promise<void> {
  const side = Math.sqrt(target.length / 3);
  const { horizontal, vertical, place } = axesAsStored(covered, geometry, orientation, side);
  const stored = new StoredPng(png);
  const row = new Uint8Array(stored.width * 4);
  const rowsPerTurn = Math.max(1, Math.trunc(PIXELS_PER_TURN / stored.width));
  stored.skipRows(vertical.sourceStart);
  for (let y = vertical.sourceStart, to = 0; y < vertical.sourceEnd; y++, to += side * 3) {
    stored.readRow(row);
    // [rows, side, 3]: they take the place of longer ones that have been read, so that nothing is allocated.
    narrowRow(row, horizontal, png, to);
    if ((y + 1) % rowsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  weighRows(png, vertical, side, target, place);
}

/** Where pixels of the square as stored go in the square as shown: steps in bytes. */
interface Place {
  readonly origin: number;
  readonly right: number;
  readonly down: number;
}

/** What is shown mirrored or on its side is stored so: the square's axes on the stored picture. */
function axesAsStored(covered: Size, geometry: ResizeAndCrop, orientation: Orientation, side: number) {
  const { resizedWidth, resizedHeight, cropLeft, cropTop } = geometry;
  const isTurned = orientation >= 5;
  const isMirrored = [2, 3, 7, 8].includes(orientation);
  const isUpsideDown = [3, 4, 6, 7].includes(orientation);
  const axis = (source: number, resized: number, crop: number, isReversed: boolean) =>
    bicubicAxis(source, resized, isReversed ? resized - crop - side : crop, side);
  const across = [resizedWidth, cropLeft] as const;
  const downwards = [resizedHeight, cropTop] as const;
  const [right, down] = isTurned ? [side * 3, 3] : [3, side * 3];
  return {
    horizontal: axis(covered.width, ...(isTurned ? downwards : across), isMirrored),
    vertical: axis(covered.height, ...(isTurned ? across : downwards), isUpsideDown),
    place: {
      origin: (isMirrored ? right * (side - 1) : 0) + (isUpsideDown ? down * (side - 1) : 0),
      right: isMirrored ? -right : right,
      down: isUpsideDown ? -down : down,
    } satisfies Place,
  };
}

/** @param row [w, 4] u8 RGBA */
function narrowRow(row: Uint8Array, { taps }: BicubicAxis, narrowed: Uint8Array, offset: number): void {
  let to = offset;
  for (const { start, weights } of taps) {
    let from = start * 4;
    let red = HALF;
    let green = HALF;
    let blue = HALF;
    // Whole numbers of 32 bits throughout, said so that they are computed as such.
    for (let tap = 0; tap < weights.length; tap++, from += 4) {
      const weight = weights[tap]!;
      red = (red + Math.imul(row[from]!, weight)) | 0;
      green = (green + Math.imul(row[from + 1]!, weight)) | 0;
      blue = (blue + Math.imul(row[from + 2]!, weight)) | 0;
    }
    narrowed[to] = toByte(red);
    narrowed[to + 1] = toByte(green);
    narrowed[to + 2] = toByte(blue);
    to += 3;
  }
}

/** @param narrowed [vertical.sourceEnd - vertical.sourceStart, side, 3] u8 */
function weighRows(
  narrowed: Uint8Array,
  { taps, sourceStart }: BicubicAxis,
  side: number,
  target: Uint8Array,
  { origin, right, down }: Place,
): void {
  const rowBytes = side * 3;
  for (let y = 0; y < side; y++) {
    const { start, weights } = taps[y]!;
    const first = (start - sourceStart) * rowBytes;
    let to = origin + y * down;
    for (let x = 0; x < side; x++, to += right) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = HALF;
        let from = first + x * 3 + channel;
        for (let tap = 0; tap < weights.length; tap++, from += rowBytes) {
          sum = (sum + Math.imul(narrowed[from]!, weights[tap]!)) | 0;
        }
        target[to + channel] = toByte(sum);
      }
    }
  }
}

function toByte(fixed: number): number {
  const value = fixed >> PRECISION_BITS;
  return value < 0 ? 0 : Math.min(value, 255);
}
