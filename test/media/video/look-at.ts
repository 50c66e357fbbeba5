import { createPictureLoader } from '../../../src/media/picture/picture.ts';
import { type OpenVideoOptions, openVideo, type VideoReader } from '../../../src/media/video/video.ts';
import { openVideoSession } from '../../../src/media/video/video-session.ts';
import type { MadeVideo, SceneTruth } from '../../fixtures/videos.ts';
import { isolated } from '../load-picture.ts';

export const side = 32;

/** The reference's geometry, roughly: the middle of the picture. */
export function geometry(width: number, height: number) {
  const scale = side / Math.min(width, height);
  const [resizedWidth, resizedHeight] = [Math.round(width * scale), Math.round(height * scale)];
  return {
    resizedWidth,
    resizedHeight,
    cropLeft: Math.round((resizedWidth - side) / 2),
    cropTop: Math.round((resizedHeight - side) / 2),
  };
}

/** What the model looks at, and of how many frames. */
export const framing = { geometry, side, maximumFrames: 320, thorough: false };

export function open(path: string, options: Partial<OpenVideoOptions> = {}): Promise<VideoReader> {
  const limits = { videoSeconds: 3600 };
  return openVideo(path, { limits, threads: 2, signal: new AbortController().signal, ...options });
}

/** The mean difference of a JPEG's square, as the model would see it, and the pixels that were scored, of 255. */
export async function differenceOf(jpeg: Uint8Array, scored: Uint8Array): Promise<number> {
  const square = new Uint8Array(side * side * 3);
  const limits = { imageBytes: 1e8, imagePixels: 1e8 };
  await createPictureLoader({ geometry, limits, isolated })(jpeg, square);
  return square.reduce((sum, value, at) => sum + Math.abs(value - scored[at]!), 0) / square.length;
}

/** Measured over the tests' videos: at most 1.62, from the JPEG's own losses, and 2.15 where pixels are not square. */
export const SAME_PICTURE = 3;

/** What was found in a video. */
export interface Findings {
  readonly description: VideoReader['description'];
  readonly timestamps: readonly number[];
  /** Of each found frame, the colour in the middle. */
  readonly colours: readonly (readonly [number, number, number])[];
  readonly scenes: number;
  readonly warnings: readonly string[];
  /** Frames that were found when the first seconds were searched again, and their colours; empty unless asked for. */
  readonly refined: readonly {
    readonly timestamp: number;
    readonly colour: readonly [number, number, number];
  }[];
  /** Of each found frame, how its picture differs from the pixels that were scored; empty unless asked for. */
  readonly differences: readonly number[];
}

/** The colour of what the model gets, above the objects that move. */
function colourOf(pixels: Uint8Array): readonly [number, number, number] {
  const at = (2 * side + side / 2) * 3;
  return [pixels[at]!, pixels[at + 1]!, pixels[at + 2]!];
}

/** Seconds that are searched again. */
const REFINED = 2;

/** @param thoroughly also refines the search, and compares the pictures of all frames with what was scored */
export async function lookAt(path: string, maximumFrames = 320, thoroughly = false): Promise<Findings> {
  await using video = await open(path);
  const found = await Array.fromAsync(video.frames({ ...framing, maximumFrames }));
  const timestamps = found.map(({ timestamp }) => timestamp);
  const colours = found.map(({ pixels }) => colourOf(pixels));
  const scored = new Map(found.map(({ timestamp, pixels }) => [timestamp, pixels]));
  const refined: { timestamp: number; colour: readonly [number, number, number] }[] = [];
  const differences: number[] = [];
  if (thoroughly) {
    for await (const { timestamp, pixels } of video.refine([[0, REFINED, 0]])) {
      refined.push({ timestamp, colour: colourOf(pixels) });
      scored.set(timestamp, pixels);
    }
    for await (const { timestamp, jpeg } of video.jpegs(scored.keys())) {
      differences.push(await differenceOf(jpeg, scored.get(timestamp)!));
    }
  }
  const { description, scenes, warnings } = video;
  return { description, timestamps, colours, scenes, warnings, refined, differences };
}

/** How many packets are decoded to find a video's frames. */
export async function packetsDecoded(path: string): Promise<number> {
  const limits = { videoSeconds: 3600, threads: 2 };
  using session = await openVideoSession(path, limits, async () => undefined);
  const { width, height } = session.description;
  const steps = session.find({ ...geometry(width, height), side }, 320);
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value.tally.packets;
}

/** Half a tick of a millisecond clock: timestamps are binary fractions of what was asked for. */
const ROUNDING = 0.0006;

export function isIn({ start, end }: SceneTruth, timestamp: number): boolean {
  return timestamp >= start - ROUNDING && timestamp < end - ROUNDING;
}

/** Scenes of at least 0.7 s that no found frame is from. */
export function missedScenes({ scenes }: MadeVideo, timestamps: readonly number[]): SceneTruth[] {
  return scenes
    .filter(({ start, end }) => end - start >= 0.7 - ROUNDING)
    .filter((scene) => !timestamps.some((timestamp) => isIn(scene, timestamp)));
}
