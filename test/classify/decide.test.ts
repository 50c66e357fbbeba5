import { describe, expect, test } from 'bun:test';
import { decide, isListed } from '../../src/classify/decide.ts';

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
  });
});

test('candidates below the threshold are not listed', () => {
  expect(ranked.filter((one) => isListed(one, { threshold: 0.5 }))).toEqual(ranked.slice(0, 1));
  expect(ranked.filter((one) => isListed(one, {}))).toEqual(ranked);
});
