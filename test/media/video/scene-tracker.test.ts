import { describe, expect, test } from 'bun:test';
import { createSceneCounter } from '../../../src/media/video/scene-tracker.ts';
import type { Thumbnail } from '../../../src/media/video/thumbnail.ts';
import { striped } from './thumbnails.ts';

const red = striped([200, 40, 40]);
const green = striped([40, 200, 40]);
const blue = striped([40, 40, 200]);

function scenesOf(seconds: number, film: (timestamp: number) => Thumbnail, distance = 0.1): number {
  const counter = createSceneCounter();
  for (let step = 0; step * distance < seconds; step++) {
    counter.look(step * distance, film(step * distance));
  }
  return counter.finish();
}

describe('createSceneCounter', () => {
  test('counts one scene of a still picture, and of none', () => {
    expect(scenesOf(10, () => red)).toBe(1);
    expect(scenesOf(0, () => red)).toBe(1);
  });

  test('counts cuts in closely spaced frames', () => {
    expect(scenesOf(9, (timestamp) => [red, green, blue][Math.floor(timestamp / 3)]!)).toBe(3);
  });

  test('counts cuts between frames that are far apart', () => {
    expect(scenesOf(30, (timestamp) => (timestamp < 10 ? red : blue), 2)).toBe(2);
    expect(scenesOf(30, (timestamp) => striped([200, 40, 40], timestamp), 2)).toBe(1);
  });

  test('counts no cuts under a fast camera, where all frames differ', () => {
    expect(scenesOf(5, (timestamp) => striped([200, 40, 40], Math.round(timestamp * 10)))).toBe(1);
  });

  test('counts no flash as a scene', () => {
    const white = striped([255, 255, 255]);
    expect(scenesOf(6, (timestamp) => (timestamp >= 3 && timestamp < 3.2 ? white : red))).toBeLessThanOrEqual(
      2,
    );
  });

  test('counts a scene that begins with the last frame', () => {
    expect(scenesOf(3.1, (timestamp) => (timestamp < 2.95 ? red : blue))).toBe(2);
  });
});
