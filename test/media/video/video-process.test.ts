import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import type { VideoReader } from '../../../src/media/video/video.ts';
import { CrowdedOut, createVideoPlaces } from '../../../src/media/video/video-places.ts';
import { childrenOf } from '../../bench/process/child-processes.ts';
import { makeVideo, manyScenes } from '../../fixtures/videos.ts';
import { smallSize } from '../../fixtures/videos-known-cuts.ts';
import { framing, open } from './look-at.ts';

const child = (name: string) => join(import.meta.dir, 'children', `${name}.ts`);

async function refusal(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise;
  } catch (fault) {
    return fault as { code?: string; message: string };
  }
  throw new Error('nothing was refused');
}

async function jpegAt(reader: VideoReader, timestamp: number): Promise<Uint8Array | undefined> {
  const jpegs = await Array.fromAsync(reader.jpegs([timestamp]));
  return jpegs[0]?.jpeg;
}

const video = makeVideo({ ...smallSize, scenes: manyScenes(20, 1) });

describe('a video is decoded in another process', () => {
  test('that yields to photos, but only a little: the priority counts against every process of the machine', async () => {
    await using _ = await open(video.path);
    const decoders = childrenOf(process.pid).filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('video-child.ts'),
    );
    const niceness = decoders.map((pid) => getPriority(pid) - getPriority());
    expect(niceness).toEqual([3]);
  });

  test('that may crash', async () => {
    const fault = await refusal(open(video.path, { process: { childPath: child('crashing') } }));
    expect(fault).toMatchObject({
      code: 'video_broken',
      message: 'The video is damaged: it crashed its decoder.',
    });
  });

  test('that may never end', async () => {
    const fault = await refusal(
      open(video.path, { process: { childPath: child('silent'), silenceMs: 300 } }),
    );
    expect(fault).toMatchObject({
      code: 'video_broken',
      message: 'The video is damaged: decoding it does not come to an end.',
    });
  });

  test('that may take too much memory', async () => {
    const memoryBytes = 400 * 1024 ** 2;
    const fault = await refusal(open(video.path, { process: { childPath: child('greedy'), memoryBytes } }));
    expect(fault).toMatchObject({
      code: 'video_too_large',
      message: 'Decoding the video needs more than the 400 MiB of memory that one video may use.',
    });
  });

  test('that may be refused memory by the system', async () => {
    const fault = await refusal(
      open(video.path, { process: { childPath: child('exhausted'), memoryBytes: 400 * 1024 ** 2 } }),
    );
    expect(fault).toMatchObject({
      code: 'video_too_large',
      message: 'Decoding the video needs more than the 400 MiB of memory that one video may use.',
    });
  });

  test.if(process.platform === 'linux')('that may take more work than is plausible', async () => {
    const tooMuch = {
      code: 'video_too_large',
      message: 'Decoding the video takes far more work than is usual for its size and duration.',
    };
    await using reader = await open(video.path, { process: { childPath: child('busy') } });
    expect(await refusal(Array.fromAsync(reader.frames(framing)))).toMatchObject(tooMuch);
    // Where it says nothing of what it may take, or hides what it takes, the system ends it.
    const hidden = { childPath: child('silent'), cpuSeconds: 1 };
    expect(await refusal(open(video.path, { process: hidden }))).toMatchObject(tooMuch);
    const opening = { childPath: child('silent'), openingCpuSeconds: 0.5 };
    expect(await refusal(open(video.path, { process: opening }))).toMatchObject(tooMuch);
  });

  test('that cannot deceive the service', async () => {
    const fault = await refusal(open(video.path, { process: { childPath: child('garbled') } }));
    expect(fault.message).toContain('This is a bug');
    expect(fault.code).toBeUndefined();
  });

  test('that ends when the client leaves, before it is opened, while it opens and while its frames are used', async () => {
    const left = new Error('the client left');
    expect(await refusal(open(video.path, { signal: AbortSignal.abort(left) }))).toBe(left);

    const leaving = new AbortController();
    const opening = refusal(
      open(video.path, { signal: leaving.signal, process: { childPath: child('silent') } }),
    );
    leaving.abort(left);
    expect(await opening).toBe(left);

    const later = new AbortController();
    await using reader = await open(video.path, { signal: later.signal });
    const looking = (async () => {
      for await (const _ of reader.frames(framing)) later.abort(left);
    })();
    expect(await refusal(looking)).toBe(left);
    expect(await refusal(jpegAt(reader, 0))).toBe(left);
  });

  test('that waits until its frames are used, even for a long time', async () => {
    // Much longer than the process takes to start, on a busy machine, too.
    const silenceMs = 3000;
    await using reader = await open(video.path, { process: { silenceMs } });
    const timestamps: number[] = [];
    for await (const { timestamp, pixels } of reader.frames(framing)) {
      expect(pixels.length).toBe(framing.side ** 2 * 3);
      timestamps.push(timestamp);
      if (timestamps.length === 2) await Bun.sleep(silenceMs + 500);
    }
    expect(timestamps.length).toBeGreaterThanOrEqual(20);
    expect(await jpegAt(reader, timestamps[3]!)).toBeInstanceOf(Uint8Array);
  });

  test('that ends when its frames are abandoned', async () => {
    await using reader = await open(video.path);
    for await (const _ of reader.frames(framing)) break;
    expect((await refusal(jpegAt(reader, 0))).message).toBe('a task was abandoned before its end');
  });

  test('that reports its progress', async () => {
    const stages: string[] = [];
    const seconds: number[] = [];
    const long = makeVideo({
      ...smallSize,
      scenes: manyScenes(10, 6),
      options: { preset: 'ultrafast', g: '9999', sc_threshold: '0' },
    });
    await using reader = await open(long.path, {
      onProgress: (progress) => {
        stages.push(progress.stage);
        if (progress.stage === 'searching') {
          expect(progress.secondsTotal).toBeCloseTo(60, 1);
          seconds.push(progress.secondsDone);
        }
      },
    });
    let frames = 0;
    for await (const _ of reader.frames(framing)) frames++;
    expect(frames).toBeGreaterThanOrEqual(10);
    // Each stage is reported at its beginning, however short it is.
    expect([...new Set(stages)]).toEqual(['indexing', 'searching']);
    expect(seconds[0]).toBe(0);
    expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  });
});

