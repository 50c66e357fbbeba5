import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Colour } from '../../fixtures/colour-pictures.ts';
import { sceneColours } from '../../fixtures/videos.ts';
import { encodeVideo, type VideoForm } from '../../fixtures/videos-encode.ts';
import { type Patch, type Planes, paint, toYuv } from '../../fixtures/videos-paint.ts';
import { cacheFolder } from '../cache-folder.ts';
import { randomNumbers } from '../random-numbers.ts';
import { MARGIN, paintCanvas, paintView, type Size } from '../video/canvas.ts';
import { createNoise } from '../video/footage.ts';
import type { ClipRecipe, EventKind, Gop, PlantedEvent } from './clip-recipes.ts';

/** Another number makes all clips again. */
const PAINTER = 1;
const CANVASES = 12;
/** Standard deviation of the noise in the background `noise`, of 255. */
const NOISE = 4;
/** Amplitude of the pattern of a textured patch, of 255. */
const TEXTURE = 50;
const layout = { bits: 8, matrix: 'bt709', range: 'limited' } as const;

/**
 * Makes a clip, or finds the one made before.
 * @returns the file's path
 */
export async function madeClip(recipe: ClipRecipe): Promise<string> {
  const digest = Bun.hash(JSON.stringify({ ...recipe, PAINTER })).toString(36);
  const extension = { mp4: 'mp4', matroska: 'mkv', webm: 'webm', avi: 'avi', mpegts: 'ts', '3gp': '3gp' }[
    recipe.container
  ];
  const path = join(await cacheFolder('regret', 'clips'), `${digest}.${extension}`);
  if (await Bun.file(path).exists()) return path;
  const unfinished = `${path}.${process.pid}`;
  const times = frameTimes(recipe);
  try {
    encodeVideo(unfinished, formOf(recipe, times), paintFrames(recipe, times));
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
  return path;
}

/** In ms, ascending. */
function frameTimes({ seconds, rate, number }: ClipRecipe): number[] {
  const next = randomNumbers(number);
  const times: number[] = [];
  for (let time = 0; time < seconds * 1000 - 1; ) {
    times.push(Math.round(time));
    if (rate !== 'variable') time = (times.length * 1000) / rate;
    else time += next() > 0.95 ? 250 : 33 + 60 * (1 + next()) ** 2 * 0.5;
  }
  return times;
}

function formOf({ width, height, encoder, container, gop, crf, rate }: ClipRecipe, times: readonly number[]) {
  const last = times.at(-1) ?? 0;
  const typical = rate === 'variable' ? 67 : 1000 / rate;
  const form: VideoForm = {
    ...layout,
    width,
    height,
    encoder,
    chroma: '4:2:0',
    options: encoderOptions(encoder, gop, crf),
    container,
    muxerOptions: {},
    transfer: 'bt709',
    untagged: false,
    rotation: 0,
    pixelAspect: [1, 1],
    timeOf: (index) => times[index] ?? last + typical,
  };
  return form;
}

/** A GOP of 250 is what most encoders make: with keyframes at cuts, too. */
function encoderOptions(encoder: VideoForm['encoder'], gop: Gop, crf: number): Record<string, string> {
  const atCuts = gop === 250;
  const quality = { preset: 'veryfast', crf: String(crf) };
  const keyint = (endless: string) => `keyint=${gop === 'endless' ? endless : gop}`;
  const g = String(gop === 'endless' ? 100_000 : gop);
  switch (encoder) {
    case 'libx264':
      return { ...quality, 'x264-params': `${keyint('infinite')}${atCuts ? '' : ':scenecut=0'}` };
    case 'libx265': {
      const params = `log-level=none:${keyint('-1')}${atCuts ? '' : ':scenecut=0'}`;
      return { ...quality, preset: 'ultrafast', 'x265-params': params };
    }
    case 'libsvtav1':
      return { preset: '12', 'svtav1-params': keyint('-1') };
    case 'libvpx-vp9':
      return { deadline: 'realtime', 'cpu-used': '8', g, b: '300000' };
    case 'mpeg4':
      return {
        g: String(Math.min(600, Number(g))),
        bf: '2',
        qmax: '6',
        sc_threshold: atCuts ? '0' : '1000000000',
      };
    case 'mjpeg':
    case 'mpeg2video':
      throw new Error(`The measure has no options for ${encoder}.`);
  }
}

function* paintFrames(recipe: ClipRecipe, times: readonly number[]): Generator<Planes> {
  const background = createBackground(recipe);
  for (const [index, milliseconds] of times.entries()) {
    const time = milliseconds / 1000;
    const frame = background(time, index);
    for (const event of recipe.events) {
      const progress = (time - event.start) / event.seconds;
      if (progress >= 0 && progress < 1) paintEvent(frame, recipe, event, progress);
    }
    yield frame;
  }
}

type PaintBackground = (time: number, index: number) => Planes;

function createBackground(recipe: ClipRecipe): PaintBackground {
  const { background, number, width, height } = recipe;
  if (background === 'screen') {
    const desktop = paintDesktop(recipe);
    return () => desktop.slice();
  }
  const canvas = paintCanvas(1 + (number % CANVASES), recipe);
  const pixels = width * height;
  const view = (left: number, top: number) => {
    const frame: Planes = new Uint16Array((pixels * 3) / 2);
    const room = MARGIN - 1;
    paintView(frame, recipe, {
      canvas,
      tint: [0, 0],
      left: left * (width * room - 8),
      top: top * (height * room - 8),
    });
    return frame;
  };
  if (background === 'moving') {
    return (time) => view(0.5 + 0.5 * Math.sin(time / 3), 0.5 + 0.45 * Math.cos(time / 2));
  }
  const still = view(0.5, 0.5);
  const noise = background === 'noise' ? createNoise(NOISE) : () => undefined;
  return (_, index) => {
    const frame = still.slice();
    noise(frame.subarray(0, pixels), index);
    return frame;
  };
}

function paintDesktop(recipe: ClipRecipe): Planes {
  const next = randomNumbers(recipe.number + 50);
  const grey = (value: number): Colour => [value, value, value];
  const lines = Array.from({ length: 14 }, (_, line): Patch => {
    const top = 0.12 + line * 0.055;
    return { left: 0.25, right: 0.55 + 0.2 * next(), top, bottom: top + 0.02, colour: grey(70) };
  });
  const window: Patch = { left: 0.2, right: 0.8, top: 0.08, bottom: 0.92, colour: grey(225) };
  return paint(
    { background: grey(150 + 40 * next()), patches: [window, ...lines] },
    { ...recipe, ...layout },
  );
}

/** A rectangle in luma pixels, how much of it covers what is behind, and its pattern's amplitude. */
interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly opacity: number;
  readonly texture: number;
}

