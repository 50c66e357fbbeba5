import type { Colour } from '../../fixtures/colour-pictures.ts';
import { type Planes, toYuv } from '../../fixtures/videos-paint.ts';
import { paintScene } from '../photos/scene.ts';
import { randomNumbers } from '../random-numbers.ts';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** A photograph larger than a frame, for a camera to pan over. Planar 4:2:0, 8 bits, BT.709, limited range. */
export interface Canvas extends Size {
  readonly luma: Uint8Array;
  readonly blue: Uint8Array;
  readonly red: Uint8Array;
}

/** How much larger than a frame. */
const MARGIN = 1.2;

const layout = { bits: 8, matrix: 'bt709', range: 'limited' } as const;

export function paintCanvas(seed: number, frame: Size): Canvas {
  const width = evenly(frame.width * MARGIN);
  const height = evenly(frame.height * MARGIN);
  const bmp = paintScene({ seed, width, height, grain: 10 });
  const pixels = bmp.subarray(bmp.length - width * height * 3); // BGR, from the bottom; the width needs no padding
  const luma = new Uint8Array(width * height);
  const blue = new Uint8Array(luma.length / 4);
  const red = new Uint8Array(luma.length / 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = ((height - 1 - y) * width + x) * 3;
      const colour: Colour = [pixels[at + 2] as number, pixels[at + 1] as number, pixels[at] as number];
      const [value, blueDifference, redDifference] = toYuv(colour, layout);
      luma[y * width + x] = value;
      if (x % 2 === 1 || y % 2 === 1) continue;
      blue[(y / 2) * (width / 2) + x / 2] = blueDifference;
      red[(y / 2) * (width / 2) + x / 2] = redDifference;
    }
  }
  return { width, height, luma, blue, red };
}

function evenly(value: number): number {
  return 4 * Math.round(value / 4);
}

export interface View {
  /** Where the pan has come to, 0 to 1. */
  readonly progress: number;
  /** Added to both colour differences. */
  readonly tint: readonly [blue: number, red: number];
  /** Each frame has noise of its own. */
  readonly frame: number;
}

const NOISE = 1 << 16;
const noise = (() => {
  const next = randomNumbers(99);
  return Int8Array.from({ length: 2 * NOISE }, () => Math.round(4.7 * (next() + next())));
})();

/** One frame of a pan from the left top to the right bottom. */
export function pictureOf(canvas: Canvas, { width, height }: Size, view: View): Planes {
  const left = 2 * Math.floor(((canvas.width - width) / 2) * view.progress);
  const top = 2 * Math.floor(((canvas.height - height) / 2) * view.progress);
  const planes: Planes = new Uint16Array((width * height * 3) / 2);
  for (let y = 0; y < height; y++) {
    const from = (top + y) * canvas.width + left;
    const noiseFrom = ((view.frame * 7919 + y) * 104_729) % NOISE;
    for (let x = 0; x < width; x++) {
      planes[y * width + x] = clamp((canvas.luma[from + x] as number) + (noise[noiseFrom + x] as number));
    }
  }
  let at = width * height;
  for (const [plane, source] of [canvas.blue, canvas.red].entries()) {
    const tint = view.tint[plane] as number;
    for (let y = 0; y < height / 2; y++) {
      const from = (top / 2 + y) * (canvas.width / 2) + left / 2;
      for (let x = 0; x < width / 2; x++) planes[at++] = clamp((source[from + x] as number) + tint);
    }
  }
  return planes;
}

function clamp(value: number): number {
  return Math.min(240, Math.max(16, value));
}
