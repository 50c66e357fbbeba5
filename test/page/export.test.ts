import { describe, expect, test } from 'bun:test';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { csvText, photosCsv, photosJson, videoCsv, videoJson } from '../../src/page/results/export.ts';
import type { Question } from '../../src/page/results/photo.ts';
import { answeredPhoto, newPhoto } from './photos.ts';
import { videoDetails } from './video-details.ts';

const question: Question = { labels: ['cat', 'dog'], template: 'a photo of a {}' };
const results = {
  photos: [
    answeredPhoto(0, question, [0.75, 0.25]),
    answeredPhoto(1, question, [0.5, 0.25]),
    { ...newPhoto(2), fault: { code: 'image_broken', sentence: 'Cut off.' } },
    newPhoto(3),
  ],
  question,
  model: 'demo',
  rules: { threshold: 0.6 },
  topK: 1,
};
const read = (csv: string): unknown => parse(csv, { bom: true });

describe('photos that are saved', () => {
  test('as JSON: the answers with what is shown of them, the best photos, the faults', () => {
    expect(JSON.parse(photosJson(results))).toEqual({
      model: 'demo',
      template: 'a photo of a {}',
      threshold: 0.6,
      results: [
        {
          file: '0.jpg',
          category: 'cat',
          score: 0.75,
          similarity: 0.375,
          scores: [{ category: 'cat', score: 0.75, similarity: 0.375 }],
        },
        {
          file: '1.jpg',
          category: null,
          score: 0.5,
          similarity: 0.25,
          scores: [{ category: 'cat', score: 0.5, similarity: 0.25 }],
        },
      ],
      best: [
        { category: 'cat', photos: [{ file: '0.jpg', score: 0.75, similarity: 0.375 }] },
        { category: 'dog', photos: [] },
      ],
      warnings: [],
      errors: [{ file: '2.jpg', code: 'image_broken', error: 'Cut off.' }],
    });
  });

  test('as JSON: with the warnings', () => {
    const [photo] = results.photos;
    const cut = { ...photo!, answer: { ...photo!.answer!, warning: 'It is cut off.' } };
    expect(JSON.parse(photosJson({ ...results, photos: [cut] })).warnings).toEqual([
      { file: '0.jpg', warning: 'It is cut off.' },
    ]);
  });

  test('as CSV: one line a photo', () => {
    expect(read(photosCsv(results))).toEqual([
      ['file', 'category', 'score', 'similarity', 'error'],
      ['0.jpg', 'cat', '0.75', '0.375', ''],
      ['1.jpg', '', '0.5', '0.25', ''],
      ['2.jpg', '', '', '', 'Cut off.'],
    ]);
  });
});

describe('a video that is saved', () => {
  const saved = { name: 'film.mp4', details: videoDetails, rules: { threshold: 0.3 }, topK: 2 };

  test('as JSON: the frames that are shown, without their pictures', () => {
    const text = videoJson(saved);
    expect(text).not.toContain('/9j/');
    expect(JSON.parse(text)).toMatchObject({
      file: 'film.mp4',
      results: [
        {
          category: 'cat',
          timestamp: 2,
          scores: [{ timestamp: 2 }, { timestamp: 5 }],
          moments: [{ start: 1.5, end: 3 }, { start: 0.5 }],
        },
        { category: 'dog', timestamp: 2 },
        { category: 'bird', timestamp: null },
      ],
    });
  });

  test('as CSV: one line a frame', () => {
    expect(read(videoCsv(saved))).toEqual([
      ['file', 'category', 'seconds', 'score', 'similarity'],
      ['film.mp4', 'cat', '2', '0.6', '0.3'],
      ['film.mp4', 'cat', '5', '0.4', '0.2'],
      ['film.mp4', 'dog', '2', '0.9', '0.4'],
    ]);
  });
});

describe('CSV', () => {
  test('is read back as it was, whatever names hold', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ';', ' ', 'é'), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1 }), (rows) => {
        const named = rows.map(([a, b]) => [`x${a}`, `x${b}`]);
        expect(read(csvText(named))).toEqual(named);
      }),
    );
  });

  test.each(['=1+1', '+1', '-1', '@SUM(A1)'])('%j is no formula for a spreadsheet', (name) => {
    expect(csvText([[name]])).toBe(`\ufeff'${name}\r\n`);
  });
});
