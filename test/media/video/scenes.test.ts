import { describe, expect, test } from 'bun:test';
import {
  makePaintedVideo,
  makeVideo,
  manyScenes,
  sceneColours,
  type VideoRecipe,
} from '../../fixtures/videos.ts';
import { knownCuts, scenes, smallSize } from '../../fixtures/videos-known-cuts.ts';
import { isIn, lookAt, missedScenes, packetsDecoded, SAME_PICTURE } from './look-at.ts';

/** A video as a player shows it: turned, and with square pixels. */
function sizeShown({ width = 0, height = 0, rotation = 0, pixelAspect = [1, 1] }: VideoRecipe): number[] {
  const shown = [(width * pixelAspect[0]) / pixelAspect[1], height];
  return rotation % 180 === 0 ? shown : shown.reverse();
}

describe('every scene of at least 0.7 s is found', () => {
  for (const [name, recipe] of Object.entries(knownCuts)) {
    test(name, async () => {
      const video = makeVideo(recipe);
      const { description, timestamps, colours, warnings, refined, differences } = await lookAt(
        video.path,
        320,
        true,
      );
      expect(missedScenes(video, timestamps)).toEqual([]);
      expect(differences.filter((difference) => difference < SAME_PICTURE).length).toBe(
        timestamps.length + refined.length,
      );
      expect(timestamps).toEqual([...timestamps].sort((a, b) => a - b));
      expect(timestamps[0]).toBeGreaterThanOrEqual(0);
      expect(warnings.filter((warning) => warning.includes('damaged'))).toEqual([]);
      expect([description.width, description.height]).toEqual(sizeShown(recipe));
      // The recipe is in shown time: what an edit list hides is before the file's beginning.
      const lateness = Math.abs(description.duration - video.scenes.at(-1)!.end);
      expect(lateness).toBeLessThan(Math.max(0.05, 1 / (recipe.frameRate ?? 25)));
      // What the model gets is what is shown at that time, upright and in the right colours.
      const found = [
        ...timestamps.map((timestamp, index) => ({ timestamp, colour: colours[index]! })),
        ...refined,
      ];
      for (const { timestamp, colour } of found) {
        const scene = video.scenes.find((truth) => isIn(truth, timestamp));
        if (!scene) continue;
        const wanted = sceneColours[scene.colour];
        for (const channel of [0, 1, 2]) {
          expect(Math.abs(colour[channel]! - wanted[channel]!)).toBeLessThan(14);
        }
      }
    });
  }

  test('where the file does not begin at zero', async () => {
    for (const container of ['mp4', 'matroska'] as const) {
      const recipe: VideoRecipe = { ...smallSize, scenes, container, timeOf: (index) => index * 40 + 1520 };
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
      options: { preset: 'ultrafast' },
    });
    const { timestamps, scenes: found } = await lookAt(path);
    // The keyframes may differ by the noise of the encoder.
    expect(timestamps.length).toBeLessThan(5);
    expect(found).toBe(1);
    expect(await packetsDecoded(path)).toBeLessThanOrEqual(3000);
  });

  test('is each packet once at most', async () => {
    const video = makeVideo({ ...smallSize, scenes: manyScenes(30, 1) });
    const { timestamps, scenes: found } = await lookAt(video.path);
    expect(missedScenes(video, timestamps)).toEqual([]);
    expect(found).toBe(30);
    expect(await packetsDecoded(video.path)).toBeLessThanOrEqual(750);
  });

  test('gives the model up to eight frames a second as long as something changes', async () => {
    const { path } = makeVideo({ ...smallSize, scenes: [{ colour: 'red', seconds: 40 }], motion: 'fast' });
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
    const video = makeVideo({ ...smallSize, scenes: manyScenes(30, 1) });
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
