import { describe, expect, test } from 'bun:test';
import { mcNemar, wilsonInterval } from '../../src/evaluate/statistics.ts';

describe('the interval of a share', () => {
  // Method 3 in table I of R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998.
  const published = [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const;
  for (const [hits, count, low, high] of published) {
    test(`of ${hits} of ${count} is the published one`, () => {
      const interval = wilsonInterval(hits, count);
      expect(interval.low).toBeCloseTo(low, 4);
      expect(interval.high).toBeCloseTo(high, 4);
    });
  }

  test('ends exactly at 0 and 1, and is symmetric', () => {
    expect(wilsonInterval(0, 7).low).toBe(0);
    expect(wilsonInterval(7, 7).high).toBe(1);
    expect(wilsonInterval(7, 7).low).toBeCloseTo(1 - wilsonInterval(0, 7).high, 12);
  });

  test('is everything if nothing was counted', () => {
    expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  });
});

describe("McNemar's exact test", () => {
  test('adds the tails of the binomial distribution', () => {
    expect(mcNemar(0, 5)).toBeCloseTo(2 / 32, 12);
    expect(mcNemar(1, 8)).toBeCloseTo((2 * (1 + 9)) / 512, 12);
    expect(mcNemar(2, 10)).toBeCloseTo((2 * (1 + 12 + 66)) / 4096, 12);
    expect(mcNemar(10, 2)).toBeCloseTo(mcNemar(2, 10), 12);
  });

  test('is certain of nothing without a difference', () => {
    expect(mcNemar(0, 0)).toBe(1);
    expect(mcNemar(4, 4)).toBe(1);
  });

  test('holds for more tosses than a double has exponents', () => {
    // The normal approximation with continuity correction: z = (|5200 − 4800| − 1) / √10000 = 3.99.
    expect(mcNemar(4800, 5200)).toBeCloseTo(6.6e-5, 6);
    expect(mcNemar(5000, 5000)).toBe(1);
  });
});