describe('several videos', () => {
  const counting = { childPath: child('counting') };

  test('take turns: a long film does not delay a clip, and continues after it', async () => {
    const places = createVideoPlaces({
      running: 1,
      memoryBytes: 900 * 1024 ** 2,
      sliceMs: 200,
      haltMs: 60_000,
    });
    const leaving = new AbortController();
    let seconds = 0;
    using filmPlace = await places.enter(leaving.signal);
    await using film = await open(video.path, {
      process: counting,
      place: filmPlace,
      signal: leaving.signal,
      onProgress: ({ secondsDone }) => {
        seconds = secondsDone;
      },
    });
    const looking = refusal(Array.fromAsync(film.frames(framing)));
    while (seconds === 0) await Bun.sleep(1);

    using clipPlace = await places.enter(leaving.signal);
    await using clip = await open(video.path, { place: clipPlace });
    const found = await Array.fromAsync(clip.frames(framing));
    expect(found.length).toBeGreaterThanOrEqual(20);

    const before = seconds;
    while (seconds === before) await Bun.sleep(1);
    leaving.abort(new Error('the client left'));
    expect((await looking).message).toBe('the client left');
  });

  test('a film that waits for its turn does not count as silent', async () => {
    const places = createVideoPlaces({
      running: 1,
      memoryBytes: 900 * 1024 ** 2,
      sliceMs: 50,
      haltMs: 60_000,
    });
    const silenceMs = 3000;
    const stay = new AbortController();
    let seconds = 0;
    using filmPlace = await places.enter(stay.signal);
    await using film = await open(video.path, {
      process: { ...counting, silenceMs },
      place: filmPlace,
      signal: stay.signal,
      onProgress: ({ secondsDone }) => {
        seconds = secondsDone;
      },
    });
    const looking = refusal(Array.fromAsync(film.frames(framing)));
    while (seconds === 0) await Bun.sleep(1);
    using otherPlace = await places.enter(stay.signal);
    const other = await otherPlace.turn({ pause: () => undefined, resume: () => undefined }, stay.signal);
    const before = seconds;
    await Bun.sleep(silenceMs + 500);
    other[Symbol.dispose]();
    while (seconds === before) await Bun.sleep(1);
    stay.abort(new Error('the client left'));
    expect((await looking).message).toBe('the client left');
  });

  test('of which the youngest ends when memory is short, and may be tried again', async () => {
    const places = createVideoPlaces({ running: 1, memoryBytes: 900 * 1024 ** 2 });
    const stay = new AbortController().signal;
    using film = await places.enter(stay);
    film.holds(700 * 1024 ** 2);
    using place = await places.enter(stay);
    const fault = await refusal(open(video.path, { place, process: { childPath: child('greedy') } }));
    expect(fault).toBeInstanceOf(CrowdedOut);
    expect(place.crowdedOut.aborted).toBe(true);
  });
});
