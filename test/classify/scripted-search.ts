import { expect } from 'bun:test';
import { softmax, usesBackground } from '../../src/classify/decide.ts';
import {
  createVideoSearch,
  type Framing,
  type OpenVideo,
  type VideoSource,
} from '../../src/classify/video-search.ts';
import { unobserved } from '../../src/engine-observer.ts';
import type { FrameProgress, FramesOptions, Range } from '../../src/media/video/video.ts';
import type { VideoPlace, VideoPlaces } from '../../src/media/video/video-places.ts';
import { createSemaphore, type Semaphore } from '../../src/semaphore.ts';

const axes = ['red', 'green', 'blue'];

/** L2-normalised [3]. */
export const embed = (text: string): Float32Array => {
  const counts = axes.map((axis) => (text.includes(axis) ? 1 : 0.1));
  const norm = Math.hypot(...counts);
  return Float32Array.from(counts, (count) => count / norm);
};

export const framing = {
  geometry: () => ({ resizedWidth: 8, resizedHeight: 8, cropLeft: 0, cropTop: 0 }),
  side: 8,
};

export type Scripted = readonly (readonly [timestamp: number, text: string])[];

export interface World {
  readonly framing?: Framing;
  readonly onFrames?: (options: FramesOptions) => void;
  readonly frames?: Scripted;
  /** That a closer look finds. */
  readonly further?: Scripted;
  readonly slots?: number;
  readonly places?: number;
  /** Before each frame. */
  readonly onFrame?: (index: number, signal: AbortSignal) => Promise<void>;
  readonly onEncode?: (text: string) => Promise<void>;
  readonly onLabels?: (signal: AbortSignal) => Promise<void>;
  readonly onOpen?: () => Promise<void>;
  /** Opens real videos instead. Their frames' pixels are texts. */
  readonly openVideo?: OpenVideo;
  /** Before each picture. */
  readonly onJpeg?: (timestamp: number) => Promise<void>;
}

/** Places without turns. */
function placesOf(semaphore: Semaphore, expected: (number | undefined)[]): Omit<VideoPlaces, 'lend'> {
  return {
    get open() {
      return semaphore.used;
    },
    get waiting() {
      return semaphore.waiting;
    },
    async enter(signal, expectedBytes) {
      const permit = await semaphore.acquire(1, signal);
      expected.push(expectedBytes);
      return {
        crowdedOut: new AbortController().signal,
        turn: async () => ({ halted: () => undefined, [Symbol.dispose]: () => undefined }),
        holds: () => undefined,
        [Symbol.dispose]: () => permit[Symbol.dispose](),
      };
    },
  };
}

/** A search through a video whose frames are texts. */
export function scriptedSearch(world: World = {}) {
  const { frames = [[0, 'red']], further = [], slots = 2, places = 1 } = world;
  const {
    framing: itsFraming = framing,
    onFrames,
    onFrame,
    onEncode,
    onLabels,
    onOpen,
    onJpeg,
    openVideo,
  } = world;
  const given = new Set<number>();
  const semaphore = createSemaphore(slots);
  const placesForVideos = createSemaphore(places);
  const seen = {
    opened: 0,
    open: 0,
    mostOpen: 0,
    found: 0,
    places: [] as VideoPlace[],
    expected: [] as (number | undefined)[],
    ranges: [] as (readonly Range[])[],
  };

  const source = (signal: AbortSignal, onProgress: (progress: FrameProgress) => void): VideoSource => ({
    description: { duration: 10, width: 640, height: 360, frameRate: 25, codec: 'h264' },
    async *frames(options) {
      expect(options).toMatchObject(itsFraming);
      onFrames?.(options);
      for (const [index, [timestamp, text]] of frames.entries()) {
        await onFrame?.(index, signal);
        onProgress({ stage: 'searching', secondsDone: timestamp, secondsTotal: 10, frames: index + 1 });
        seen.found += 1;
        const pixels = new Uint8Array(64);
        pixels.set(new TextEncoder().encode(text));
        yield { timestamp, pixels };
        // The decoder may use its memory again.
        pixels.fill(0);
      }
    },
    async *refine(ranges) {
      seen.ranges.push(ranges);
      for (const [timestamp, text] of further) {
        const isAsked = ranges.some(([start, end]) => timestamp >= start && timestamp <= end);
        if (!isAsked || given.has(timestamp)) continue;
        given.add(timestamp);
        const pixels = new Uint8Array(64);
        pixels.set(new TextEncoder().encode(text));
        yield { timestamp, pixels };
      }
    },
    scenes: 3,
    warnings: ['It is damaged.'],
    async *jpegs(timestamps) {
      for (const timestamp of [...timestamps].sort()) {
        await onJpeg?.(timestamp);
        if (timestamp < 100) yield { timestamp, jpeg: new Uint8Array([timestamp]) };
      }
    },
    async [Symbol.asyncDispose]() {
      seen.open -= 1;
    },
  });

  const search = createVideoSearch({
    observer: unobserved,
    async openVideo(path, { signal, onProgress, place }) {
      if (openVideo) return await openVideo(path, { signal, onProgress, place });
      seen.opened += 1;
      seen.places.push(place);
      onProgress({ stage: 'indexing', secondsDone: 3 });
      await onOpen?.();
      seen.open += 1;
      seen.mostOpen = Math.max(seen.mostOpen, seen.open);
      return source(signal, onProgress);
    },
    framing: itsFraming,
    places: placesOf(placesForVideos, seen.expected),
    score: softmax(10),
    imageEncoder: {
      async acquireSlot(signal) {
        const permit = await semaphore.acquire(1, signal);
        const pixels = new Uint8Array(64);
        let isHandedOver = false;
        return {
          pixels,
          async encode() {
            isHandedOver = true;
            try {
              const text = new TextDecoder().decode(pixels);
              await Bun.sleep(1);
              await onEncode?.(text);
              return embed(text);
            } finally {
              permit[Symbol.dispose]();
            }
          },
          [Symbol.dispose]() {
            if (!isHandedOver) permit[Symbol.dispose]();
          },
        };
      },
    },
    async encodeLabels({ labels }, _, { signal }) {
      await onLabels?.(signal);
      return labels.map(embed);
    },
    async backgroundOf(options) {
      if (!usesBackground(options)) return undefined;
      return { names: ['object'], embeddings: [embed('object')], logitScale: 100, rules: options };
    },
  });
  return { search, seen, semaphore, placesForVideos };
}
