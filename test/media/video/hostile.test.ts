import { describe, expect, test } from 'bun:test';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { MIN_FRAME_PIXELS, plausiblePixels } from '../../../src/media/video/decoding-budget.ts';
import { openVideoSession } from '../../../src/media/video/video-session.ts';
import { makePaintedVideo, makeVideo, manyScenes, videoFolder } from '../../fixtures/videos.ts';
import type { Painting } from '../../fixtures/videos-paint.ts';
import { repeatPackets } from '../../fixtures/videos-repeated.ts';
import { box, claimVideo, type TableClaims } from '../../fixtures/videos-tables.ts';
import { geometry, lookAt, missedScenes, open, side } from './look-at.ts';

async function refusal(path: string): Promise<{ code: string; message: string }> {
  try {
    await using _ = await open(path);
  } catch (fault) {
    const { code, message } = fault as { code: string; message: string };
    return { code, message };
  }
  throw new Error('nothing was refused');
}

async function claimed(name: string, claims: Partial<TableClaims>): Promise<string> {
  const path = join(videoFolder(), `${name}.mp4`);
  const source = makeVideo({ scenes: manyScenes(1, 0.4) }).path;
  const defaults = { samples: 10, sampleBytes: 0, samplesPerChunk: 1e9, data: new Uint8Array(1000) };
  await Bun.write(path, claimVideo(source, { ...defaults, ...claims }));
  return path;
}

describe('a film whose frames need hardly any bytes', () => {
  // Grey all the time, then something else: only by decoding all before it can be seen when it comes.
  const grey: Painting = { background: [128, 128, 128] };
  const green: Painting = { background: [10, 200, 60], grain: 20 };
  const repeats = 60;
  const packets = 1 + 16 * repeats + 16;
  /** What decoding may cost, in packets. */
  const affordable = 100;

  const film = (): string => {
    const once = makePaintedVideo(
      'still film, once',
      { options: { preset: 'ultrafast', g: '9999', bf: '0', sc_threshold: '0', 'x264-params': 'cabac=0' } },
      Array.from({ length: 33 }, (_, index) => (index < 17 ? grey : green)),
    );
    const path = join(videoFolder(), 'still film.mp4');
    repeatPackets(once, path, { from: 1, count: 16, times: repeats, frameMs: 40 });
    return path;
  };
  const find = async (path: string, pixels: number) => {
    using session = await openVideoSession(
      path,
      { videoSeconds: 3600, threads: 1, pixels: () => pixels },
      async () => undefined,
    );
    const { width, height } = session.description;
    const timestamps: number[] = [];
    const steps = session.find({ ...geometry(width, height), side }, 512);
    let step = steps.next();
    for (; !step.done; step = steps.next()) if (step.value.frame) timestamps.push(step.value.frame.timestamp);
    const pictures = [...session.jpegs(timestamps)].filter((picture) => picture !== undefined);
    return { ...step.value, timestamps, pictures: pictures.map(({ timestamp }) => timestamp) };
  };

  test('is decoded whole where that is plausible', async () => {
    const { timestamps, tally, warnings } = await find(film(), Number.POSITIVE_INFINITY);
    expect(tally.packets).toBeGreaterThanOrEqual(packets);
    expect(tally.pixels).toBe(tally.packets * 320 * 180);
    expect(timestamps.at(-1)).toBeGreaterThanOrEqual((packets - 16) * 0.04);
    expect(warnings).toEqual([]);
  });

  test('is decoded as far as that is plausible, then keyframes answer, with a warning', async () => {
    const found = await find(film(), affordable * MIN_FRAME_PIXELS);
    expect(found.timestamps[0]).toBe(0);
    expect(found.tally.packets).toBeGreaterThan(affordable / 2);
    expect(found.tally.packets).toBeLessThanOrEqual(affordable + 1);
    expect(found.pictures).toEqual(found.timestamps);
    expect(found.warnings).toHaveLength(1);
    expect(found.warnings[0]).toMatch(
      /^Decoding the whole video takes far more work than is usual for its size and duration: from [34]\.\d s on, only its keyframes were looked at\.$/,
    );
  });

  test('of keyframes only is sampled', async () => {
    const { path } = makeVideo({
      scenes: manyScenes(60, 1),
      frameRate: 5,
      options: { preset: 'ultrafast', g: '1' },
    });
    const { timestamps, tally, warnings } = await find(path, 60 * MIN_FRAME_PIXELS);
    expect(tally.packets).toBeLessThanOrEqual(61);
    expect(timestamps.length).toBeGreaterThan(15);
    // Not only of the beginning.
    expect(timestamps.at(-1)).toBeGreaterThan(50);
    expect(warnings.join()).toMatch(/only some of its keyframes were looked at\.$/);
  });
});

