import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeVideo, type VideoForm } from '../../fixtures/videos-encode.ts';
import { cacheFolder } from '../cache-folder.ts';
import { film } from './footage.ts';
import { loopVideo } from './looped.ts';

/** A video to be made, 1080p at 30 frames a second. */
export interface VideoRecipe {
  readonly name: string;
  readonly seconds: number;
  /** How often these seconds come again, one after another. */
  readonly times: number;
  readonly sceneSeconds: number;
  /** Standard deviation of the noise in each frame, of 255. */
  readonly noise: number;
  /** Of x264, in place of its defaults (preset `medium`, crf 23, keyframes at cuts and after 250 frames). */
  readonly options: Readonly<Record<string, string>>;
}

const WIDTH = 1920;
const HEIGHT = 1080;
const FRAMES_PER_SECOND = 30;

/**
 * Makes a video, or finds the one made before.
 * @returns the file's path
 */
export async function madeVideo(recipe: VideoRecipe): Promise<string> {
  const { name, seconds, times, options } = recipe;
  // Of another recipe, another file.
  const digest = Bun.hash.crc32(JSON.stringify(recipe)).toString(16);
  const path = join(await cacheFolder('videos'), `${name}-${digest}.mp4`);
  if (await Bun.file(path).exists()) return path;
  const form: VideoForm = {
    width: WIDTH,
    height: HEIGHT,
    bits: 8,
    matrix: 'bt709',
    range: 'limited',
    encoder: 'libx264',
    chroma: '4:2:0',
    options,
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
    encodeVideo(
      once,
      form,
      film({ ...recipe, width: WIDTH, height: HEIGHT, framesPerSecond: FRAMES_PER_SECOND }),
    );
    loopVideo(once, all, seconds, times);
    await rename(all, path);
  } finally {
    await rm(once, { force: true });
    await rm(all, { force: true });
  }
  return path;
}
