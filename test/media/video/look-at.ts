import { type OpenVideoOptions, openVideo, type VideoReader } from '../../../src/media/video/video.ts';
import { openVideoSession } from '../../../src/media/video/video-session.ts';
import type { MadeVideo, SceneTruth } from '../../fixtures/videos.ts';

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

/** What was found in a video. */
export interface Findings {
  readonly description: VideoReader['description'];
  readonly timestamps: readonly number[];
  /** Of each found frame, the colour in the middle. */
  readonly colours: readonly (readonly [number, number, number])[];
  readonly scenes: number;
  readonly warnings: readonly string[];
}

export async function lookAt(path: string, maximumFrames = 320): Promise<Findings> {
  await using video = await open(path);
  const timestamps: number[] = [];
  const colours: [number, number, number][] = [];
  for await (const { timestamp, pixels } of video.frames({ ...framing, maximumFrames })) {
    timestamps.push(timestamp);
    // Above the objects that move.
    const at = (2 * side + side / 2) * 3;
    colours.push([pixels[at]!, pixels[at + 1]!, pixels[at + 2]!]);
  }
  const { description, scenes, warnings } = video;
  return { description, timestamps, colours, scenes, warnings };
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