describe('what is plausible', () => {
  const [hd, uhd] = [1920 * 1080, 3840 * 2160];
  /** Of all frames of a film. */
  const whole = (pixels: number, rate: number, seconds: number) => pixels * rate * seconds;
  const bytes = (kilobitsPerSecond: number, seconds: number) => kilobitsPerSecond * 125 * seconds;

  test.each<[string, number, number]>([
    ['a clip of ten minutes in 1080p, whatever it weighs', whole(hd, 30, 600), plausiblePixels(0, 600)],
    ['a phone in 4K', whole(uhd, 60, 1200), plausiblePixels(bytes(50_000, 1200), 1200)],
    ['a film of two hours', whole(hd, 24, 7200), plausiblePixels(bytes(2000, 7200), 7200)],
    ['a lecture of one hour at a low rate', whole(hd, 25, 3600), plausiblePixels(bytes(200, 3600), 3600)],
  ])('%s may be decoded whole', (_, needed, plausible) => {
    expect(needed).toBeLessThan(plausible);
  });

  test('hours of 8K in 46 MB may not', () => {
    const plausible = plausiblePixels(46e6, 14_000);
    expect(plausible).toBeLessThan(whole(8192 * 4320, 250, 14_000) / 500);
  });
});

describe('tables that name more data than the file has', () => {
  const broken = {
    code: 'video_broken',
    message: 'The video is damaged: it names more frames than its bytes can hold.',
  };

  test('more frames than bytes', async () => {
    const claims = { samples: 100_000, sampleBytes: 1, samplesPerChunk: 1000 };
    expect(await refusal(await claimed('more', claims))).toEqual(broken);
    expect((await refusal(await claimed('nothing', { samples: 3_000_000 }))).code).toBe('video_broken');
  });

  test('the same bytes many times', async () => {
    const data = new Uint8Array(60_000);
    const path = await claimed('again', { samples: 1000, sampleBytes: 60_000, samplesPerChunk: 1, data });
    expect(await refusal(path)).toEqual(broken);
  });

  test('billions of frames', async () => {
    const { code } = await refusal(await claimed('billions', { samples: 0xffff_fff0 }));
    expect(['video_broken', 'video_too_large']).toContain(code);
    const hundredMillions = await refusal(await claimed('hundred millions', { samples: 100_000_000 }));
    expect(['video_broken', 'video_too_large']).toContain(hundredMillions.code);
  });

  test('thousands of tracks', async () => {
    expect((await refusal(await claimed('tracks', { tracks: 5000 }))).code).toMatch(/^video_/);
  });

  test('boxes within boxes', async () => {
    let nested = box('free');
    for (let depth = 0; depth < 2000; depth++) nested = box('moov', nested);
    expect((await refusal(await claimed('nested', { before: nested }))).code).toMatch(/^video_/);
  });

  test('fragments of nothing', async () => {
    const fragment = box('moof', box('mfhd', new Uint8Array(8)));
    const before = Buffer.concat(Array.from({ length: 50_000 }, () => fragment));
    expect((await refusal(await claimed('fragments', { before, samples: 0 }))).code).toMatch(/^video_/);
  });
});

describe('files that are mostly empty', () => {
  test('a sound video followed by gigabytes of zeros', async () => {
    const whole = makeVideo({ scenes: manyScenes(3, 1), muxerOptions: { movflags: 'faststart' } });
    const sparse = join(videoFolder(), 'sparse.mp4');
    await Bun.write(sparse, Bun.file(whole.path));
    await truncate(sparse, 4 * 1024 ** 3);
    const { timestamps } = await lookAt(sparse);
    expect(missedScenes(whole, timestamps)).toEqual([]);
  });

  test.each(['avi', 'matroska', 'mpegts'] as const)(
    'a sound %s followed by megabytes of zeros',
    async (container) => {
      const whole = makeVideo({ scenes: manyScenes(3, 1), container });
      const { timestamps } = await lookAt(whole.path);
      const sparse = join(videoFolder(), `sparse.${container}`);
      await Bun.write(sparse, Bun.file(whole.path));
      await truncate(sparse, 600 * 1024 ** 2);
      const found = (await lookAt(sparse)).timestamps;
      // Of MPEG-TS, libav gives the last packet only where the file ends behind it.
      const last = container === 'mpegts' ? 1 : 0;
      const until = timestamps.at(-1)! - last * 0.04;
      expect(found.filter((time) => time < until)).toEqual(timestamps.filter((time) => time < until));
    },
  );

  test('elements without end, and voids', async () => {
    const { path } = makeVideo({ scenes: manyScenes(2, 1), container: 'matroska' });
    const bytes = await Bun.file(path).bytes();
    const header = bytes.subarray(0, 5 + bytes[4]! - 0x80);
    const file = async (name: string, ...parts: Uint8Array[]) => {
      const made = join(videoFolder(), `${name}.mkv`);
      await Bun.write(made, Buffer.concat([header, ...parts]));
      return made;
    };
    // Segments of unknown length within each other.
    const segment = Buffer.from('18538067ffffffffffffffff01'.slice(0, 24), 'hex');
    const segments = Buffer.concat(Array.from({ length: 50_000 }, () => segment));
    expect((await refusal(await file('segments', segments))).code).toMatch(/^video_/);
    const voids = Buffer.concat(Array.from({ length: 500_000 }, () => Buffer.from([0xec, 0x80])));
    expect((await refusal(await file('voids', segment, voids))).code).toMatch(/^video_/);
  });
});

