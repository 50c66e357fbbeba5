import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { joinTiles } from '../../src/classify/decide.ts';
import type { Rules } from '../../src/contract/options.ts';
import {
  answerTo,
  bestPhotos,
  groupByCategory,
  mayChange,
  nearestPhotos,
  type Photo,
  rankingOf,
  strengthOf,
  synonymsOf,
} from '../../src/page/results/photo.ts';
import { askedFor, embeddedPhoto, newPhoto, paths } from './photos.ts';

const asked = askedFor(['cat', 'dog', 'bird']);
const rules: Rules = { others: true };

describe('the answer for a photo', () => {
  test('is computed from the embeddings: similarity, and the score against the background', () => {
    const answer = answerTo(embeddedPhoto(0, [0.5, 0.7, 0.1], 0.5), asked)!;
    expect(rankingOf(answer).map(({ label }) => label)).toEqual([1, 0, 2]);
    expect(answer.best).toBe(1);
    expect(answer.similarities[1]).toBeCloseTo(0.7);
    expect(answer.scores[0]).toBeCloseTo(0.5);
    expect(answer.scores[1]).toBeCloseTo(1 / (1 + Math.exp(-2)));
  });

  test('takes the part of the photo that fits best, for the background, too', () => {
    const photo = embeddedPhoto(0, [0.2, 0.3, 0], 0.1);
    const embedding = joinTiles([photo.embedding!.embedding, Float32Array.from([0.6, 0, 0, 0.4])]);
    const answer = answerTo({ ...photo, embedding: { ...photo.embedding!, embedding } }, asked)!;
    expect(answer.similarities[0]).toBeCloseTo(0.6);
    expect(answer.similarities[1]).toBeCloseTo(0.3);
    expect(answer.scores[0]).toBeCloseTo(1 / (1 + Math.exp(-2)));
  });

  test('needs embeddings of the same model', () => {
    expect(answerTo(newPhoto(0), asked)).toBeUndefined();
    expect(answerTo(embeddedPhoto(0, [1, 0, 0]), { ...asked, origin: 'another' })).toBeUndefined();
  });
});

describe('photos by category', () => {
  const photos = [
    embeddedPhoto(0, [0.6, 0.3, 0.1]),
    embeddedPhoto(1, [0.1, 0.9, 0]),
    embeddedPhoto(2, [0.8, 0.7, 0.1]),
    { ...newPhoto(3), fault: { code: 'image_broken', sentence: 'Cut off.' } },
    newPhoto(4),
    embeddedPhoto(5, [0.4, 0.3, 0.1]),
  ];

  test('each stands where it fits best, the most similar first; what fits no word is unsure', () => {
    const { groups, unsure, broken, waiting } = groupByCategory(photos, asked, rules);
    expect(groups.map(paths)).toEqual([['2.jpg', '0.jpg'], ['1.jpg'], []]);
    expect(paths(unsure)).toEqual(['5.jpg']);
    expect(paths(broken)).toEqual(['3.jpg']);
    expect(paths(waiting)).toEqual(['4.jpg']);
  });

  test('a stricter threshold makes more unsure, the loosest none', () => {
    expect(paths(groupByCategory(photos, asked, { ...rules, threshold: 0.9 }).unsure)).toEqual([
      '0.jpg',
      '5.jpg',
    ]);
    expect(groupByCategory(photos, asked, { ...rules, threshold: 0 }).unsure).toEqual([]);
  });

  test('with several, a photo stands in each group that it fits', () => {
    const { groups } = groupByCategory(photos, asked, { ...rules, several: true });
    expect(groups.map(paths)).toEqual([['2.jpg', '0.jpg'], ['1.jpg', '2.jpg'], []]);
  });

  test('a photo that was moved stands where a person put it, as long as that category is asked for', () => {
    const moved: Photo[] = [
      { ...embeddedPhoto(0, [0.9, 0, 0]), moved: 'bird' },
      { ...embeddedPhoto(1, [0.9, 0, 0]), moved: null },
      { ...embeddedPhoto(2, [0.9, 0, 0]), moved: 'fish' },
    ];
    for (const several of [false, true]) {
      const { groups, unsure } = groupByCategory(moved, asked, { ...rules, several });
      expect(groups.map(paths)).toEqual([['2.jpg'], [], ['0.jpg']]);
      expect(paths(unsure)).toEqual(['1.jpg']);
    }
  });

  test('without a question, all usable photos wait', () => {
    expect(paths(groupByCategory(photos, undefined, rules).waiting)).toHaveLength(5);
  });

  test('every photo is in exactly one place', () => {
    const similarities = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(similarities), fc.double({ min: 0, max: 1, noNaN: true }), (all, threshold) => {
        const some = all.map((one, id) => embeddedPhoto(id, one));
        const { groups, unsure } = groupByCategory(some, asked, { ...rules, threshold });
        const seen = [...groups.flat(), ...unsure].map(({ id }) => id);
        expect(seen.sort((a, b) => a - b)).toEqual([...some.keys()]);
      }),
    );
  });

  test('a thousand photos and twenty categories are sorted while a person types', () => {
    const size = 512;
    const random = (seed: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(seed * 997 + i));
    const big = {
      ...askedFor(Array.from({ length: 20 }, (_, place) => `${place}`)),
      embeddings: Array.from({ length: 20 }, (_, place) => random(place)),
      background: Array.from({ length: 5 }, (_, place) => random(place + 50)),
    };
    const many = Array.from({ length: 1000 }, (_, id): Photo => {
      const photo = embeddedPhoto(id, []);
      return { ...photo, embedding: { ...photo.embedding!, embedding: random(id + 100) } };
    });
    const before = process.cpuUsage();
    const { groups, unsure } = groupByCategory(many, big, rules);
    const { user } = process.cpuUsage(before);
    console.log(`1,000 photos by 20 categories: ${Math.round(user / 1000)} ms of CPU time`);
    expect(groups.flat().length + unsure.length).toBe(1000);
  });
});

