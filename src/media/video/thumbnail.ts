import type { RgbImage } from '../../../native/av/frame-filter.ts';
import type { Size } from '../../../native/geometry.ts';

/** Pixels of the small frame that are averaged into one cell, each way. */
const CELL = 4;
/** Cells that are averaged into one block, each way: about an eighth of the picture's width. */
const BLOCK = 4;
/** The longer side of the small frame: PySceneDetect's size. */
const LONG_SIDE = 256;
const MIN_SHORT_SIDE = 16;

/** A small picture of a frame and its statistics, for comparing frames. */
export interface Thumbnail {
  readonly columns: number;
  readonly rows: number;
  /** [rows, columns, 3] u8 RGB, row-major. */
  readonly cells: Uint8Array;
  /** Cumulative histogram of each colour, [3, 256]. */
  readonly distribution: Float32Array;
  /** Mean difference of neighbouring pixels' brightness, of 255: low for blurred and empty pictures. */
  readonly detail: number;
  /** Standard deviation of the cells' brightness, of 255: near 0 for a black or white picture. */
  readonly contrast: number;
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
    detail: meanGradient(pixels, width, height),
    contrast: brightnessDeviation(cells),
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

/** Measures green instead of brightness: green contributes most to it. */
function meanGradient(pixels: Uint8Array, width: number, height: number): number {
  let sum = 0;
  for (let y = 1; y < height; y += 2) {
    const row = y * width * 3 + 1;
    const above = row - width * 3;
    for (let at = 3; at < width * 3; at += 3) {
      const here = pixels[row + at]!;
      sum += Math.abs(here - pixels[row + at - 3]!) + Math.abs(here - pixels[above + at]!);
    }
  }
  return sum / (width * height);
}

function brightnessDeviation(cells: Uint8Array): number {
  let sum = 0;
  let squares = 0;
  for (let at = 0; at < cells.length; at += 3) {
    const brightness = 0.3 * cells[at]! + 0.59 * cells[at + 1]! + 0.11 * cells[at + 2]!;
    sum += brightness;
    squares += brightness * brightness;
  }
  const count = cells.length / 3;
  return Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
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

/** Largest difference of one block's mean colour, 0 to 255: something small has moved or appeared. */
export function blockDifference(a: Thumbnail, b: Thumbnail): number {
  if (a.cells.length !== b.cells.length) return 255;
  let largest = 0;
  for (let top = 0; top < a.rows; top += BLOCK) {
    for (let left = 0; left < a.columns; left += BLOCK) {
      largest = Math.max(largest, differenceOfBlock(a, b, left, top));
    }
  }
  return largest;
}

function differenceOfBlock(a: Thumbnail, b: Thumbnail, left: number, top: number): number {
  const bottom = Math.min(top + BLOCK, a.rows);
  const right = Math.min(left + BLOCK, a.columns);
  let sum = 0;
  for (let row = top; row < bottom; row++) {
    const rowAt = row * a.columns * 3;
    for (let at = rowAt + left * 3; at < rowAt + right * 3; at++)
      sum += Math.abs(a.cells[at]! - b.cells[at]!);
  }
  return sum / ((bottom - top) * (right - left) * 3);
}
