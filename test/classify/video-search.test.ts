import { describe, expect, test } from 'bun:test';
import type { SearchProgress } from '../../src/classify/classifier.ts';
import { CrowdedOut } from '../../src/media/video/video-places.ts';
import { type Scripted, scriptedSearch, type World } from './scripted-search.ts';

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
    const found = await search('film', { labels: ['green', 'red'] }, {}, { signal: stay });
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
    expect(await Array.fromAsync(found.jpegs([7.25, 2]))).toEqual([
      { timestamp: 2, jpeg: new Uint8Array([2]) },
      { timestamp: 7.25, jpeg: new Uint8Array([7.25]) },
    ]);
    expect(semaphore.used).toBe(0);
    expect(placesForVideos.used).toBe(1);
    await found[Symbol.asyncDispose]();
    await found[Symbol.asyncDispose]();
    expect(placesForVideos.used).toBe(0);
    expect(seen.open).toBe(0);
  });

  test('with others, frames that beat the background come first, and moments are only of them', async () => {
    const frames: Scripted = [
      [0.5, 'nothing'],
      [2, 'red'],
      [4, 'red green'],
      [6, 'nothing'],
    ];
    const categories = { labels: ['blue', 'red green'] };
    const options = { others: true };
    await using found = await scriptedSearch({ frames }).search('film', categories, options, {
      signal: stay,
    });
    const [blue, both] = found.rankings;
    // Nothing is as similar to blue as a frame of nothing, but that fits the background better.
    expect(blue?.frames[0]).toMatchObject({ timestamp: 0.5, background: { phrase: 'object' } });
    expect(blue?.frames[0]?.score).toBeLessThan(0.5);
    expect(blue?.moments).toEqual([]);
    expect(both?.frames.map(({ timestamp, score }) => [timestamp, score > 0.5])).toEqual([
      [4, true],
      [2, true],
      [0.5, false],
      [6, false],
    ]);
    for (const { score, similarity, background } of both?.frames ?? []) {
      const other = background?.similarity ?? Number.NaN;
      const [own, neutral] = [Math.exp(100 * (similarity - 1)), Math.exp(100 * (other - 1))];
      expect(score).toBeCloseTo(own / (own + neutral), 9);
    }
    expect(both?.moments).toMatchObject([{ start: 4, timestamp: 4 }]);
    await using without = await scriptedSearch({ frames }).search('film', categories, {}, { signal: stay });
    expect(without.rankings[1]?.frames.map(({ timestamp }) => timestamp)).toEqual([4, 0.5, 6, 2]);
    expect(without.rankings[0]?.moments).not.toEqual([]);
  });

  test('a limit cuts the list, not the softmax', async () => {
    const frames: Scripted = [
      [1, 'red'],
      [2, 'green'],
      [3, 'blue'],
    ];
    await using all = await scriptedSearch({ frames }).search(
      'film',
      { labels: ['red'] },
      {},
      { signal: stay },
    );
    await using best = await scriptedSearch({ frames }).search(
      'film',
      { labels: ['red'] },
      { limit: 1 },
      { signal: stay },
    );
    expect(best.rankings[0]?.frames).toEqual(all.rankings[0]?.frames.slice(0, 1) as never);
    expect(best.framesConsidered).toBe(3);
  });

  test('of equal frames the earliest wins', async () => {
    const { search } = scriptedSearch({
      frames: [
        [4, 'red'],
        [6, 'red'],
        [9, 'red'],
      ],
    });
    await using found = await search('film', { labels: ['red'] }, {}, { signal: stay });
    expect(found.rankings[0]?.frames.map(({ timestamp }) => timestamp)).toEqual([4, 6, 9]);
  });

  test('decoding goes on while frames are encoded, and waits for slots', async () => {
    const gate = Promise.withResolvers<void>();
    const frames: Scripted = Array.from({ length: 10 }, (_, index) => [index, 'red']);
    const { search, seen } = scriptedSearch({ frames, slots: 3, onEncode: () => gate.promise });
    const searching = search('film', { labels: ['red'] }, {}, { signal: stay });
    // One more waits for a slot.
    while (seen.found < 4) await Bun.sleep(1);
    await Bun.sleep(30);
    expect(seen.found).toBe(4);
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
    await using found = await search('film', { labels: ['red'] }, {}, { signal: stay });
    expect(found.framesConsidered).toBe(1);
  });

  test('tells how far it has come', async () => {
    const told: SearchProgress[] = [];
    const { search } = scriptedSearch({ frames: [[8, 'red']] });
    await using _ = await search(
      'film',
      { labels: ['red'] },
      { onProgress: (progress) => told.push(progress) },
      { signal: stay },
    );
    expect(told).toEqual([
      { stage: 'waiting' },
      { stage: 'indexing', secondsDone: 3 },
      { stage: 'searching', secondsDone: 8, secondsTotal: 10, frames: 1 },
    ]);
  });

  test('a winner that cannot be decoded again is a fault with a sentence', async () => {
    const { search } = scriptedSearch({
      frames: [
        [4, 'red'],
        [123, 'blue'],
      ],
    });
    await using found = await search('film', { labels: ['red', 'blue'] }, {}, { signal: stay });
    expect(await faultOf(Array.fromAsync(found.jpegs([4, 123])))).toMatchObject({
      code: 'video_broken',
      message: 'The video is damaged: its frame at 123.000 s cannot be decoded at full size.',
    });
  });

  test('a video without a frame is broken', async () => {
    const { search, seen, placesForVideos } = scriptedSearch({ frames: [] });
    expect(await faultOf(search('film', { labels: ['red'] }, {}, { signal: stay }))).toMatchObject({
      code: 'video_broken',
    });
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
  });
});

