import { describe, expect, test } from 'bun:test';
import { createVideoSearch } from '../../src/classify/search-video.ts';
import type { SearchProgress } from '../../src/classify/video-search.ts';
import type { VideoFrame, VideoSource } from '../../src/classify/video-source.ts';
import { createSemaphore } from '../../src/semaphore.ts';

const axes = ['red', 'green', 'blue'];

/** L2-normalised [3]. */
const embed = (text: string): Float32Array => {
  const counts = axes.map((axis) => (text.includes(axis) ? 1 : 0.1));
  const norm = Math.hypot(...counts);
  return Float32Array.from(counts, (count) => count / norm);
};

type Scripted = readonly (readonly [timestamp: number, text: string])[];

interface World {
  readonly frames?: Scripted;
  readonly slots?: number;
  readonly places?: number;
  /** Before each frame. */
  readonly onFrame?: (index: number, signal: AbortSignal) => Promise<void>;
  readonly onEncode?: (text: string) => Promise<void>;
  readonly onLabels?: (signal: AbortSignal) => Promise<void>;
  readonly onOpen?: () => Promise<void>;
}

/** A search through a video whose frames are texts. */
function scriptedSearch(world: World = {}) {
  const { frames = [[0, 'red']], slots = 2, places = 1, onFrame, onEncode, onLabels, onOpen } = world;
  const semaphore = createSemaphore(slots);
  const placesForVideos = createSemaphore(places);
  const seen = { opened: 0, open: 0, mostOpen: 0, filled: 0, rendered: [] as number[] };
  const signals: AbortSignal[] = [];

  const source = (): VideoSource => ({
    description: { duration: 10, width: 640, height: 360, frameRate: 25, codec: 'h264' },
    async *frames({ signal, onProgress }): AsyncGenerator<VideoFrame> {
      signals.push(signal);
      for (const [index, [timestamp, text]] of frames.entries()) {
        await onFrame?.(index, signal);
        onProgress(timestamp);
        let isValid = true;
        yield {
          timestamp,
          async fill(target) {
            await Bun.sleep(0);
            if (!isValid) throw new Error('the frame is gone');
            seen.filled += 1;
            target.fill(0);
            target.set(new TextEncoder().encode(text));
          },
        };
        isValid = false;
      }
    },
    scenes: 3,
    warnings: ['It is damaged.'],
    async jpegAt(timestamp) {
      seen.rendered.push(timestamp);
      return new Uint8Array([timestamp]);
    },
    async [Symbol.asyncDispose]() {
      seen.open -= 1;
    },
  });

  const search = createVideoSearch({
    async openVideo() {
      seen.opened += 1;
      await onOpen?.();
      seen.open += 1;
      seen.mostOpen = Math.max(seen.mostOpen, seen.open);
      return source();
    },
    places: placesForVideos,
    logitScale: 10,
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
    async encodeLabels({ labels }, _, signal) {
      await onLabels?.(signal);
      return labels.map(embed);
    },
  });
  return { search, seen, signals, semaphore, placesForVideos };
}

const stay = new AbortController().signal;
const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (fault: unknown) => fault,
  );
const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

