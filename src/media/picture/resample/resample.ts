import {
  cutSize,
  type ExifOrientation,
  type Rectangle,
  type ResizeAndCrop,
  type Size,
} from '../../../../native/geometry.ts';
import { StoredPng } from '../../../../native/image/builtin-decoder.ts';

/**
 * Pillow's antialiased bicubic resampling (`Resample.c`, 8 bits a channel), bit for bit, in readable code. It makes any
 * window of a resized picture from the few source pixels that the window depends on. Strips need this: the whole of a
 * resized strip would not fit into memory. Other pictures take faster code, which is tested against this.
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

/** How one axis of a resized picture's window is made. All lengths are in pixels. */
export interface BicubicAxis {
  /** The source pixels that the window depends on. */
  readonly sourceStart: number;
  readonly sourceEnd: number;
  /** Source pixels that are weighed for each pixel of the window. */
  readonly taps: number;
  /** [pixels], the first source pixel of each, counted from `sourceStart`. */
  readonly starts: Int32Array;
  /** [pixels, taps], fixed-point; 0 for source pixels that do not count. */
  readonly weights: Int32Array;
}

interface BicubicAxes {
  readonly horizontal: BicubicAxis;
  readonly vertical: BicubicAxis;
}

/**
 * Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc` for `length` pixels from `first` on.
 * @param source the picture's length in its pixels. The length of a shrunk picture may end within its last pixel (as the
 *   `box` of Pillow's `resize`).
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
    // At the end of the picture, weights of 0 come first: pixels after the end do not exist.
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
export function resampleBicubic(source: Uint8Array, { horizontal, vertical }: BicubicAxes): Uint8Array {
  const sourceWidth = horizontal.sourceEnd - horizontal.sourceStart;
  const sourceHeight = vertical.sourceEnd - vertical.sourceStart;
  const width = horizontal.starts.length;
  const narrowed = new Uint8Array(sourceHeight * width * 4); // [sourceHeight, width, 4]
  for (let y = 0; y < sourceHeight; y++) {
    for (const [x, start] of horizontal.starts.entries()) {
      const taps = { pixels: source, from: (y * sourceWidth + start) * 4, stride: 4 };
      weigh(taps, weightsOf(horizontal, x), narrowed, (y * width + x) * 4);
    }
  }
  const resampled = new Uint8Array(vertical.starts.length * width * 4);
  for (const [y, start] of vertical.starts.entries()) {
    const weights = weightsOf(vertical, y);
    for (let x = 0; x < width; x++) {
      const taps = { pixels: narrowed, from: (start * width + x) * 4, stride: width * 4 };
      weigh(taps, weights, resampled, (y * width + x) * 4);
    }
  }
  return resampled;
}

function weightsOf({ weights, taps }: BicubicAxis, index: number): Int32Array {
  return weights.subarray(index * taps, (index + 1) * taps);
}

/** Pixels that lie `stride` bytes apart. */
interface Taps {
  readonly pixels: Uint8Array;
  readonly from: number;
  readonly stride: number;
}

/** The weighted sum of pixels, channel by channel. */
function weigh({ pixels, from, stride }: Taps, weights: Int32Array, target: Uint8Array, to: number): void {
  for (let channel = 0; channel < 4; channel++) {
    let sum = 2 ** (PRECISION_BITS - 1);
    for (let tap = 0; tap < weights.length; tap++) {
      sum += pixels[from + tap * stride + channel]! * weights[tap]!;
    }
    target[to + channel] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** PRECISION_BITS)));
  }
}

/** The exports of `kernel.ts`. */
export interface Kernel {
  readonly memory: WebAssembly.Memory;
  narrowFourRows(
    rows: number,
    rowBytes: number,
    starts: number,
    weights: number,
    taps: number,
    narrowed: number,
    narrowedBytes: number,
    width: number,
  ): void;
  weighRows(rows: number, rowBytes: number, weights: number, taps: number, weighed: number): void;
  placeRow(row: number, width: number, place: number, step: number): void;
  findEscape(from: number, end: number): number;
}

/** @returns with a memory of its own; undefined if WebAssembly has no vectors: on x86 without AVX */
export async function loadKernel(): Promise<Kernel | undefined> {
  const bytes = await Bun.file(new URL('kernel.wasm', import.meta.url)).bytes();
  if (!WebAssembly.validate(bytes)) return undefined;
  const { instance } = await WebAssembly.instantiate(bytes);
  return instance.exports as unknown as Kernel;
}