describe('a closer look', () => {
  const frames: Scripted = [
    [1, 'blue'],
    [2, 'green blue'],
    [3, 'blue'],
    [9, 'blue'],
  ];

  test('finds better frames around the best one, up to the frames beside it', async () => {
    const further: Scripted = [
      [2.4, 'green'],
      [6, 'green'],
    ];
    const { search, seen } = scriptedSearch({ frames, further });
    await using found = await search('film', { labels: ['green'] }, {}, { signal: stay });
    expect(found.framesConsidered).toBe(5);
    expect(found.rankings[0]?.frames[0]?.timestamp).toBe(2.4);
    const [first, second] = seen.ranges;
    expect(first).toEqual([[1, 3, 0.2]]);
    expect(second?.[0]?.[0]).toBeCloseTo(2.2, 5);
    expect(second?.[0]?.[1]).toBeCloseTo(2.6, 5);
  });

  test('ranks frames a second apart: more frames of a moment do not change the scores', async () => {
    const further: Scripted = [2.2, 2.3, 2.4, 2.5].map((timestamp) => [timestamp, 'green blue'] as const);
    const scores = async (world: World) => {
      await using found = await scriptedSearch(world).search(
        'film',
        { labels: ['green'] },
        {},
        { signal: stay },
      );
      return found.rankings[0]?.frames.map(({ timestamp, score }) => [timestamp, score.toFixed(6)]);
    };
    expect(await scores({ frames, further })).toEqual(await scores({ frames }));
  });

  test('says when many categories leave parts unexamined', async () => {
    const many: Scripted = Array.from({ length: 330 }, (_, index) => [index, 'red']);
    const { search } = scriptedSearch({ frames: many });
    await using found = await search('film', { labels: ['red', 'green', 'blue'] }, {}, { signal: stay });
    expect(found.warnings).toEqual(['It is damaged.']);
    const crowded: Scripted = Array.from({ length: 511 }, (_, index) => [
      index,
      index === 7 ? 'red' : 'blue',
    ]);
    await using left = await scriptedSearch({ frames: crowded }).search(
      'film',
      { labels: ['red', 'blue'] },
      {},
      { signal: stay },
    );
    expect(left.warnings.join()).toContain('thorough=true');
  });
});

describe('moments', () => {
  test('are the parts in which a category holds, the one with the best frame first', async () => {
    const { search } = scriptedSearch({
      frames: [
        [0, 'blue'],
        [1, 'red blue'],
        [2, 'red blue'],
        [3, 'blue'],
        [5, 'red'],
        [6, 'blue'],
        [8, 'red'],
      ],
    });
    const moments = async (limit?: number) => {
      const options = limit === undefined ? {} : { limit };
      await using found = await search('film', { labels: ['red'] }, options, { signal: stay });
      return found.rankings[0]?.moments.map(({ start, end, timestamp }) => [start, end, timestamp]);
    };
    expect(await moments()).toEqual([
      [5, 6, 5],
      [8, 10, 8],
      [1, 3, 1],
    ]);
    expect(await moments(1)).toEqual([[5, 6, 5]]);
  });
});

describe('places for videos', () => {
  test('so many are open at the same time, until their searches are disposed of', async () => {
    const { search, seen } = scriptedSearch({ places: 2 });
    const searches = Array.from({ length: 6 }, async () => {
      await using found = await search('film', { labels: ['red'] }, {}, { signal: stay });
      await Bun.sleep(5);
      expect(found.framesConsidered).toBe(1);
    });
    await Promise.all(searches);
    expect(seen).toMatchObject({ opened: 6, open: 0, mostOpen: 2 });
  });

  test('a client that leaves while it waits is not served', async () => {
    const { search, seen } = scriptedSearch();
    await using _held = await search('film', { labels: ['red'] }, {}, { signal: stay });
    const leaving = new AbortController();
    const waiting = faultOf(search('film', { labels: ['red'] }, {}, { signal: leaving.signal }));
    leaving.abort(new Error('gone'));
    expect(await waiting).toEqual(new Error('gone'));
    expect(seen.opened).toBe(1);
  });
});

