import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeVideo, type VideoForm } from '../../fixtures/videos-encode.ts';
import type { Planes } from '../../fixtures/videos-paint.ts';
import { cacheFolder } from '../cache-folder.ts';
import { randomNumbers } from '../random-numbers.ts';
import { type Canvas, paintCanvas, pictureOf } from './canvas.ts';
import { loopVideo } from './looped.ts';

/** A video to be made, 1080p at 30 frames a second. */
export interface VideoRecipe {
  readonly name: string;
  readonly seconds: number;
  /** How often these seconds come again, one after another. */
  readonly times: number;
  /** Mean length of a scene; each is from half to one and a half times that. */
  readonly sceneSeconds: number;
  /** Of x264, beside its preset. */
  readonly options: Readonly<Record<string, string>>;
}

const WIDTH = 1920;
const HEIGHT = 1080;
const FRAMES_PER_SECOND = 30;
const CANVASES = 6;

/**
 * Makes a video, or finds the one made before: pans over made-up photographs with a camera's noise, cut
 * hard. Its bits a frame, and so the time it takes to decode, are those of ordinary footage.
 * @returns the file's path
 */
export async function madeVideo(recipe: VideoRecipe): Promise<string> {
  const { name, seconds, times, options } = recipe;
  const path = join(await cacheFolder('videos'), `${name}-${seconds}s-${times}.mp4`);
  if (await Bun.file(path).exists()) return path;
  const form: VideoForm = {
    width: WIDTH,
    height: HEIGHT,
    bits: 8,
    matrix: 'bt709',
    range: 'limited',
    encoder: 'libx264',
    options: { preset: 'veryfast', crf: '23', ...options },
    container: 'mp4',
    muxerOptions: { movflags: '+faststart' },
    transfer: 'bt709',
    untagged: false,
    rotation: 0,
    pixelAspect: [1, 1],
    timeOf: (index) => (index * 1000) / FRAMES_PER_SECOND,
  };
  const once = `${path}.${process.pid}.once`;
  const all = `${path}.${process.pid}.all`;
  try {
    encodeVideo(once, form, frames(recipe));
    loopVideo(once, all, seconds, times);
    await rename(all, path);
  } finally {
    await rm(once, { force: true });
    await rm(all, { force: true });
  }
  return path;
}

function* frames({ seconds, sceneSeconds }: VideoRecipe): Generator<Planes> {
  const size = { width: WIDTH, height: HEIGHT };
  const canvases = Array.from({ length: CANVASES }, (_, seed) => paintCanvas(seed + 1, size));
  const next = randomNumbers(7);
  const total = seconds * FRAMES_PER_SECOND;
  let scene = 0;
  for (let done = 0; done < total; scene++) {
    const length = Math.round(sceneSeconds * FRAMES_PER_SECOND * (1 + next() / 2));
    // The same photograph comes back in other colours.
    const tint = [Math.round(24 * next()), Math.round(24 * next())] as const;
    const canvas = canvases[scene % CANVASES] as Canvas;
    for (let index = 0; index < length && done < total; index++, done++) {
      yield pictureOf(canvas, size, { progress: index / length, tint, frame: done });
    }
  }
}
