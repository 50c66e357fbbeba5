import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { makeVideo, manyScenes, sceneColours, type VideoRecipe, videoFolder } from '../../fixtures/videos.ts';
import { readJpeg, worstDifference } from '../../fixtures/videos-jpeg.ts';
import { smallSize } from '../../fixtures/videos-known-cuts.ts';
import { framing, isIn, missedScenes, open } from './look-at.ts';

/**
 * Finds the frames of a video, and checks that each picture shows the colour of the scene at its time.
 * @param late seconds by which all frames are shown later than they were recorded
 */
async function expectScenes(path: string, video: ReturnType<typeof makeVideo>, late = 0) {
  await using reader = await open(path);
  const frames = await Array.fromAsync(reader.frames(framing));
  const timestamps = frames.map(({ timestamp }) => timestamp);
  const scenes = video.scenes.map(({ colour, start, end }) => ({
    colour,
    start: start + late,
    end: end + late,
  }));
  expect(missedScenes({ ...video, scenes }, timestamps)).toEqual([]);
  const jpegs = await Array.fromAsync(reader.jpegs(timestamps));
  expect(jpegs.map(({ timestamp }) => timestamp)).toEqual(timestamps);
  for (const { timestamp, jpeg } of jpegs) {
    const near = scenes.filter((scene) => isIn(scene, timestamp));
    const shown = (await readJpeg(jpeg)).colourAt(0.5, 0.1);
    const differences = near.map(({ colour }) => worstDifference(shown, sceneColours[colour]));
    expect(Math.min(...differences)).toBeLessThan(30);
  }
  return reader;
}

const x265 = { preset: 'ultrafast', 'x265-params': 'log-level=none' };

describe.each<[string, readonly VideoRecipe['encoder'][], Pick<VideoRecipe, 'container' | 'muxerOptions'>]>([
  ['AVI', ['libx264', 'mpeg4', 'mjpeg'], { container: 'avi' }],
  ['MPEG-TS', ['libx264', 'mpeg4', 'libx265'], { container: 'mpegts' }],
  ['M2TS', ['libx264', 'libx265'], { container: 'mpegts', muxerOptions: { mpegts_m2ts_mode: '1' } }],
  ['3GP', ['libx264', 'mpeg4'], { container: '3gp' }],
])('a video in %s', (_title, codecs, container) => {
  test.each<[string, Partial<VideoRecipe>]>([
    ['H.264 with a keyframe at each cut', {}],
    ['H.264 with one keyframe', { options: { preset: 'veryfast', sc_threshold: '0', g: '999' } }],
    ['MPEG-4', { encoder: 'mpeg4', options: { g: '30' } }],
    ['Motion JPEG', { encoder: 'mjpeg', options: {}, matrix: 'bt601', range: 'full' }],
    ['HEVC', { encoder: 'libx265', options: x265 }],
  ])('in %s shows every scene', async (_, recipe) => {
    // Files of these kinds do not exist.
    if (!codecs.includes(recipe.encoder ?? 'libx264')) return;
    const video = makeVideo({ ...smallSize, scenes: manyScenes(5, 1.2), ...container, ...recipe });
    // AVI has no presentation times, and the decoder is two frames behind.
    const late = container.container === 'avi' && recipe.encoder === undefined ? 0.08 : 0;
    const { description, warnings } = await expectScenes(video.path, video, late);
    expect(description).toMatchObject(smallSize);
    expect(Math.abs(description.duration - 6)).toBeLessThan(0.2);
    expect(warnings).toEqual([]);
  });
});

test('an AVI with empty packets, which repeat the frame before, is whole', async () => {
  const video = makeVideo({
    scenes: manyScenes(3, 1.2),
    container: 'avi',
    encoder: 'mpeg4',
    options: { g: '10' },
    frameRate: 12.5,
  });
  expect((await expectScenes(video.path, video)).warnings).toEqual([]);
});

describe('what is left of a recording is used', () => {
  const options = { preset: 'veryfast', g: '12' };

  async function part(video: ReturnType<typeof makeVideo>, from: number, to: number): Promise<string> {
    const bytes = await Bun.file(video.path).bytes();
    const path = join(videoFolder(), `part-${from}-${to}`);
    await Bun.write(path, bytes.subarray(from, Math.floor(bytes.length * to)));
    return path;
  }

  test('an AVI without its end, where its index was', async () => {
    const video = makeVideo({ scenes: manyScenes(4, 1.5), container: 'avi', options });
    await using reader = await open(await part(video, 0, 0.7));
    const frames = await Array.fromAsync(reader.frames(framing));
    const timestamps = frames.map(({ timestamp }) => timestamp);
    expect(timestamps.length).toBeGreaterThanOrEqual(2);
    expect(await Array.fromAsync(reader.jpegs(timestamps))).toHaveLength(timestamps.length);
    expect(reader.warnings.join()).toMatch(/The video's data end after \d\.\d of 6\.0 seconds/);
  });

  test('a Motion JPEG without the frame that is cut off', async () => {
    const form = { encoder: 'mjpeg', options: {}, matrix: 'bt601', range: 'full' } as const;
    const video = makeVideo({ scenes: manyScenes(1, 2), container: 'avi', ...form });
    const bytes = await Bun.file(video.path).bytes();
    // A frame's chunk has four letters and a length before its JPEG.
    const chunk = Buffer.from(bytes.buffer).indexOf('00dc', Math.trunc(bytes.length / 2), 'latin1');
    const length = new DataView(bytes.buffer).getUint32(chunk + 4, true);
    const path = join(videoFolder(), 'cut-frame');
    await Bun.write(path, bytes.subarray(0, chunk + 8 + length / 2));
    await using reader = await open(path);
    await Array.fromAsync(reader.frames(framing));
    expect(reader.warnings.join()).toMatch(/1 of the \d+ decoded frames are damaged/);
  });

  test('an MPEG-TS that begins and ends between two keyframes', async () => {
    const video = makeVideo({ scenes: manyScenes(4, 1.5), container: 'mpegts', options });
    const { scenes } = video;
    await using reader = await open(await part(video, 188 * 40, 0.9));
    const frames = await Array.fromAsync(reader.frames(framing));
    expect(frames.length).toBeGreaterThanOrEqual(scenes.length - 1);
    const timestamps = frames.map(({ timestamp }) => timestamp);
    expect(await Array.fromAsync(reader.jpegs(timestamps))).toHaveLength(timestamps.length);
  });
});