describe('the search for the best frames', () => {
  test('ranks the frames for every category, in the order sent; the softmax is over all frames', async () => {
    const { search, semaphore, placesForVideos, seen } = scriptedSearch({
      frames: [
        [0.5, 'red'],
        [2, 'blue'],
        [7.25, 'green'],
      ],
    });
    const found = await search('film', { labels: ['green', 'red'] }, { signal: stay });
    expect(found).toMatchObject({
      video: { duration: 10, width: 640, height: 360, frameRate: 25, codec: 'h264' },
      framesConsidered: 3,
      scenes: 3,
      warnings: ['It is damaged.'],
    });
    expect(found.rankings.map(({ category, frames }) => [category, frames[0]?.timestamp])).toEqual([
      ['green', 7.25],
      ['red', 0.5],
    ]);
    for (const { frames } of found.rankings) {
      expect(frames.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 12);
      expect(Object.keys(frames[0] ?? {})).toEqual(['timestamp', 'score', 'similarity']);
    }
    expect(await found.jpegAt(7.25)).toEqual(new Uint8Array([7.25]));
    expect(semaphore.used).toBe(0);
    expect(placesForVideos.used).toBe(1);
    await found[Symbol.asyncDispose]();
    await found[Symbol.asyncDispose]();
    expect(placesForVideos.used).toBe(0);
    expect(seen.open).toBe(0);
  });

  test('a limit cuts the list, not the softmax', async () => {
    const frames: Scripted = [
      [1, 'red'],
      [2, 'green'],
      [3, 'blue'],
    ];
    await using all = await scriptedSearch({ frames }).search('film', { labels: ['red'] }, { signal: stay });
    await using best = await scriptedSearch({ frames }).search(
      'film',
      { labels: ['red'] },
      { signal: stay, limit: 1 },
    );
    expect(best.rankings[0]?.frames).toEqual(all.rankings[0]?.frames.slice(0, 1) as never);
    expect(best.framesConsidered).toBe(3);
  });

  test('of equal frames the earliest wins, in whatever order they come', async () => {
    const { search } = scriptedSearch({
      frames: [
        [9, 'red'],
        [4, 'red'],
        [6, 'red'],
      ],
    });
    await using found = await search('film', { labels: ['red'] }, { signal: stay });
    expect(found.rankings[0]?.frames.map(({ timestamp }) => timestamp)).toEqual([4, 6, 9]);
  });

  test('decoding goes on while frames are encoded, and waits for slots', async () => {
    const gate = Promise.withResolvers<void>();
    const frames: Scripted = Array.from({ length: 10 }, (_, index) => [index, 'red']);
    const { search, seen } = scriptedSearch({ frames, slots: 3, onEncode: () => gate.promise });
    const searching = search('film', { labels: ['red'] }, { signal: stay });
    await Bun.sleep(30);
    expect(seen.filled).toBe(3);
    gate.resolve();
    await using found = await searching;
    expect(found.framesConsidered).toBe(10);
  });

  test('labels are encoded meanwhile', async () => {
    let labelled = false;
    const { search } = scriptedSearch({
      async onLabels() {
        labelled = true;
      },
      async onFrame() {
        while (!labelled) await Bun.sleep(1);
      },
    });
    await using found = await search('film', { labels: ['red'] }, { signal: stay });
    expect(found.framesConsidered).toBe(1);
  });

  test('tells how far it has come, never backwards', async () => {
    const told: SearchProgress[] = [];
    const { search } = scriptedSearch({
      frames: [
        [1, 'red'],
        [8, 'red'],
        [4, 'red'],
      ],
    });
    await using _ = await search(
      'film',
      { labels: ['red'] },
      { signal: stay, onProgress: (progress) => told.push(progress) },
    );
    expect(told[0]).toEqual({ stage: 'waiting' });
    expect(told[1]).toEqual({ stage: 'searching', secondsDone: 0, secondsTotal: 10, frames: 0 });
    expect(told.at(-1)).toEqual({ stage: 'searching', secondsDone: 8, secondsTotal: 10, frames: 3 });
  });

  test('a video without a frame is broken', async () => {
    const { search, seen, placesForVideos } = scriptedSearch({ frames: [] });
    expect(await faultOf(search('film', { labels: ['red'] }, { signal: stay }))).toMatchObject({
      code: 'video_broken',
    });
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
  });
});

describe('places for videos', () => {
  test('so many are open at the same time, until their searches are disposed of', async () => {
    const { search, seen } = scriptedSearch({ places: 2 });
    const searches = Array.from({ length: 6 }, async () => {
      await using found = await search('film', { labels: ['red'] }, { signal: stay });
      await Bun.sleep(5);
      expect(found.framesConsidered).toBe(1);
    });
    await Promise.all(searches);
    expect(seen).toMatchObject({ opened: 6, open: 0, mostOpen: 2 });
  });

  test('a client that leaves while it waits is not served', async () => {
    const { search, seen } = scriptedSearch();
    await using _held = await search('film', { labels: ['red'] }, { signal: stay });
    const leaving = new AbortController();
    const waiting = faultOf(search('film', { labels: ['red'] }, { signal: leaving.signal }));
    leaving.abort(new Error('gone'));
    expect(await waiting).toEqual(new Error('gone'));
    expect(seen.opened).toBe(1);
  });
});

describe('what fails stops all else, and gives everything back', () => {
  const frames: Scripted = Array.from({ length: 50 }, (_, index) => [index, index === 5 ? 'bad' : 'red']);
  const reason = new Error('it broke');

  test.each<[string, World]>([
    ['opening', { onOpen: () => Promise.reject(reason) }],
    ['decoding', { onFrame: (index) => (index === 3 ? Promise.reject(reason) : Promise.resolve()) }],
    [
      'encoding',
      { onEncode: (text) => (text.startsWith('bad') ? Promise.reject(reason) : Promise.resolve()) },
    ],
    ['labels', { onLabels: () => Promise.reject(reason) }],
    [
      'labels, while the decoder waits',
      { onLabels: () => Promise.reject(reason), onFrame: (_, signal) => aborted(signal) },
    ],
  ])('%s', async (_, world) => {
    const { search, seen, semaphore, placesForVideos } = scriptedSearch({ frames, ...world });
    expect(await faultOf(search('film', { labels: ['red'] }, { signal: stay }))).toBe(reason);
    expect(seen.filled).toBeLessThan(50);
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
    // What is in a batch already runs to its end.
    await Bun.sleep(5);
    expect(semaphore.used).toBe(0);
  });

  test.each<[string, World]>([
    ['decodes', { onFrame: (index, signal) => (index === 4 ? aborted(signal) : Promise.resolve()) }],
    ['waits for slots', { onEncode: () => Bun.sleep(50) }],
  ])('a client that leaves while it %s', async (_, world) => {
    const leaving = new AbortController();
    const { search, seen, semaphore, placesForVideos } = scriptedSearch({ frames, ...world });
    const searching = faultOf(search('film', { labels: ['red'] }, { signal: leaving.signal }));
    await Bun.sleep(20);
    leaving.abort(reason);
    expect(await searching).toBe(reason);
    expect(seen.filled).toBeLessThan(50);
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
    await Bun.sleep(60);
    expect(semaphore.used).toBe(0);
  });
});
