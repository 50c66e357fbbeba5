import type { FrameScore, SearchProgress, SearchVideo } from '../../src/classify/classifier.ts';
import { type ErrorCode, ServiceError } from '../../src/errors.ts';
import { createSemaphore } from '../../src/semaphore.ts';

/** What a test may read. */
export interface FakeVideos {
  readonly searchVideo: SearchVideo;
  readonly paths: string[];
  readonly signals: AbortSignal[];
  /** Timestamps of all pictures made, in order. */
  readonly rendered: number[];
  /** Searches that were disposed of. */
  closed: number;
}

export interface FakeVideoBehaviour {
  readonly onSearch?: (signal: AbortSignal, report: (progress: SearchProgress) => void) => Promise<void>;
  readonly onJpeg?: (timestamp: number, signal: AbortSignal) => Promise<void>;
  /** Videos that are searched at a time. Default: any number. */
  readonly places?: number;
  /** Of each picture. */
  readonly jpegBytes?: number;
}

/** The fake JPEG of a frame: different bytes for each frame. */
export function fakeJpeg(timestamp: number, bytes = 20): Uint8Array {
  return Buffer.alloc(bytes, `jpeg ${timestamp} `);
}

/**
 * Searches text "videos": words with their times, as in `cat@1.5 dog@3`. The frame that shows a
 * category's word scores 0.8, the others share the rest. A text that begins with "broken:CODE" fails.
 */
export function createFakeVideos({
  onSearch,
  onJpeg,
  places = Number.POSITIVE_INFINITY,
  jpegBytes,
}: FakeVideoBehaviour = {}): FakeVideos {
  const semaphore = createSemaphore(places);
  const videos: FakeVideos = {
    paths: [],
    signals: [],
    rendered: [],
    closed: 0,
    async searchVideo(path, { labels }, { limit, onProgress = () => undefined, onBegin }, { signal }) {
      onProgress({ stage: 'waiting' });
      using held = new DisposableStack();
      held.use(await semaphore.acquire(1, signal));
      onBegin?.();
      videos.paths.push(path);
      videos.signals.push(signal);
      await onSearch?.(signal, onProgress);
      signal.throwIfAborted();
      const text = await Bun.file(path).slice(0, 10_000).text();
      if (text.startsWith('broken:')) {
        throw new ServiceError(text.trim().slice(7) as ErrorCode, 'It is broken.');
      }
      const frames = text
        .trim()
        .split(/\s+/)
        .map((frame) => frame.split('@'))
        .map(([word = '', time]) => ({ word, timestamp: Number(time ?? 0) }));
      onProgress({ stage: 'searching', secondsDone: 7, secondsTotal: 9, frames: frames.length });
      const kept = held.move();
      return {
        video: { duration: 9, width: 640, height: 360, frameRate: 25, codec: 'h264' },
        framesConsidered: frames.length,
        scenes: frames.length,
        warnings: text.includes('damaged') ? ['It is damaged.'] : [],
        rankings: labels.map((category) => ({
          category,
          frames: frames
            .map(({ word, timestamp }): FrameScore => {
              const score = word === category ? 0.8 : 0.2 / Math.max(1, frames.length - 1);
              return { timestamp, score, similarity: score / 4 };
            })
            .toSorted((a, b) => b.score - a.score)
            .slice(0, limit),
          moments: frames
            .filter(({ word }) => word === category)
            .map(({ timestamp }) => ({ start: timestamp, end: timestamp + 1, timestamp, similarity: 0.2 }))
            .slice(0, limit),
        })),
        async *jpegs(timestamps) {
          for (const timestamp of timestamps.toSorted((a, b) => a - b)) {
            await onJpeg?.(timestamp, signal);
            signal.throwIfAborted();
            videos.rendered.push(timestamp);
            yield { timestamp, jpeg: fakeJpeg(timestamp, jpegBytes) };
          }
        },
        async [Symbol.asyncDispose]() {
          videos.closed += 1;
          kept.dispose();
        },
      };
    },
  };
  return videos;
}