describe('a decoder that others crowd out', () => {
  const frames: Scripted = [
    [1, 'red'],
    [2, 'green'],
  ];

  test('is started again, in a place of the memory that it had come to', async () => {
    let crowded = 2;
    const { search, seen, placesForVideos } = scriptedSearch({
      frames,
      async onFrame(index) {
        if (index === 1 && crowded-- > 0) throw new CrowdedOut(crowded === 1 ? 500 : 300);
      },
    });
    const stages: string[] = [];
    const found = await search(
      'film',
      { labels: ['red'] },
      { onProgress: ({ stage }) => stages.push(stage) },
      { signal: stay },
    );
    expect(found.framesConsidered).toBe(2);
    expect(found.rankings[0]?.frames[0]?.timestamp).toBe(1);
    expect(seen).toMatchObject({ opened: 3, open: 1, expected: [undefined, 500, 500] });
    expect(stages.filter((stage) => stage === 'waiting').length).toBe(3);
    await found[Symbol.asyncDispose]();
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
  });

  test('goes on with the pictures that are still missing', async () => {
    let crowded = 1;
    const { search, seen, placesForVideos } = scriptedSearch({
      frames,
      async onJpeg(timestamp) {
        if (timestamp === 2 && crowded-- > 0) throw new CrowdedOut(400);
      },
    });
    const found = await search('film', { labels: ['red'] }, {}, { signal: stay });
    expect((await Array.fromAsync(found.jpegs([1, 2]))).map(({ timestamp }) => timestamp)).toEqual([1, 2]);
    expect(seen).toMatchObject({ opened: 2, open: 1, expected: [undefined, 400] });
    await found[Symbol.asyncDispose]();
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
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
    expect(await faultOf(search('film', { labels: ['red'] }, {}, { signal: stay }))).toBe(reason);
    expect(seen.found).toBeLessThan(50);
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
    // What is in a batch already runs to its end.
    while (semaphore.used > 0) await Bun.sleep(1);
  });

  const held = Promise.withResolvers<void>();
  test.each<[string, World, found: number]>([
    ['decodes', { onFrame: (index, signal) => (index === 4 ? aborted(signal) : Promise.resolve()) }, 4],
    // Two are encoded, the third waits.
    ['waits for slots', { onEncode: () => held.promise }, 3],
  ])('a client that leaves while it %s', async (_, world, found) => {
    const leaving = new AbortController();
    const { search, seen, semaphore, placesForVideos } = scriptedSearch({ frames, ...world });
    const searching = faultOf(search('film', { labels: ['red'] }, {}, { signal: leaving.signal }));
    while (seen.found < found) await Bun.sleep(1);
    leaving.abort(reason);
    expect(await searching).toBe(reason);
    held.resolve();
    expect(seen.found).toBeLessThan(50);
    expect([seen.open, placesForVideos.used]).toEqual([0, 0]);
    // What is in a batch already runs to its end.
    while (semaphore.used > 0) await Bun.sleep(1);
  });
});

test('the model looks at as many squares with tiles as with the crop: at fewer frames', async () => {
  const asked: unknown[] = [];
  const search = (fit: 'crop' | 'tiles', thorough: boolean) =>
    scriptedSearch({
      framing: {
        side: 1,
        geometry: (width, height, its) => {
          expect([width, height]).toEqual([640, 360]);
          return its === 'tiles'
            ? { resizedWidth: 3, resizedHeight: 1, cropLeft: 0, cropTop: 0, tiles: 3 }
            : { resizedWidth: 1, resizedHeight: 1, cropLeft: 0, cropTop: 0 };
        },
      },
      onFrames: ({ maximumFrames, fit: its }) => asked.push([its, maximumFrames]),
    }).search('film', { labels: ['red'] }, { fit, thorough }, { signal: stay });
  for (const [fit, thorough] of [
    ['crop', false],
    ['tiles', false],
    ['crop', true],
    ['tiles', true],
  ] as const) {
    await using _ = await search(fit, thorough);
  }
  // Three eighths of 512 and 2048, and of a third of them.
  expect(asked).toEqual([
    ['crop', 192],
    ['tiles', 63],
    ['crop', 768],
    ['tiles', 255],
  ]);
});
