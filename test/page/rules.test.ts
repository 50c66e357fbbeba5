import { describe, expect, test } from 'bun:test';
import { decide, decideSeveral } from '../../src/classify/decide.ts';
import { rulesOf } from '../../src/page/results/rules.ts';

const ranked = (score: number) => [{ score }];

describe('the strictness of the page', () => {
  test.each([false, true])('in its middle is the default of the service (several: %j)', (several) => {
    const rules = rulesOf({ strictness: 50, several });
    for (const score of [0.2, 0.5, 0.5005, 0.502, 0.9]) {
      expect(decide(ranked(score), rules)).toEqual(decide(ranked(score), { others: true }));
      expect(decideSeveral(ranked(score), rules)).toEqual(decideSeveral(ranked(score), { several: true }));
    }
    // A category that is as neutral as the background fits no photo.
    expect(decide(ranked(0.5), rules)).toBeNull();
  });

  test('at its loose end gives each photo a group, unless it may be in several', () => {
    expect(decide(ranked(0), rulesOf({ strictness: 0, several: false }))).not.toBeNull();
    expect(decide(ranked(0), rulesOf({ strictness: 0, several: true }))).toBeNull();
  });

  test('asks for more and more', () => {
    const thresholds = [1, 20, 49, 51, 80, 100].map(
      (strictness) => rulesOf({ strictness, several: false }).threshold!,
    );
    expect(thresholds.toSorted((a, b) => a - b)).toEqual(thresholds);
    expect(thresholds[2]).toBeLessThan(0.5);
    expect(thresholds[3]).toBeGreaterThan(0.5);
  });
});
