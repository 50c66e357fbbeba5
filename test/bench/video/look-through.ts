import { availableParallelism } from 'node:os';
import { resizeAndCrop } from '../../../src/clip/preprocessing.ts';
import { openVideo } from '../../../src/media/video/video.ts';

/** Pictures at full size, one for each category. */
const PICTURES = 3;
const SIDE = 224;
const VIDEO_SECONDS = 4 * 3600;

/**
 * What /video does without the upload and the model: starts the process that decodes, finds the frames worth
 * looking at, and makes some of them, spread over the video, into pictures.
 * @returns seconds
 */
export async function lookThrough(path: string): Promise<number> {
  const startedAt = performance.now();
  await using video = await openVideo(path, {
    limits: { videoSeconds: VIDEO_SECONDS },
    threads: availableParallelism(),
    signal: new AbortController().signal,
  });
  const timestamps: number[] = [];
  const framing = {
    geometry: (width: number, height: number) => resizeAndCrop(width, height, SIDE),
    side: SIDE,
    maximumFrames: 320,
    thorough: false,
  };
  for await (const { timestamp } of video.frames(framing)) timestamps.push(timestamp);
  const winners = Array.from(
    { length: PICTURES },
    (_, order) => timestamps[Math.floor(((order + 0.5) / PICTURES) * timestamps.length)] ?? 0,
  );
  for await (const _ of video.jpegs(winners));
  return (performance.now() - startedAt) / 1000;
}
