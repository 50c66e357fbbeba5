/**
 * Pillow's antialiased bicubic resampling (`Resample.c`, 8 bits a channel), bit for bit, written to be read.
 * It makes any window of a resized picture from the few source pixels that the window depends on: the way
 * for strips so long that their resized whole would not fit into memory. Ordinary pictures go through faster
 * code, which is tested against this.
 */

/** Catmull-Rom's cubic. */
const A = -0.5;
const SUPPORT = 2;
/** Weights are whole numbers: 8 bits of pixel and 2 of overshoot leave 22 of 32. */
const PRECISION_BITS = 22;

function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * A;
  return 0;
}

/** How one axis of a resized picture's window is made. All lengths in pixels. */
export interface BicubicAxis {
  /** The source pixels that the window depends on. */
  readonly sourceStart: number;
  readonly sourceEnd: number;
  /** Source pixels that are weighed for every pixel of the window. */
  readonly taps: number;
  /** [pixels], the first of them, counted from `sourceStart`. */
  readonly starts: Int32Array;
  /** [pixels, taps], fixed-point; 0 where fewer count. */
  readonly weights: Int32Array;
}

/**
 * Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc` for `length` pixels from `first` on.
 * @param source the picture's length, in its pixels; it may end within the last of them, where a picture was
 *   shrunk before (as the `box` of Pillow's `resize`)
 * @param resized its length after resizing
 */
export function bicubicAxis(source: number, resized: number, first: number, length: number): BicubicAxis {
  const scale = source / resized;
  const pixels = Math.ceil(source);
  // Shrinking widens the filter: every source pixel counts.
  const filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale;
  const centerOf = (index: number) => (first + index + 0.5) * scale;
  const startOf = (center: number) => Math.max(0, Math.trunc(center - support + 0.5));
  const endOf = (center: number) => Math.min(pixels, Math.trunc(center + support + 0.5));

  const sourceStart = startOf(centerOf(0));
  const sourceEnd = endOf(centerOf(length - 1));
  let taps = 0;
  for (let index = 0; index < length; index++) {
    const center = centerOf(index);
    taps = Math.max(taps, endOf(center) - startOf(center));
  }
  const starts = new Int32Array(length);
  const weights = new Int32Array(length * taps);
  const exact = new Float64Array(taps);
  for (let index = 0; index < length; index++) {
    const center = centerOf(index);
    const start = startOf(center);
    const count = endOf(center) - start;
    let sum = 0;
    for (let tap = 0; tap < count; tap++) {
      exact[tap] = cubic((start + tap - center + 0.5) * (1 / filterScale));
      sum += exact[tap]!;
    }
    // At the end there is no room for weights of 0 behind: they go before.
    const from = Math.min(start, sourceEnd - taps);
    starts[index] = from - sourceStart;
    const to = index * taps + start - from;
    for (let tap = 0; tap < count; tap++) {
      weights[to + tap] = roundHalfAway((exact[tap]! / sum) * 2 ** PRECISION_BITS);
    }
  }
  return { sourceStart, sourceEnd, taps, starts, weights };
}

function roundHalfAway(value: number): number {
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}

/**
 * Resamples a window: first along the rows, then along the columns, rounding to 8 bits after each.
 * @param source the pixels from `horizontal.sourceStart`, `vertical.sourceStart` to the ends of both,
 *   [h, w, 4] u8, row-major
 * @returns the window, [height, width, 4] u8, row-major
 */
export function resampleBicubic(
  source: Uint8Array,
  horizontal: BicubicAxis,
  vertical: BicubicAxis,
): Uint8Array {
  const sourceWidth = horizontal.sourceEnd - horizontal.sourceStart;
  const sourceHeight = vertical.sourceEnd - vertical.sourceStart;
  const width = horizontal.starts.length;
  const narrowed = new Uint8Array(sourceHeight * width * 4); // [sourceHeight, width, 4]
  for (let y = 0; y < sourceHeight; y++) {
    for (const [x, start] of horizontal.starts.entries()) {
      const from = (y * sourceWidth + start) * 4;
      weigh(source, from, 4, weightsOf(horizontal, x), narrowed, (y * width + x) * 4);
    }
  }
  const resampled = new Uint8Array(vertical.starts.length * width * 4);
  for (const [y, start] of vertical.starts.entries()) {
    const weights = weightsOf(vertical, y);
    for (let x = 0; x < width; x++) {
      const from = (start * width + x) * 4;
      weigh(narrowed, from, width * 4, weights, resampled, (y * width + x) * 4);
    }
  }
  return resampled;
}

function weightsOf({ weights, taps }: BicubicAxis, index: number): Int32Array {
  return weights.subarray(index * taps, (index + 1) * taps);
}

/** The weighted sum of pixels that lie `stride` bytes apart, channel by channel. */
function weigh(
  source: Uint8Array,
  from: number,
  stride: number,
  weights: Int32Array,
  target: Uint8Array,
  to: number,
): void {
  for (let channel = 0; channel < 4; channel++) {
    let sum = 2 ** (PRECISION_BITS - 1);
    for (let tap = 0; tap < weights.length; tap++) {
      sum += source[from + tap * stride + channel]! * weights[tap]!;
    }
    target[to + channel] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** PRECISION_BITS)));
  }
}
