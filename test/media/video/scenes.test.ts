import { describe, expect, test } from 'bun:test';
import {
  makePaintedVideo,
  makeVideo,
  manyScenes,
  sceneColours,
  type VideoRecipe,
} from '../../fixtures/videos.ts';
import { knownCuts, scenes, withoutCuts } from '../../fixtures/videos-known-cuts.ts';
import { isIn, lookAt, missedScenes, packetsDecoded, SAME_PICTURE } from './look-at.ts';

describe('every scene of at least 0.7 s is found', () => {
  for (const [name, recipe] of Object.entries(knownCuts)) {
    test(name, async () => {
      const video = makeVideo(recipe);
      const { timestamps, colours, warnings, differences } = await lookAt(video.path, 320, true);
      expect(missedScenes(video, timestamps)).toEqual([]);
      expect(differences.filter((difference) => difference < SAME_PICTURE).length).toBe(timestamps.length);
      expect(timestamps).toEqual([...timestamps].sort((a, b) => a - b));
      expect(warnings.filter((warning) => warning.includes('damaged'))).toEqual([]);
      // What the model gets is what is shown at that time, upright and in the right colours.
      for (const [index, timestamp] of timestamps.entries()) {
        const scene = video.scenes.find((truth) => isIn(truth, timestamp));
        if (!scene) continue;
        const wanted = sceneColours[scene.colour];
        for (const channel of [0, 1, 2]) {
          expect(Math.abs(colours[index]![channel]! - wanted[channel]!)).toBeLessThan(14);
        }
      }
    });
  }

  test('if the picture is turned, or its pixels are not square', async () => {
    for (const rotation of [90, 180, 270] as const) {
      const video = makeVideo({ scenes, rotation });
      const { timestamps, description } = await lookAt(video.path);
      expect(missedScenes(video, timestamps)).toEqual([]);
      expect([description.width, description.height]).toEqual(rotation === 180 ? [320, 180] : [180, 320]);
    }
    const video = makeVideo({ scenes, pixelAspect: [2, 1] });
    const { timestamps, description } = await lookAt(video.path);
    expect(missedScenes(video, timestamps)).toEqual([]);
    expect([description.width, description.height]).toEqual([640, 180]);
  });

  test('where an edit list hides the beginning', async () => {
    const video = makeVideo({ scenes, timeOf: (index) => index * 40 - 2000, options: withoutCuts });
    const { timestamps, description } = await lookAt(video.path);
    // The recipe is in shown time; its first second is before the file's beginning.
    expect(missedScenes(video, timestamps)).toEqual([]);
    expect(timestamps[0]).toBeGreaterThanOrEqual(0);
    expect(description.duration).toBeCloseTo(15.72, 1);
  });

  test('where the file does not begin at zero', async () => {
    for (const container of ['mp4', 'matroska'] as const) {
      const recipe: VideoRecipe = { scenes, container, timeOf: (index) => index * 40 + 1520 };
      const video = makeVideo(recipe);
      const { timestamps, description } = await lookAt(video.path);
      // The first scene would have played before the file begins.
      const shown = video.scenes
        .slice(1)
        .map(({ start, end, ...rest }) => ({ ...rest, start: start - 1.52, end: end - 1.52 }));
      expect(missedScenes({ ...video, scenes: shown }, timestamps)).toEqual([]);
      expect(description.duration).toBeCloseTo(15.72 - 1.52, 1);
    }
  });
});

describe('what is decoded', () => {
  test('of ten minutes of a static shot is a part, and the model gets few frames', async () => {
    const { path } = makeVideo({
      scenes: [{ colour: 'green', seconds: 600 }],
      motion: 'none',
      frameRate: 5,
      width: 640,
      height: 360,
    });
    const { timestamps, scenes: found } = await lookAt(path);
    // The keyframes may differ by the noise of the encoder.
    expect(timestamps.length).toBeLessThan(5);
    expect(found).toBe(1);
    expect(await packetsDecoded(path)).toBeLessThanOrEqual(3000);
  });

  test('is each packet once at most', async () => {
    const video = makeVideo({ scenes: manyScenes(30, 1) });
    const { timestamps, scenes: found } = await lookAt(video.path);
    expect(missedScenes(video, timestamps)).toEqual([]);
    expect(found).toBe(30);
    expect(await packetsDecoded(video.path)).toBeLessThanOrEqual(750);
  });

  test('gives the model up to eight frames a second as long as something changes', async () => {
    const { path } = makeVideo({ scenes: [{ colour: 'red', seconds: 40 }], motion: 'fast' });
    const { timestamps, scenes: found } = await lookAt(path);
    expect(found).toBe(1);
    expect(timestamps.length).toBeGreaterThanOrEqual(160);
    expect(timestamps.length).toBeLessThanOrEqual(320);
    // Of fewer that it may choose, some are chosen in every part.
    const few = (await lookAt(path, 60)).timestamps;
    expect(few.length).toBeLessThanOrEqual(60);
    for (let start = 0; start < 40; start += 10) {
      expect(few.filter((timestamp) => timestamp >= start && timestamp < start + 10).length).toBeGreaterThan(
        8,
      );
    }
  });
});

describe('frames are few', () => {
  test('a cap is spread over the video', async () => {
    const video = makeVideo({ scenes: manyScenes(30, 1) });
    const { timestamps } = await lookAt(video.path, 8);
    expect(timestamps.length).toBeLessThanOrEqual(8);
    expect(timestamps.length).toBeGreaterThanOrEqual(6);
    expect(timestamps.at(-1)).toBeGreaterThan(22);
    const middle = timestamps.filter((timestamp) => timestamp > 10 && timestamp < 20);
    expect(middle.length).toBeGreaterThanOrEqual(2);
  });

  test('one frame is enough of a video of one frame', async () => {
    const { path } = makeVideo({ scenes: [{ colour: 'green', seconds: 0.04 }] });
    const { timestamps, description } = await lookAt(path);
    expect(timestamps).toEqual([0]);
    expect(description).toMatchObject({ width: 320, height: 180, codec: 'h264' });
  });

  test('one frame is found even if the container does not say how long it is shown', async () => {
    const path = makePaintedVideo('no-duration', { timeOf: () => 0 }, [{ background: sceneColours.green }]);
    expect((await lookAt(path)).timestamps).toEqual([0]);
  });
});
