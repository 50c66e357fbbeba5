import { describe, expect, test } from 'bun:test';
import {
  createFrameBudget,
  createSceneTracker,
  isBlank,
  isSparseCut,
  type Sighting,
} from '../../../src/media/video/scene-tracker.ts';
import type { Thumbnail } from '../../../src/media/video/thumbnail.ts';
import { flat, striped } from './thumbnails.ts';

const red = striped([200, 40, 40]);
const blue = striped([40, 40, 200]);

/** Goes through a script of frames and cuts, and counts what is held and let go. */
function track(frames = 512, seconds = 100) {
  let held = 0;
  const tracker = createSceneTracker<Disposable>(createFrameBudget(frames, seconds));
  const chosen: [timestamp: number, scene: number][] = [];
  const note = (found: ReturnType<typeof tracker.finish>) => {
    if (!found) return;
    chosen.push([found.timestamp, found.scene]);
    found.capture[Symbol.dispose]();
  };
  return {
    chosen,
    tracker,
    get held() {
      return held;
    },
    look(timestamp: number, thumbnail: Thumbnail, rest: Partial<Sighting<Disposable>> = {}) {
      const capture = () => {
        held++;
        return { [Symbol.dispose]: () => held-- };
      };
      note(tracker.look({ timestamp, thumbnail, standing: 'settled', key: false, capture, ...rest }));
    },
    /** Frames 0.1 s apart. */
    show(from: number, until: number, thumbnail: (timestamp: number) => Thumbnail) {
      for (let step = Math.round(from * 10); step < Math.round(until * 10); step++) {
        this.look(step / 10, thumbnail(step / 10));
      }
    },
    cut: (earliest: number, latest = earliest) => note(tracker.cut(earliest, latest)),
    finish: () => note(tracker.finish()),
  };
}

describe('createSceneTracker', () => {
  test('chooses one frame a scene', () => {
    const run = track();
    run.show(0, 2, () => red);
    run.cut(2);
    run.show(2, 3, () => blue);
    run.finish();
    expect(run.chosen).toEqual([
      [0, 0],
      [2, 1],
    ]);
    expect(run.tracker.scenes).toBe(2);
    expect(run.held).toBe(0);
  });

  test('chooses one frame of a still scene, and another when a long scene changes', () => {
    const still = track();
    still.show(0, 30, () => red);
    still.finish();
    expect(still.chosen).toEqual([[0, 0]]);

    const moving = track();
    moving.show(0, 30, (timestamp) => striped([200, 40, 40], timestamp));
    moving.finish();
    expect(moving.chosen.length).toBeGreaterThanOrEqual(3);
    expect(moving.chosen.length).toBeLessThanOrEqual(16);
  });

  test('ignores flashes', () => {
    const run = track();
    run.show(0, 2, () => red);
    run.cut(2);
    run.show(2, 2.3, () => flat([255, 255, 255]));
    run.cut(2.3);
    run.show(2.3, 4, () => blue);
    run.finish();
    expect(run.chosen.map(([timestamp]) => timestamp)).toEqual([0, 2.3]);
    expect(run.held).toBe(0);
  });

  test('chooses a frame if all scenes are too short to count', () => {
    const run = track();
    for (let step = 0; step < 40; step++) {
      run.cut(step / 5);
      run.show(step / 5, (step + 1) / 5, () => striped([(step * 90) % 256, (step * 50) % 256, 100]));
    }
    run.finish();
    expect(run.chosen.length).toBeGreaterThanOrEqual(3);
    const brief = track();
    brief.show(0, 0.2, () => red);
    brief.cut(0.2);
    brief.finish();
    expect(brief.chosen).toEqual([[0, 0]]);
  });

  test('keeps a scene with a single seen keyframe, if it may be long enough', () => {
    const run = track();
    const key = { key: true };
    run.look(0, red, key);
    run.cut(0, 0.5);
    run.look(0.5, blue, key);
    run.cut(0.5, 1);
    run.look(1, red, key);
    run.finish();
    expect(run.chosen.map(([timestamp]) => timestamp)).toEqual([0, 0.5, 1]);
  });

  test('prefers a frame with a picture to a black one, and a sharp one to a blurred one', () => {
    const run = track();
    run.show(0, 0.4, () => flat([0, 0, 0]));
    run.show(0.4, 2, () => striped([10, 10, 12], 0, 10));
    run.cut(2);
    run.show(2, 3, () => striped([200, 40, 40], 0, 4));
    run.show(3, 4, () => striped([200, 40, 40], 0, 60));
    run.finish();
    expect(run.chosen[0]![0]).toBeCloseTo(0.4, 5);
    expect(run.chosen[1]![0]).toBeGreaterThanOrEqual(3);
  });

  test('chooses black if a scene has only black frames', () => {
    const run = track();
    run.show(0, 2, () => flat([0, 0, 0]));
    run.cut(2);
    run.show(2, 4, () => flat([255, 255, 255]));
    run.finish();
    expect(run.chosen.map(([timestamp]) => timestamp)).toEqual([0, 2]);
  });

  test('chooses both sides of a cross-fade, but not its middle', () => {
    const mix = (timestamp: number) => {
      const share = Math.min(1, Math.max(0, timestamp - 2));
      return striped([200 - 160 * share, 40, 40 + 160 * share]);
    };
    const run = track();
    run.show(0, 5, mix);
    run.finish();
    expect(run.chosen.length).toBe(2);
    expect(run.chosen[0]![0]).toBeLessThanOrEqual(2);
    expect(run.chosen[1]![0]).toBeGreaterThanOrEqual(3);
  });

  test('gives a frame after a possible cut to the scene that it belongs to', () => {
    const run = track();
    run.show(0, 1, () => red);
    run.look(1, blue, { standing: 'jump' });
    run.look(1.1, blue, { standing: 'after' });
    run.look(1.2, blue, { standing: 'after' });
    run.cut(1);
    expect(run.chosen).toEqual([[0, 0]]);
    expect(run.tracker.seeking).toBe(false);
    run.finish();
    expect(run.chosen).toEqual([
      [0, 0],
      [1.1, 1],
    ]);
    expect(run.held).toBe(0);
  });

  test('chooses as many frames as allowed, and releases the others', () => {
    const run = track(3, 10);
    for (let second = 0; second < 10; second++) {
      run.show(second, second + 1, () => (second % 2 ? red : blue));
      run.cut(second + 1);
    }
    run.finish();
    expect(run.chosen.length).toBeLessThanOrEqual(3);
    run.tracker[Symbol.dispose]();
    expect(run.held).toBe(0);
  });
});

describe('isSparseCut', () => {
  test('sees a cut in new colours, not in moved ones', () => {
    expect(isSparseCut(red, blue)).toBe(true);
    expect(isSparseCut(red, striped([200, 40, 40], 4))).toBe(false);
    expect(isSparseCut(red, striped([195, 42, 38]))).toBe(false);
  });
});

describe('isBlank', () => {
  test('is true for pictures of one colour', () => {
    expect([flat([0, 0, 0]), flat([255, 255, 255]), flat([80, 10, 10])].every(isBlank)).toBe(true);
    expect(isBlank(red)).toBe(false);
  });
});
