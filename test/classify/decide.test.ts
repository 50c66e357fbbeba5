import { describe, expect, test } from 'bun:test';
import {
  cosine,
  decide,
  decideSeveral,
  isListed,
  scoreAgainstBackground,
  softmax,
  thresholdOf,
  usesBackground,
} from '../../src/classify/decide.ts';

const ranked = [
  { name: 'cat', score: 0.7 },
  { name: 'dog', score: 0.3 },
];

describe('the answer', () => {
  test('is the best candidate where nothing else is asked for', () => {
    expect(decide(ranked, {})).toBe(ranked[0]!);
  });

  test('is the best candidate from the threshold on, and none below it', () => {
    expect(decide(ranked, { threshold: 0.7 })).toBe(ranked[0]!);
    expect(decide(ranked, { threshold: 0.71 })).toBeNull();
  });

  test('is none where there are no candidates', () => {
    expect(decide([], {})).toBeNull();
    expect(decideSeveral([], { several: true })).toEqual([]);
  });

  test('has to be better than the background where it competes with it, unless a threshold is given', () => {
    const better = [{ name: 'cat', score: 0.51 }];
    const equal = [{ name: 'cat', score: 0.5 }];
    const rounded = [{ name: 'cat', score: 0.5008 }];
    const worse = [{ name: 'cat', score: 0.49 }];
    for (const rules of [{ others: true }, { several: true }, { others: false, several: true }]) {
      expect(decide(better, rules)).toBe(better[0]!);
      expect(decide(equal, rules)).toBeNull();
      expect(decide(rounded, rules)).toBeNull();
      expect(decide(rounded, { ...rules, threshold: 0.5 })).toBe(rounded[0]!);
      expect(decide(equal, { ...rules, threshold: 0.5 })).toBe(equal[0]!);
      expect(decide(worse, rules)).toBeNull();
      expect(decide(worse, { ...rules, threshold: 0.2 })).toBe(worse[0]!);
      expect(decide(worse, { ...rules, threshold: 0 })).toBe(worse[0]!);
    }
    expect(decide(worse, { others: false })).toBe(worse[0]!);
  });

  test('may be several, best first', () => {
    const three = [...ranked.slice(0, 1), { name: 'pet', score: 0.6 }, ...ranked.slice(1)];
    expect(decideSeveral(three, { several: true }).map(({ name }) => name)).toEqual(['cat', 'pet']);
    expect(decideSeveral(three, { several: true, threshold: 0.3 })).toEqual(three);
    expect(decideSeveral(three, { several: true, threshold: 0.8 })).toEqual([]);
  });
});

test('candidates below the threshold are not listed', () => {
  expect(ranked.filter((one) => isListed(one, { threshold: 0.5 }))).toEqual(ranked.slice(0, 1));
  expect(ranked.filter((one) => isListed(one, { others: true }))).toEqual(ranked.slice(0, 1));
  expect(ranked.filter((one) => isListed(one, {}))).toEqual(ranked);
});

test('the threshold is one half only against the background', () => {
  expect(thresholdOf({})).toBe(0);
  expect(thresholdOf({ others: true })).toBe(0.5);
  expect(thresholdOf({ several: true, threshold: 0.1 })).toBe(0.1);
  expect(usesBackground({})).toBe(false);
  expect(usesBackground({ others: true })).toBe(true);
  expect(usesBackground({ several: true })).toBe(true);
});

describe('a score against the background', () => {
  test('is one half where both fit equally, and follows the scale', () => {
    expect(scoreAgainstBackground(100, 0.25, 0.25)).toBe(0.5);
    // 1 / (1 + exp(−100 · 0.02)) = 1 / (1 + exp(−2))
    expect(scoreAgainstBackground(100, 0.27, 0.25)).toBeCloseTo(0.880797077977882, 12);
    expect(scoreAgainstBackground(100, 0.23, 0.25)).toBeCloseTo(0.119202922022118, 12);
    expect(scoreAgainstBackground(5000, -1, 1)).toBe(0);
    expect(scoreAgainstBackground(5000, 1, -1)).toBe(1);
  });

  test('is the softmax of the two', () => {
    for (const [similarity, background] of [
      [0.31, 0.22],
      [0.22, 0.31],
      [-0.1, 0.05],
    ] as const) {
      const [both] = softmax(38.5)(Float64Array.of(similarity, background));
      expect(scoreAgainstBackground(38.5, similarity, background)).toBeCloseTo(both!, 12);
    }
  });
});

test('embeddings of different models are not compared', () => {
  expect(() => cosine(Float32Array.of(1, 0), Float32Array.of(1))).toThrow('embeddings of 2 and 1 numbers');
});