/** The places of a picture's pixels: offsets in bytes of its RGB. */
export interface TargetLayout {
  readonly origin: number;
  readonly right: number;
  readonly down: number;
}

/**
 * Resamples a window of a picture.
 * @param readRow reads a row's pixels from `horizontal.sourceStart` to `sourceEnd`, [n, 4] u8 RGBA. It is called for each
 *   row from `vertical.sourceStart` to `sourceEnd`, in order.
 * @param target receives the window, [h, w, 3] u8 RGB
 */
export type ResampleSquare = (
  readRow: (row: Uint8Array) => void,
  axes: BicubicAxes,
  target: Uint8Array,
  layout: TargetLayout,
) => void;

/** For machines without the kernel: correct, but slow. */
export const resamplePlainly: ResampleSquare = resampleWith(() => {});

function resampleWith(finish: (square: Uint8Array) => void): ResampleSquare {
  return (readRow, axes, target, layout) => {
    const { horizontal, vertical } = axes;
    const rowBytes = (horizontal.sourceEnd - horizontal.sourceStart) * 4;
    const source = new Uint8Array((vertical.sourceEnd - vertical.sourceStart) * rowBytes);
    for (let at = 0; at < source.length; at += rowBytes) readRow(source.subarray(at, at + rowBytes));
    const square = resampleBicubic(source, axes);
    finish(square);
    for (let y = 0, from = 0; y < vertical.starts.length; y++) {
      for (let x = 0; x < horizontal.starts.length; x++, from += 4) {
        target.set(square.subarray(from, from + 3), layout.origin + y * layout.down + x * layout.right);
      }
    }
  };
}

const PAGE_BYTES = 64 * 1024;
const VECTOR_BYTES = 16;
/** Rows that the kernel narrows at a time. */
const ROWS = 4;

/**
 * Resamples with the kernel, with the same bytes as `resamplePlainly`. All calls share the kernel's memory, which never
 * shrinks: 0.5 MB for 12 megapixels at an eighth, 1.3 MB for 100.
 */
export function createKernelResample({ memory, ...kernel }: Kernel): ResampleSquare {
  return (readRow, { horizontal, vertical }, target, { origin, right, down }) => {
    const width = horizontal.starts.length;
    const sourceRowBytes = (horizontal.sourceEnd - horizontal.sourceStart) * 4;
    const sourceHeight = vertical.sourceEnd - vertical.sourceStart;
    const rowBytes = roundUp(width * 4, VECTOR_BYTES);
    const at = layOut(memory, {
      starts: horizontal.starts.byteLength,
      across: horizontal.weights.byteLength,
      downwards: vertical.weights.byteLength,
      rows: ROWS * sourceRowBytes,
      narrowed: roundUp(sourceHeight, ROWS) * rowBytes,
      weighed: rowBytes,
      square: target.length,
    });
    const { buffer } = memory;
    new Int32Array(buffer, at.starts).set(horizontal.starts);
    new Int32Array(buffer, at.across).set(horizontal.weights);
    new Int32Array(buffer, at.downwards).set(vertical.weights);

    const { starts, across } = at;
    for (let y = 0; y < sourceHeight; y += ROWS) {
      for (let row = 0; row < Math.min(ROWS, sourceHeight - y); row++) {
        readRow(new Uint8Array(buffer, at.rows + row * sourceRowBytes, sourceRowBytes));
      }
      const narrowed = at.narrowed + y * rowBytes;
      kernel.narrowFourRows(
        at.rows,
        sourceRowBytes,
        starts,
        across,
        horizontal.taps,
        narrowed,
        rowBytes,
        width,
      );
    }
    for (const [y, start] of vertical.starts.entries()) {
      const rows = at.narrowed + start * rowBytes;
      const weights = at.downwards + y * vertical.taps * 4;
      kernel.weighRows(rows, rowBytes, weights, vertical.taps, at.weighed);
      kernel.placeRow(at.weighed, width, at.square + origin + y * down, right);
    }
    target.set(new Uint8Array(buffer, at.square, target.length));
  };
}

