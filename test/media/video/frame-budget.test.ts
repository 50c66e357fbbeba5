import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createFrameBudget } from '../../../src/media/video/scene-tracker.ts';

/** Spends all frames that may be spent at these times. */
function spendAt(frames: number, seconds: number, times: readonly number[]): number[] {
  const budget = createFrameBudget(frames, seconds);
  return times.filter((time) => {
    if (!budget.has(time)) return false;
    budget.spend();
    return true;
  });
}

describe('createFrameBudget', () => {
  test('never allows more frames than there are', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 600 }),
        fc.double({ min: 0, max: 10_000, noNaN: true }),
        fc.array(fc.double({ min: -10, max: 20_000, noNaN: true }), { maxLength: 2000 }),
        (frames, seconds, times) => {
          expect(
            spendAt(
              frames,
              seconds,
              times.sort((a, b) => a - b),
            ).length,
          ).toBeLessThanOrEqual(frames);
        },
      ),
    );
  });

  test('spreads them over the video', () => {
    const spent = spendAt(
      100,
      1000,
      Array.from({ length: 1000 }, (_, second) => second),
    );
    for (const quarter of [0, 1, 2, 3]) {
      const inQuarter = spent.filter((time) => time >= quarter * 250 && time < (quarter + 1) * 250);
      expect(inQuarter.length).toBeGreaterThan(15);
    }
  });

  test('saves the frames of quiet stretches for busy ones', () => {
    const busy = Array.from({ length: 60 }, (_, index) => 900 + index / 10);
    expect(spendAt(100, 1000, busy)).toEqual(busy);
  });

  test('has a frame for a video without duration, and for times before its beginning', () => {
    expect(spendAt(10, 0, [0])).toEqual([0]);
    expect(spendAt(10, 5, [-3])).toEqual([-3]);
  });
});