describe('containers without a reliable index', () => {
  const recipe = { scenes: manyScenes(3, 1) };
  const u32 = (...values: number[]) => Buffer.from(new Uint32Array(values).buffer);
  const chunk = (id: string, ...contents: Uint8Array[]) => {
    const content = Buffer.concat(contents);
    return Buffer.concat([Buffer.from(id, 'latin1'), u32(content.length), content]);
  };
  const times = <Value>(count: number, make: (order: number) => Value): Value[] =>
    Array.from({ length: count }, (_, order) => make(order));
  const file = async (name: string, ...parts: Uint8Array[]) => {
    const path = join(videoFolder(), name);
    await Bun.write(path, Buffer.concat(parts));
    return path;
  };
  const aviParts = async () => {
    const bytes = Buffer.from(await Bun.file(makeVideo({ ...recipe, container: 'avi' }).path).bytes());
    const movi = bytes.indexOf('movi');
    return {
      header: bytes.subarray(0, movi - 8),
      frames: bytes.subarray(movi - 8, bytes.lastIndexOf('idx1')),
    };
  };
  const tooMany = /^The video (?:is damaged: it names more frames|has no frames|is longer)/;

  test('AVI: an index that names the same frame very often', async () => {
    const { header, frames } = await aviParts();
    const first = frames.indexOf('00dc');
    const entry = Buffer.concat([Buffer.from('00dc'), u32(0x10, first - 8, frames.readUInt32LE(first + 4))]);
    const path = await file('same.avi', header, frames, chunk('idx1', ...times(100_000, () => entry)));
    const { timestamps } = await lookAt(path);
    expect(timestamps.length).toBeLessThanOrEqual(recipe.scenes.length);
  });

  test('AVI: frames of no bytes or two', async () => {
    const { header } = await aviParts();
    for (const content of [new Uint8Array(), new Uint8Array(2)]) {
      const frames = Buffer.concat(times(300_000, () => chunk('00dc', content)));
      const path = await file('tiny.avi', header, chunk('LIST', Buffer.from('movi'), frames));
      expect((await refusal(path)).message).toMatch(tooMany);
    }
  });

  test('AVI: lists within each other', async () => {
    const list = Buffer.concat([Buffer.from('LIST'), u32(0xffff_fff0), Buffer.from('hdrl')]);
    const riff = Buffer.from('RIFF\xff\xff\xff\x7fAVI ', 'latin1');
    expect((await refusal(await file('lists.avi', riff, ...times(100_000, () => list)))).code).toBe(
      'video_broken',
    );
  });

  test('AVI: thousands of tracks', async () => {
    const { header, frames } = await aviParts();
    const at = header.indexOf('LIST', header.indexOf('hdrl'));
    const track = header.subarray(at, at + 8 + header.readUInt32LE(at + 4));
    const main = header.subarray(24, 24 + 8 + header.readUInt32LE(28));
    const tracks = chunk('LIST', Buffer.from('hdrl'), main, ...times(10_000, () => track));
    const riff = Buffer.from('RIFF\xff\xff\xff\x7fAVI ', 'latin1');
    expect((await refusal(await file('tracks.avi', riff, tracks, frames))).code).toMatch(/^video_/);
  });

  test('MPEG-TS: packets of nothing', async () => {
    const { path } = makeVideo({ ...recipe, container: 'mpegts' });
    const bytes = await Bun.file(path).bytes();
    const { timestamps } = await lookAt(path);
    const empty = Buffer.alloc(
      188 * 200_000,
      Buffer.from([0x47, 0x1f, 0xff, 0x10, ...times(184, () => 0xff)]),
    );
    expect((await lookAt(await file('empty.ts', bytes, empty))).timestamps).toEqual(timestamps);
    expect((await refusal(await file('only-empty.ts', empty))).code).toBe('video_broken');
  });
});