/**
 * Places areas in memory, one after another, and grows the memory if it is too small.
 * @param lengths in bytes
 * @returns addresses
 */
function layOut<Area extends string>(
  memory: WebAssembly.Memory,
  lengths: Readonly<Record<Area, number>>,
): Record<Area, number> {
  const addresses = {} as Record<Area, number>;
  let end = 0;
  for (const area in lengths) {
    addresses[area] = end;
    end += roundUp(lengths[area], VECTOR_BYTES);
  }
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  return addresses;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

const kernel = await loadKernel();
const resampleSquare = kernel ? createKernelResample(kernel) : resamplePlainly;

interface CutPicture {
  /** The pixels that the picture covers, as stored. */
  readonly covered: Size;
  readonly place: ResizeAndCrop;
  readonly orientation: ExifOrientation;
  /** Changes the square's pixels, [n, 4] u8 RGBA, before their opacity is dropped. It costs the fast path. */
  readonly finish?: (square: Uint8Array) => void;
}

/**
 * Resizes a shrunk picture whose last column or row is cut by the picture's edge: 1357 pixels at an eighth are 169.6.
 * `Bun.Image` treats the cut pixel as a whole one, which shifts all others. Here the filter has the same position as on
 * the original picture. Turns the square upright. Takes 0.7 ms of the main thread for 12 megapixels at an eighth, 4 ms
 * for 100.
 * @param png the shrunk picture as stored
 * @param target receives the square, [S, S, 3] u8 RGB, row-major; all of the resized picture, if there are several
 */
export function resizeCutPixels(png: Uint8Array, cut: CutPicture, target: Uint8Array): void {
  const open = ({ left, top }: Rectangle) => {
    const stored = new StoredPng(png);
    stored.skipRows(top);
    return (row: Uint8Array) => stored.readRow(row, left);
  };
  resizeRows(open, cut, target);
}

/**
 * Resizes a picture of which only some rows are in memory at a time, and turns the square upright.
 * @param open called once, with the part of the stored picture that the square depends on. The function that it returns
 *   reads the next row of that part, [n, 4] u8 RGBA.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major; all of the resized picture, if there are several
 */
export function resizeRows(
  open: (part: Rectangle) => (row: Uint8Array) => void,
  cut: CutPicture,
  target: Uint8Array,
): void {
  const { horizontal, vertical, target: place } = axesAsStored(cut, cutSize(cut.place, target.length / 3));
  const readRow = open({
    left: horizontal.sourceStart,
    top: vertical.sourceStart,
    width: horizontal.sourceEnd - horizontal.sourceStart,
    height: vertical.sourceEnd - vertical.sourceStart,
  });
  const resample = cut.finish ? resampleWith(cut.finish) : resampleSquare;
  resample(readRow, { horizontal, vertical }, target, place);
}

/** The square's axes on the stored picture, which may be mirrored or on its side. */
function axesAsStored({ covered, place, orientation }: CutPicture, { width, height }: Size) {
  const { resizedWidth, resizedHeight, cropLeft, cropTop } = place;
  const isTurned = orientation >= 5;
  const isMirrored = [2, 3, 7, 8].includes(orientation);
  const isUpsideDown = [3, 4, 6, 7].includes(orientation);
  type Part = readonly [resized: number, crop: number, length: number];
  const axis = (source: number, [resized, crop, length]: Part, isReversed: boolean) =>
    bicubicAxis(source, resized, isReversed ? resized - crop - length : crop, length);
  const sideways = [resizedWidth, cropLeft, width] as const;
  const downwards = [resizedHeight, cropTop, height] as const;
  const [right, down] = isTurned ? [width * 3, 3] : [3, width * 3];
  const horizontal = axis(covered.width, isTurned ? downwards : sideways, isMirrored);
  const vertical = axis(covered.height, isTurned ? sideways : downwards, isUpsideDown);
  const rightmost = right * (horizontal.starts.length - 1);
  const lowest = down * (vertical.starts.length - 1);
  return {
    horizontal,
    vertical,
    target: {
      origin: (isMirrored ? rightmost : 0) + (isUpsideDown ? lowest : 0),
      right: isMirrored ? -right : right,
      down: isUpsideDown ? -down : down,
    } satisfies TargetLayout,
  };
}