describe('the best photos of each category', () => {
  test('are ranked by similarity, equal ones in the order given', () => {
    const photos = [
      embeddedPhoto(0, [0.5, 0.5, 0], 0),
      embeddedPhoto(1, [0.7, 0.2, 0.1], 0),
      embeddedPhoto(2, [0.7, 0.3, 0], 0),
    ];
    expect(bestPhotos(photos, asked, 2, { threshold: 0 }).map(paths)).toEqual([
      ['1.jpg', '2.jpg'],
      ['0.jpg', '2.jpg'],
      ['1.jpg', '0.jpg'],
    ]);
  });

  test('need the score that counts; those that just miss it are the nearest', () => {
    const photos = [embeddedPhoto(0, [0.4, 0.6, 0]), embeddedPhoto(1, [0.7, 0, 0]), newPhoto(2)];
    const best = bestPhotos(photos, asked, 3, rules);
    expect(best.map(paths)).toEqual([['1.jpg'], ['0.jpg'], []]);
    expect(paths(nearestPhotos(photos, asked, { label: 0, group: best[0]!, count: 5 }))).toEqual(['0.jpg']);
  });
});

describe('what the page says about an answer', () => {
  test('a photo at the threshold is weak, a clear one is strong', () => {
    expect(strengthOf({ score: 0.5 }, rules)).toBe(0);
    expect(strengthOf({ score: 0.999 }, rules)).toBe(1);
    expect(strengthOf({ score: 0.8 }, rules)).toBeGreaterThan(strengthOf({ score: 0.7 }, rules));
    expect(strengthOf({ score: 0.8 }, { others: true, threshold: 0.8 })).toBe(0);
    expect(strengthOf({ score: 0 }, { others: true, threshold: 0 })).toBe(0);
    expect(strengthOf({ score: 1 }, { others: true, threshold: 1 })).toBeGreaterThanOrEqual(0);
  });

  test('words of one meaning are named', () => {
    const alike = {
      ...asked,
      embeddings: [asked.embeddings[0]!, asked.embeddings[0]!, asked.embeddings[1]!],
    };
    expect(synonymsOf(alike)).toEqual([
      {
        categories: ['cat', 'dog'],
        similarity: expect.closeTo(1),
        warning: expect.stringMatching(/^"cat" and "dog" mean almost the same/),
      },
    ]);
    expect(synonymsOf(alike)).toBe(synonymsOf(alike));
    expect(synonymsOf(asked)).toEqual([]);
  });

  test.each([
    ['image_broken', false],
    ['image_unsupported', false],
    ['internal', true],
    ['unreadable', true],
    ['unanswered', true],
  ])('a file with the fault %s can be tried again: %j', (code, expected) => {
    expect(mayChange({ code, sentence: '' })).toBe(expected);
  });
});
