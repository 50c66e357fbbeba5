import type { RgbImage, Size } from '../../../native/geometry.ts';

/** Pixels of the small frame that are averaged into one cell, each way. */
const CELL = 2;
/** The longer side of the small frame. */
const LONG_SIDE = 64;
const MIN_SHORT_SIDE = 8;
/** A change of the whole picture counts as much as a change of one cell that is this number of times as large. */
const MEAN_WEIGHT = 4;

/** A small picture of a frame, for comparing frames. */
export interface Thumbnail {
  readonly columns: number;
  readonly rows: number;
  /** [rows, columns, 3] u8 RGB, row-major. */
  readonly cells: Uint8Array;
  /** Cumulative histogram of each colour, [3, 256]. */
  readonly distribution: Float32Array;
}

/** The small picture's size for a frame size: a whole number of cells. */
export function thumbnailSize({ width, height }: Size): Size {
  const scale = LONG_SIDE / Math.max(width, height);
  const side = (size: number) => Math.max(MIN_SHORT_SIDE, Math.round((size * scale) / CELL) * CELL);
  return { width: side(width), height: side(height) };
}

/** @param image of a size that `thumbnailSize` gave */
export function makeThumbnail({ width, height, pixels }: RgbImage): Thumbnail {
  const columns = width / CELL;
  const rows = height / CELL;
  const cells = averageCells(pixels, width, columns, rows);
  return {
    columns,
    rows,
    cells,
    distribution: cumulate(cells),
  };
}

function averageCells(pixels: Uint8Array, width: number, columns: number, rows: number): Uint8Array {
  const cells = new Uint8Array(columns * rows * 3);
  const sums = new Uint32Array(columns * 3);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let y = row * CELL; y < (row + 1) * CELL; y++) {
      let at = y * width * 3;
      for (let cell = 0; cell < sums.length; cell += 3) {
        for (let x = 0; x < CELL; x++, at += 3) {
          sums[cell]! += pixels[at]!;
          sums[cell + 1]! += pixels[at + 1]!;
          sums[cell + 2]! += pixels[at + 2]!;
        }
      }
    }
    for (let at = 0; at < sums.length; at++) cells[row * sums.length + at] = sums[at]! / CELL ** 2 + 0.5;
  }
  return cells;
}

function cumulate(cells: Uint8Array): Float32Array {
  const distribution = new Float32Array(3 * 256);
  const share = 3 / cells.length;
  for (let at = 0; at < cells.length; at++) distribution[(at % 3) * 256 + cells[at]!]! += share;
  for (let at = 0; at < distribution.length; at++) {
    if (at % 256 !== 0) distribution[at]! += distribution[at - 1]!;
  }
  return distribution;
}

/** Mean difference of colours at the same places, 0 to 255: large for cuts and for motion. */
export function contentDifference(a: Thumbnail, b: Thumbnail): number {
  if (a.cells.length !== b.cells.length) return 255;
  let sum = 0;
  for (let at = 0; at < a.cells.length; at++) sum += Math.abs(a.cells[at]! - b.cells[at]!);
  return sum / a.cells.length;
}

/**
 * Difference of the colours that occur, wherever they are: the earth mover's distance of the colours'
 * distributions, 0 to 255. Cuts make it large; a camera that turns does so slowly.
 */
export function colourDifference(a: Thumbnail, b: Thumbnail): number {
  let sum = 0;
  for (let at = 0; at < a.distribution.length; at++)
    sum += Math.abs(a.distribution[at]! - b.distribution[at]!);
  return sum / 3;
}

/**
 * How much frames differ, 0 to 255: the largest difference of a cell, because something small may have moved or appeared,
 * or several times the mean.
 */
export function difference(a: Thumbnail, b: Thumbnail): number {
  if (a.cells.length !== b.cells.length) return 255;
  let largest = 0;
  let sum = 0;
  for (let at = 0; at < a.cells.length; at += 3) {
    const red = Math.abs(a.cells[at]! - b.cells[at]!);
    const green = Math.abs(a.cells[at + 1]! - b.cells[at + 1]!);
    const blue = Math.abs(a.cells[at + 2]! - b.cells[at + 2]!);
    const cell = red + green + blue;
    sum += cell;
    if (cell > largest) largest = cell;
  }
  return Math.max(largest / 3, (MEAN_WEIGHT * sum) / a.cells.length);
}
