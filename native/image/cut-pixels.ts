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
  const across = evenAxis(horizontal);
  const rowsPerTurn = Math.max(1, Math.trunc(PIXELS_PER_TURN / stored.width));
  stored.skipRows(vertical.sourceStart);
  for (let y = vertical.sourceStart, to = 0; y < vertical.sourceEnd; y++, to += side * 3) {
    stored.readRow(row);
    // [rows, side, 3]: they take the place of longer ones that have been read, so that nothing is allocated.
    narrowRow(row, across, png, to);
    if ((y + 1) % rowsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  weighRows(png, vertical.sourceStart, evenAxis(vertical), target, place);
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
  const sideways = [resizedWidth, cropLeft] as const;
  const downwards = [resizedHeight, cropTop] as const;
  const [right, down] = isTurned ? [side * 3, 3] : [3, side * 3];
  return {
    horizontal: axis(covered.width, ...(isTurned ? downwards : sideways), isMirrored),
    vertical: axis(covered.height, ...(isTurned ? sideways : downwards), isUpsideDown),
    place: {
      origin: (isMirrored ? right * (side - 1) : 0) + (isUpsideDown ? down * (side - 1) : 0),
      right: isMirrored ? -right : right,
      down: isUpsideDown ? -down : down,
    } satisfies Place,
  };
}

/** An axis for tight loops: as many weights for every pixel, one after another. */
interface EvenAxis {
  readonly taps: number;
  readonly starts: Int32Array;
  /** [pixels, taps] */
  readonly weights: Int32Array;
}

function evenAxis({ taps, sourceStart, sourceEnd }: BicubicAxis): EvenAxis {
  const most = Math.max(...taps.map(({ weights }) => weights.length));
  const starts = new Int32Array(taps.length);
  const evened = new Int32Array(taps.length * most);
  for (const [index, { start, weights }] of taps.entries()) {
    // At the end there is no room for weights of 0 behind: they go before.
    starts[index] = Math.max(sourceStart, Math.min(start, sourceEnd - most));
    evened.set(weights, index * most + start - starts[index]!);
  }
  return { taps: most, starts, weights: evened };
}

/** @param row [w, 4] u8 RGBA */
function narrowRow(
  row: Uint8Array,
  { taps, starts, weights }: EvenAxis,
  narrowed: Uint8Array,
  offset: number,
) {
  let to = offset;
  let at = 0;
  for (let index = 0; index < starts.length; index++) {
    let from = starts[index]! * 4;
    let red = HALF;
    let green = HALF;
    let blue = HALF;
    // Whole numbers of 32 bits throughout, said so that they are computed as such.
    for (const end = at + taps; at < end; at++) {
      const weight = weights[at]!;
      red = (red + Math.imul(row[from]!, weight)) | 0;
      green = (green + Math.imul(row[from + 1]!, weight)) | 0;
      blue = (blue + Math.imul(row[from + 2]!, weight)) | 0;
      from = (from + 4) | 0;
    }
    narrowed[to] = toByte(red);
    narrowed[to + 1] = toByte(green);
    narrowed[to + 2] = toByte(blue);
    to = (to + 3) | 0;
  }
}

/** @param narrowed [rows, side, 3] u8, from the source's row `firstRow` on */
function weighRows(
  narrowed: Uint8Array,
  firstRow: number,
  { taps, starts, weights }: EvenAxis,
  target: Uint8Array,
  { origin, right, down }: Place,
): void {
  const side = starts.length;
  const rowBytes = side * 3;
  for (let y = 0; y < side; y++) {
    const first = (starts[y]! - firstRow) * rowBytes;
    for (let x = 0; x < rowBytes; x++) {
      let sum = HALF;
      let from = (first + x) | 0;
      for (let at = y * taps, end = at + taps; at < end; at = (at + 1) | 0) {
        sum = (sum + Math.imul(narrowed[from]!, weights[at]!)) | 0;
        from = (from + rowBytes) | 0;
      }
      const column = Math.trunc(x / 3);
      target[origin + y * down + column * right + (x - column * 3)] = toByte(sum);
    }
  }
}

function toByte(fixed: number): number {
  const value = fixed >> PRECISION_BITS;
  return value < 0 ? 0 : Math.min(value, 255);
}
