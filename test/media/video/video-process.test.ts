import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { makeVideo, manyScenes } from '../../fixtures/videos.ts';
import { geometry, open, side } from './look-at.ts';

const child = (name: string) => join(import.meta.dir, 'children', `${name}.ts`);

async function refusal(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise;
  } catch (fault) {
    return fault as { code?: string; message: string };
  }
  throw new Error('nothing was refused');
}

const video = makeVideo({ scenes: manyScenes(20, 1) });

describe('a video is decoded in a process of its own', () => {
  test('that may crash', async () => {
    const fault = await refusal(open(video.path, { process: { childPath: child('crashing') } }));
    expect(fault).toMatchObject({
      code: 'video_broken',
      message: 'The video is damaged in a way that ended the decoder.',
    });
  });

  test('that may never come to an end', async () => {
    const fault = await refusal(
      open(video.path, { process: { childPath: child('silent'), silenceMs: 300 } }),
    );
    expect(fault).toMatchObject({
      code: 'video_broken',
      message: 'The video is damaged: its data keep the decoder busy without end.',
    });
  });

  test('that may take too much memory', async () => {
    const memoryBytes = 400 * 1024 ** 2;
    const fault = await refusal(open(video.path, { process: { childPath: child('greedy'), memoryBytes } }));
    expect(fault).toMatchObject({
      code: 'video_too_large',
      message: 'Decoding the video takes more memory than the 400 MiB it may have.',
    });
  });

  test('that is not believed everything', async () => {
    const fault = await refusal(open(video.path, { process: { childPath: child('riddling') } }));
    expect(fault.message).toContain('this is a bug');
    expect(fault.code).toBeUndefined();
  });

  test('that ends with the client who wanted it, before it is opened, while it opens and while it is looked at', async () => {
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
      for await (const _ of reader.frames({ geometry, side })) later.abort(left);
    })();
    expect(await refusal(looking)).toBe(left);
    expect(await refusal(reader.jpegAt(0))).toBe(left);
  });

  test('that waits for whoever looks at the frames, however long that takes', async () => {
    // Much longer than the process takes to start, on a busy machine, too.
    const silenceMs = 3000;
    await using reader = await open(video.path, { process: { silenceMs } });
    const timestamps: number[] = [];
    for await (const { timestamp, pixels } of reader.frames({ geometry, side })) {
      expect(pixels.length).toBe(side * side * 3);
      timestamps.push(timestamp);
      if (timestamps.length === 2) await Bun.sleep(silenceMs + 500);
    }
    expect(timestamps.length).toBe(20);
    expect(await reader.jpegAt(timestamps[3]!)).toBeInstanceOf(Uint8Array);
  });

  test('that cannot be used any more when its frames were not wanted to the end', async () => {
    await using reader = await open(video.path);
    for await (const _ of reader.frames({ geometry, side })) break;
    expect((await refusal(reader.jpegAt(0))).message).toBe('a task was given up before its end');
  });

  test('that tells how far it has come', async () => {
    const stages: string[] = [];
    const seconds: number[] = [];
    const long = makeVideo({
      scenes: manyScenes(10, 6),
      options: { preset: 'ultrafast', g: '9999', sc_threshold: '0' },
    });
    await using reader = await open(long.path, {
      onProgress: ({ stage, secondsDone, secondsTotal }) => {
        stages.push(stage);
        if (stage === 'decoding') {
          expect(secondsTotal).toBeCloseTo(60, 1);
          seconds.push(secondsDone);
        }
      },
    });
    let frames = 0;
    for await (const _ of reader.frames({ geometry, side })) frames++;
    expect(frames).toBe(10);
    // However fast it is, each is told of when it begins.
    expect([...new Set(stages)]).toEqual(['indexing', 'decoding']);
    expect(seconds[0]).toBe(0);
    expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  });
});
