import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { bestPhotos, groupByCategory, type Question } from '../../src/page/results/photo.ts';
import { answeredPhoto, newPhoto, paths } from './photos.ts';

const question: Question = { labels: ['cat', 'dog', 'bird'], template: '' };

describe('photos by category', () => {
  const photos = [
    answeredPhoto(0, question, [0.6, 0.3, 0.1]),
    answeredPhoto(1, question, [0.1, 0.9, 0]),
    answeredPhoto(2, question, [0.8, 0.1, 0.1]),
    { ...newPhoto(3), fault: { code: 'image_broken', sentence: 'Cut off.' } },
    newPhoto(4),
  ];

  test('each stands where its best score is, the clearest first', () => {
    const { groups, empty, undecided, broken, waiting } = groupByCategory(photos, question, {});
    expect(groups.map(({ label, photos }) => [label, paths(photos)])).toEqual([
      [0, ['2.jpg', '0.jpg']],
      [1, ['1.jpg']],
    ]);
    expect(empty).toEqual([2]);
    expect(undecided).toEqual([]);
    expect(paths(broken)).toEqual(['3.jpg']);
    expect(paths(waiting)).toEqual(['4.jpg']);
  });

  test('a score below the threshold decides nothing, one at it does', () => {
    const threshold = Math.fround(0.8);
    const { groups, undecided } = groupByCategory(photos, question, { threshold });
    expect(groups.map(({ photos }) => paths(photos))).toEqual([['2.jpg'], ['1.jpg']]);
    expect(paths(undecided)).toEqual(['0.jpg']);
  });

  test('answers to an earlier question count as none', () => {
    const { groups, waiting } = groupByCategory(photos, { ...question }, {});
    expect(groups).toEqual([]);
    expect(paths(waiting)).toEqual(['0.jpg', '1.jpg', '2.jpg', '4.jpg']);
  });

  test('every photo is in exactly one place', () => {
    const scores = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(scores), fc.double({ min: 0, max: 1, noNaN: true }), (all, threshold) => {
        const some = all.map((one, id) => answeredPhoto(id, question, one));
        const { groups, undecided } = groupByCategory(some, question, { threshold });
        const seen = [...groups.flatMap((group) => group.photos), ...undecided].map(({ id }) => id);
        expect(seen.sort((a, b) => a - b)).toEqual([...some.keys()]);
      }),
    );
  });
});

describe('the best photos of each category', () => {
  test('are ranked by similarity, equal ones in the order given', () => {
    const photos = [
      answeredPhoto(0, question, [0.5, 0.5, 0]),
      answeredPhoto(1, question, [0.7, 0.2, 0.1]),
      answeredPhoto(2, question, [0.7, 0.3, 0]),
    ];
    expect(bestPhotos(photos, question, 2, {}).map(paths)).toEqual([
      ['1.jpg', '2.jpg'],
      ['0.jpg', '2.jpg'],
      ['1.jpg', '0.jpg'],
    ]);
  });

  test('need the least score that counts, and an answer to this question', () => {
    const other: Question = { ...question };
    const photos = [answeredPhoto(0, question, [0.4, 0.6, 0]), answeredPhoto(1, other, [1, 0, 0])];
    expect(bestPhotos(photos, question, 3, { threshold: 0.5 }).map(paths)).toEqual([[], ['0.jpg'], []]);
  });

  test('are the first of the sorted list, however many are asked for', () => {
    const similarities = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 30 });
    fc.assert(
      fc.property(similarities, fc.integer({ min: 1, max: 10 }), (all, count) => {
        const one: Question = { labels: ['cat'], template: '' };
        const photos = all.map((value, id) => answeredPhoto(id, one, [value / 20]));
        const sorted = photos.toSorted((a, b) => b.answer!.scores[0]! - a.answer!.scores[0]!);
        expect(paths(bestPhotos(photos, one, count, {})[0])).toEqual(paths(sorted.slice(0, count))!);
      }),
    );
  });
});
