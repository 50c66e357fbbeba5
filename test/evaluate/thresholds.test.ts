import { describe, expect, test } from 'bun:test';
import {
  balancedThreshold,
  effectsOfThresholds,
  numberBetween,
  type ScoredAnswer,
  strictThreshold,
} from '../../src/evaluate/thresholds.ts';
import { randomNumbers } from '../bench/random-numbers.ts';

/** Scores with ties; higher ones are right more often. */
function randomAnswers(count: number, seed: number): readonly ScoredAnswer[] {
  const next = randomNumbers(seed);
  const uniform = () => (next() + 1) / 2;
  return Array.from({ length: count }, () => {
    const score = Math.round(uniform() * 40) / 40;
    return { score, isRight: uniform() < 0.2 + 0.75 * score };
  });
}

/** Counts what passes a threshold, without sorting. */
function countAt(answers: readonly ScoredAnswer[], threshold: number) {
  const passing = answers.filter(({ score }) => score >= threshold);
  const right = passing.filter(({ isRight }) => isRight).length;
  return { right, wrong: passing.length - right, unanswered: answers.length - passing.length };
}

const candidates = Array.from({ length: 401 }, (_, index) => index / 400);

describe('thresholds', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const answers = randomAnswers(80, seed);
    const effects = effectsOfThresholds(answers);

    test(`do what they say (${seed})`, () => {
      for (const { threshold, ...effect } of effects) expect(countAt(answers, threshold)).toEqual(effect);
      expect(effects[0]?.threshold).toBe(0);
      expect(effects.length).toBe(new Set(answers.map(({ score }) => score)).size);
    });

    test(`that limit wrong answers are as low as possible (${seed})`, () => {
      const limited = strictThreshold(effects, 0.2);
      const best = candidates
        .map((threshold) => countAt(answers, threshold))
        .find(({ right, wrong }) => right + wrong > 0 && wrong / (right + wrong) <= 0.2);
      expect(limited).toEqual(best && { threshold: limited?.threshold ?? Number.NaN, ...best });
    });

    test(`with the best balance have the highest F1 (${seed})`, () => {
      // 70 photos have a category.
      const f1 = ({ right, wrong }: { right: number; wrong: number }) => {
        const [precision, recall] = [right / (right + wrong), right / 70];
        return (2 * precision * recall) / (precision + recall);
      };
      const balanced = balancedThreshold(effects, 70);
      const highest = Math.max(
        ...candidates
          .map((threshold) => countAt(answers, threshold))
          .filter(({ right }) => right > 0)
          .map(f1),
      );
      expect(balanced && f1(balanced)).toBeCloseTo(highest, 12);
    });
  }

  test('do not exist if the best answer is wrong and no error is accepted', () => {
    const effects = effectsOfThresholds([
      { score: 0.9, isRight: false },
      { score: 0.5, isRight: true },
    ]);
    expect(strictThreshold(effects, 0.1)).toBeUndefined();
    expect(strictThreshold(effects, 0.5)).toEqual({ threshold: 0, right: 1, wrong: 1, unanswered: 0 });
  });

  test('have few digits', () => {
    expect(numberBetween(0.31, 0.79)).toBe(0.6);
    expect(numberBetween(0.612, 0.618)).toBe(0.615);
    expect(numberBetween(0.99999, 1)).toBe(0.999995);
    // The next double after 0.1.
    const next = 0.1 + Number.EPSILON / 16;
    expect(numberBetween(0.1, next)).toBe(next);
  });

  test('there are none without answers', () => {
    expect(effectsOfThresholds([])).toEqual([]);
    expect(balancedThreshold([], 0)).toBeUndefined();
  });
});
