import type { Colour } from '../../fixtures/colour-pictures.ts';
import { type Planes, toYuv } from '../../fixtures/videos-paint.ts';
import { paintScene } from '../photos/scene.ts';
import { randomNumbers } from '../random-numbers.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** One of a picture's three planes. Row-major, 8 bits, BT.709, limited range. */
export interface Plane extends Size {
  readonly values: Uint8Array;
}

/** A photograph larger than a frame, for a camera to move over: luma, and both colour differences of half its size. */
export type Canvas = readonly [luma: Plane, blue: Plane, red: Plane];

/** How much larger than a frame. */
export const MARGIN = 1.2;
/** What a sensor leaves in every photograph, of 255. */
const GRAIN = 1;
/** Amplitude of the pattern of leaves, hair, cloth and gravel, of 255: with it a keyframe takes 100 to 300 KB. */
const ROUGHNESS = 40;

const layout = { bits: 8, matrix: 'bt709', range: 'limited' } as const;

export function paintCanvas(seed: number, frame: Size): Canvas {
  const width = evenly(frame.width * MARGIN);
  const height = evenly(frame.height * MARGIN);
  const bmp = paintScene({ seed, width, height, grain: GRAIN });
  const pixels = bmp.subarray(bmp.length - width * height * 3); // BGR, from the bottom; the width needs no padding
  const luma = createPlane(width, height);
  const blue = createPlane(width / 2, height / 2);
  const red = createPlane(width / 2, height / 2);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = ((height - 1 - y) * width + x) * 3;
      const colour: Colour = [pixels[at + 2] as number, pixels[at + 1] as number, pixels[at] as number];
      const [value, blueDifference, redDifference] = toYuv(colour, layout);
      luma.values[y * width + x] = value;
      if (x % 2 === 1 || y % 2 === 1) continue;
      blue.values[(y / 2) * (width / 2) + x / 2] = blueDifference;
      red.values[(y / 2) * (width / 2) + x / 2] = redDifference;
    }
  }
  roughen(luma, seed);
  return [luma, blue, red];
}

/** A pattern some pixels wide, strong where it is bright, as things that catch light have it. */
function roughen({ width, height, values }: Plane, seed: number): void {
  const next = randomNumbers(seed + 100);
  const noise = Float32Array.from(values, next);
  for (let at = width + 1; at < width * (height - 1) - 1; at++) {
    const above = noise[at - width - 1]! + 2 * noise[at - width]! + noise[at - width + 1]!;
    const here = noise[at - 1]! + 2 * noise[at]! + noise[at + 1]!;
    const below = noise[at + width - 1]! + 2 * noise[at + width]! + noise[at + width + 1]!;
    const light = Math.max(0, values[at]! - 40) / 200;
    values[at] = clamp(values[at]! + (ROUGHNESS * light * (above + 2 * here + below)) / 16);
  }
}

function createPlane(width: number, height: number): Plane {
  return { width, height, values: new Uint8Array(width * height) };
}

function evenly(value: number): number {
  return 4 * Math.round(value / 4);
}

/** What to see of a canvas: a frame's size of it, from a place between pixels on. */
export interface View {
  readonly canvas: Canvas;
  /** In luma pixels. */
  readonly left: number;
  readonly top: number;
  /** Added to both colour differences: the same photograph in other colours. */
  readonly tint: readonly [blue: number, red: number];
}

/** Where a view is seen on the frame, in luma pixels. */
export interface Ellipse {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Paints a view on a frame, all over it or within an ellipse. */
export function paintView(frame: Planes, size: Size, view: View, within?: Ellipse): void {
  const { width, height } = size;
  let start = 0;
  for (const [order, plane] of view.canvas.entries()) {
    const scale = order === 0 ? 1 : 2;
    const tint = order === 0 ? 0 : view.tint[order - 1]!;
    const target = { values: frame.subarray(start), width: width / scale, height: height / scale };
    start += target.width * target.height;
    paintPlane(target, plane, view.left / scale, view.top / scale, tint, (row) =>
      within ? span(within, row * scale, width).map((x) => Math.floor(x / scale)) : [0, target.width],
    );
  }
}

/** Between pixels it is the mean of the four around, as a lens would have it. */
function paintPlane(
  target: { readonly values: Planes; readonly width: number; readonly height: number },
  source: Plane,
  left: number,
  top: number,
  tint: number,
  columnsOf: (row: number) => readonly number[],
): void {
  const [x, y] = [Math.floor(left), Math.floor(top)];
  const [right, bottom] = [left - x, top - y];
  const weights = [(1 - right) * (1 - bottom), right * (1 - bottom), (1 - right) * bottom, right * bottom];
  const [a, b, c, d] = weights as [number, number, number, number];
  const { values, width } = source;
  for (let row = 0; row < target.height; row++) {
    const [begin = 0, end = 0] = columnsOf(row);
    const from = (y + row) * width + x;
    for (let column = begin; column < end; column++) {
      const at = from + column;
      const mean =
        a * values[at]! + b * values[at + 1]! + c * values[at + width]! + d * values[at + width + 1]!;
      target.values[row * target.width + column] = clamp(mean + tint);
    }
  }
}

/** What of a row lies within an ellipse. */
function span({ x, y, width, height }: Ellipse, row: number, frameWidth: number): number[] {
  const share = 1 - ((row - y) / (height / 2)) ** 2;
  if (share <= 0) return [0, 0];
  const half = (width / 2) * Math.sqrt(share);
  return [Math.max(0, x - half), Math.min(frameWidth, x + half)];
}

function clamp(value: number): number {
  return Math.min(240, Math.max(16, Math.round(value)));
}
