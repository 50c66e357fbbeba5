import { describe, expect, test } from 'bun:test';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { csvText, photosCsv, photosJson, videoCsv, videoJson } from '../../src/page/results/export.ts';
import { askedFor, embeddedPhoto, newPhoto } from './photos.ts';
import { videoDetails } from './video-details.ts';

const asked = { ...askedFor(['cat', 'dog']), template: 'photo' };
const results = {
  photos: [
    embeddedPhoto(0, [0.75, 0.25]),
    embeddedPhoto(1, [0.5, 0.25], 0.75),
    { ...embeddedPhoto(2, [0.75, 0.25]), moved: 'dog' },
    { ...newPhoto(3), fault: { code: 'image_broken', sentence: 'Cut off.' } },
    newPhoto(4),
  ],
  asked,
  model: 'demo',
  rules: { others: true, threshold: 0.6 },
};
const high = Number((1 / (1 + Math.exp(-2.5))).toPrecision(7));
const low = Number((1 / (1 + Math.exp(2.5))).toPrecision(7));
const lowest = Number((1 / (1 + Math.exp(5))).toPrecision(7));
const read = (csv: string): unknown => parse(csv, { bom: true });

/** Scores are stored in single precision. */
const near = (value: number) => expect.closeTo(value, 6);

describe('photos that are saved', () => {
  test('as JSON: the groups of the page, the corrections, the scores, the best photos, the faults', () => {
    const sure = [
      { category: 'cat', score: near(high), similarity: 0.75 },
      { category: 'dog', score: near(low), similarity: 0.25 },
    ];
    expect(JSON.parse(photosJson(results))).toEqual({
      model: 'demo',
      template: 'photo',
      others: true,
      threshold: 0.6,
      results: [
        { file: '0.jpg', category: 'cat', scores: sure },
        {
          file: '1.jpg',
          category: null,
          scores: [
            { category: 'cat', score: near(low), similarity: 0.5 },
            { category: 'dog', score: near(lowest), similarity: 0.25 },
          ],
        },
        { file: '2.jpg', category: 'dog', moved: true, scores: sure },
      ],
      best: [
        {
          category: 'cat',
          photos: [
            { file: '0.jpg', score: near(high), similarity: 0.75 },
            { file: '2.jpg', score: near(high), similarity: 0.75 },
          ],
        },
        { category: 'dog', photos: [] },
      ],
      warnings: [],
      errors: [{ file: '3.jpg', code: 'image_broken', error: 'Cut off.' }],
    });
  });

  test('as JSON: with several groups, all of them', () => {
    const photos = [embeddedPhoto(0, [0.7, 0.8]), embeddedPhoto(1, [0, 0])];
    const rules = { others: true, several: true, threshold: 0.5 };
    expect(JSON.parse(photosJson({ ...results, photos, rules })).results).toEqual([
      expect.objectContaining({ file: '0.jpg', categories: ['dog', 'cat'] }),
      expect.objectContaining({ file: '1.jpg', categories: [] }),
    ]);
  });

  test('as JSON: with the warnings', () => {
    const [photo] = results.photos;
    const cut = { ...photo!, embedding: { ...photo!.embedding!, warning: 'It is cut off.' } };
    expect(JSON.parse(photosJson({ ...results, photos: [cut] })).warnings).toEqual([
      { file: '0.jpg', warning: 'It is cut off.' },
    ]);
  });

  test('as CSV: one line a photo', () => {
    expect(read(photosCsv(results))).toEqual([
      ['file', 'category', 'score', 'similarity', 'moved', 'error'],
      ['0.jpg', 'cat', expect.stringMatching(/^0\.924/), '0.75', '', ''],
      ['2.jpg', 'dog', expect.stringMatching(/^0\.0758/), '0.25', 'yes', ''],
      ['1.jpg', '', expect.stringMatching(/^0\.0758/), '0.5', '', ''],
      ['3.jpg', '', '', '', '', 'Cut off.'],
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
