import type { Orientation, ResizeAndCrop, Size } from '../../../../native/image/bitmap.ts';
import { StoredPng } from '../../../../native/image/builtin-decoder.ts';
import { type BicubicAxis, bicubicAxis, resampleBicubic } from '../bicubic.ts';

/** What `kernel.ts` exports. */
interface ResampleKernel {
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
}

/** @returns undefined where WebAssembly has no vectors: on x86 without AVX */
export async function loadKernel(): Promise<ResampleKernel | undefined> {
  const bytes = await Bun.file(new URL('kernel.wasm', import.meta.url)).bytes();
  if (!WebAssembly.validate(bytes)) return undefined;
  const { instance } = await WebAssembly.instantiate(bytes);
  return instance.exports as unknown as ResampleKernel;
}

/** Where pixels of a square go: steps in bytes of its RGB. */
export interface Place {
  readonly origin: number;
  readonly right: number;
  readonly down: number;
}

/**
 * Resamples a square's window of a picture.
 * @param readRow reads a row's pixels from `horizontal.sourceStart` to `sourceEnd`, [n, 4] u8 RGBA; called for one
 *   row after another from `vertical.sourceStart` to `sourceEnd`
 * @param target receives the square, [S, S, 3] u8 RGB
 */
export type ResampleSquare = (
  readRow: (row: Uint8Array) => void,
  horizontal: BicubicAxis,
  vertical: BicubicAxis,
  target: Uint8Array,
  place: Place,
) => void;

/** For machines that have no kernel: right, but slow. */
export const resamplePlainly: ResampleSquare = (readRow, horizontal, vertical, target, place) => {
  const rowBytes = (horizontal.sourceEnd - horizontal.sourceStart) * 4;
  const source = new Uint8Array((vertical.sourceEnd - vertical.sourceStart) * rowBytes);
  for (let at = 0; at < source.length; at += rowBytes) readRow(source.subarray(at, at + rowBytes));
  const square = resampleBicubic(source, horizontal, vertical);
  const side = horizontal.starts.length;
  for (let y = 0, from = 0; y < side; y++) {
    for (let x = 0; x < side; x++, from += 4) {
      target.set(square.subarray(from, from + 3), place.origin + y * place.down + x * place.right);
    }
  }
};

const PAGE_BYTES = 64 * 1024;
const VECTOR_BYTES = 16;
/** The kernel narrows so many at a time. */
const ROWS = 4;

/**
 * Resamples with the kernel, to the byte as `resamplePlainly` does. The kernel's memory is one for all, and stays as
 * large as the largest picture made it: 0.5 MB for 12 megapixels at an eighth, 1.3 MB for 100.
 */
export function createKernelResample({ memory, ...kernel }: ResampleKernel): ResampleSquare {
  return (readRow, horizontal, vertical, target, { origin, right, down }) => {
    const side = horizontal.starts.length;
    const sourceRowBytes = (horizontal.sourceEnd - horizontal.sourceStart) * 4;
    const sourceHeight = vertical.sourceEnd - vertical.sourceStart;
    const rowBytes = roundUp(side * 4, VECTOR_BYTES);
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
        side,
      );
    }
    for (const [y, start] of vertical.starts.entries()) {
      const rows = at.narrowed + start * rowBytes;
      const weights = at.downwards + y * vertical.taps * 4;
      kernel.weighRows(rows, rowBytes, weights, vertical.taps, at.weighed);
      kernel.placeRow(at.weighed, side, at.square + origin + y * down, right);
    }
    target.set(new Uint8Array(buffer, at.square, target.length));
  };
}

/** Addresses for areas of so many bytes, one after another; the memory grows where it is too small. */
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

/**
 * Resizes a shrunk picture whose last column or row is cut by the picture's edge: 1357 pixels at an eighth are
 * 169.6. `Bun.Image` takes such a pixel for a whole one, which shifts all others; here the filter lies where it
 * would on the picture itself. Turns the square upright. Takes 0.7 ms of the main thread for 12 megapixels at an
 * eighth, 4 for 100.
 * @param png the shrunk picture as stored
 * @param covered the pixels that the picture covers, of its sides as stored
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 */
export function resizeCutPixels(
  png: Uint8Array,
  covered: Size,
  geometry: ResizeAndCrop,
  orientation: Orientation,
  target: Uint8Array,
): void {
  const side = Math.sqrt(target.length / 3);
  const { horizontal, vertical, place } = axesAsStored(covered, geometry, orientation, side);
  const stored = new StoredPng(png);
  stored.skipRows(vertical.sourceStart);
  const readRow = (row: Uint8Array) => stored.readRow(row, horizontal.sourceStart);
  resampleSquare(readRow, horizontal, vertical, target, place);
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
