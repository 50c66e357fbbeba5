import { describe, expect, test } from 'bun:test';
import { createRandom } from './random.ts';
import { isGrowth, memoryGrowth } from './soak-report.ts';

const MEGA = 1e6;

/** Twenty minutes in thirty rounds, each value up to `scatter` megabytes from where it should be. */
function memoryOf(megabytes: (minute: number) => number, scatter: number): [number, number][] {
  const random = createRandom(1);
  return Array.from({ length: 30 }, (_, round) => {
    const minute = (round + 1) / 1.5;
    const deviation = (random.below(2001) / 1000 - 1) * scatter;
    return [minute, (megabytes(minute) + deviation) * MEGA];
  });
}

describe('whether memory grows', () => {
  test.each<[string, boolean, (minute: number) => number, number]>([
    ['level', false, () => 250, 0],
    ['level, with much scatter', false, () => 250, 20],
    ['that falls', false, (minute) => 300 - 3 * minute, 5],
    ['caches that fill in the first minutes', false, (minute) => 200 + 60 * Math.min(1, minute / 6), 3],
    ['a leak', true, (minute) => 200 + minute, 3],
    ['a leak that much scatter covers', true, (minute) => 200 + 5 * minute, 20],
    ['a leak that begins late', true, (minute) => 200 + 4 * Math.max(0, minute - 10), 3],
  ])('%s: %p', (_, expected, megabytes, scatter) => {
    const growth = memoryGrowth(memoryOf(megabytes, scatter));
    expect(growth && isGrowth(growth)).toBe(expected);
  });

  test('a run of a few rounds cannot tell', () => {
    expect(memoryGrowth(memoryOf((minute) => 200 + minute, 0).slice(0, 5))).toBeUndefined();
  });
});