/** @param progress of the event, from 0 to 1 */
const shapes: Readonly<
  Record<EventKind, (event: PlantedEvent, size: Size, progress: number) => Omit<Box, 'texture'>>
> = {
  flat: (event, size) => centred(event, size, 0.8 + 0.6 * event.size),
  // 2 to 6 % of the picture.
  small: (event, size) => centred(event, size, 0.19 + 0.13 * event.size),
  textured: (event, size) => centred(event, size, 0.4 + 0.4 * event.size),
  moving(event, size, progress) {
    const box = centred(event, size, 0.35 + 0.3 * event.size);
    return { ...box, x: progress * (size.width + box.width) - box.width };
  },
  growing: (event, size, progress) => centred(event, size, 0.05 + progress * (0.5 + 0.5 * event.size)),
  fading: (event, size, progress) => ({
    ...centred(event, size, 0.7 + 0.6 * event.size),
    opacity: Math.sin(Math.PI * progress),
  }),
};

/** @param side of a square, in heights of the picture */
function centred({ x, y }: PlantedEvent, { width, height }: Size, side: number) {
  const pixels = side * height;
  return {
    x: width / 2 + (x - 0.5) * height - pixels / 2,
    y: y * height - pixels / 2,
    width: pixels,
    height: pixels,
    opacity: 1,
  };
}

function paintEvent(frame: Planes, size: Size, event: PlantedEvent, progress: number): void {
  const texture = event.kind === 'textured' ? TEXTURE : 0;
  const box = { ...shapes[event.kind](event, size, progress), texture };
  const values = toYuv(sceneColours[event.colour], layout);
  const pixels = size.width * size.height;
  const starts = [0, pixels, pixels + pixels / 4];
  for (const [plane, value] of values.entries()) {
    paintBox(frame.subarray(starts[plane]), size, box, { value, shrink: plane === 0 ? 1 : 2 });
  }
}

function paintBox(
  plane: Planes,
  { width, height }: Size,
  box: Box,
  { value, shrink }: { readonly value: number; readonly shrink: 1 | 2 },
): void {
  const edge = (at: number, most: number) => Math.round(Math.min(most, Math.max(0, at)) / 2) * (2 / shrink);
  const [left, right] = [edge(box.x, width), edge(box.x + box.width, width)];
  const [top, bottom] = [edge(box.y, height), edge(box.y + box.height, height)];
  const columns = width / shrink;
  const amplitude = shrink === 1 ? box.texture : 0;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const at = row * columns + column;
      // Squares of four pixels, each with a brightness of its own.
      const pattern = amplitude * ((((column >> 2) * 7919 + (row >> 2) * 104_729) % 21) / 10 - 1);
      const painted = Math.min(235, Math.max(16, value + pattern));
      plane[at] = Math.round(plane[at]! + box.opacity * (painted - plane[at]!));
    }
  }
}
