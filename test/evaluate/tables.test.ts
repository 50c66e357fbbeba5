import { describe, expect, test } from 'bun:test';
import * as v from 'valibot';
import { fits } from '../../src/contract/options.ts';
import type { PhotoAnswer } from '../../src/evaluate/answer-photos.ts';
import { type Asked, createReport } from '../../src/evaluate/create-report.ts';
import { reportSchema } from '../../src/evaluate/report.ts';
import { tablesOf } from '../../src/evaluate/tables.ts';
import type { Precision } from '../../src/precision.ts';
import { randomNumbers } from '../bench/random-numbers.ts';

const labels = Array.from({ length: 14 }, (_, place) => `category ${place} with a long name 猫猫猫猫猫猫`);
const photos = Array.from({ length: 3000 }, (_, index) => ({
  file: { path: `sorted/${index}.jpg`, isNamed: false },
  category: index % 15 === 14 ? null : (labels[index % 15] ?? null),
}));
const templates = ['none', 'photo', 'an etching of a {} in the style of the old masters'];
const next = randomNumbers(7);

/** Mostly right answers. */
function answersAt(precision: Precision, fit: Asked['fit'], template: string): Asked {
  const answers = photos.map(({ file }, index): [string, PhotoAnswer] => {
    const right = index % 15;
    const best = next() < 0.4 ? right % 14 : (right + 3) % 14;
    const others = (next() + 1) / 2;
    return [file.path, { best, ranked: [best, 0, 1, 2, 4], plain: others ** 0.01, others }];
  });
  return { precision, fit, template, answers: new Map(answers), synonyms: [] };
}

const asked = (['int8', 'fp32'] as const).flatMap((precision) =>
  fits.flatMap((fit) => templates.map((template) => answersAt(precision, fit, template))),
);

const report = createReport({
  folder: 'sorted',
  model: { name: 'ViT-B/32', sha256: 'a'.repeat(64) },
  served: 'int8',
  precisionNote: null,
  labels,
  photos,
  asked,
  passes: [],
  unreadable: [{ file: 'x.jpg', code: 'image_broken', error: 'It is broken.' }],
  maxWrong: 0.125,
});
const lines = tablesOf(report).split('\n');

describe('the tables', () => {
  test('have at most 80 columns, with everything that they can show', () => {
    expect(lines.filter((line) => Bun.stringWidth(line) > 80)).toEqual([]);
    const head = lines.find((line) => line.startsWith('fit '));
    expect(head).toMatch(/^fit +template +int8 +95 % +top 5 +fp32 +95 % +top 5$/);
    expect(lines).toContainEqual(expect.stringMatching(/^plain {3}≤ 12\.5 % wrong +/));
  });

  test('show ten categories, those with the most wrong answers first', () => {
    const start = lines.findIndex((line) => line.startsWith('By category, '));
    expect(lines[start]).toStartWith('By category, int8, fit ');
    const head = lines.findIndex((line) => line.startsWith('category '));
    expect(lines.slice(start, head).join(' ')).toEndWith(': the 10 with the most wrong answers');
    const rows = lines.slice(head + 1, head + 11);
    const wrong = rows.map((row) => {
      const [, all = '', right = ''] = /… +(\d+) +(\d+) +\d+\.\d %/.exec(row) ?? [];
      return Number(all) - Number(right);
    });
    expect(wrong).toEqual(wrong.toSorted((a, b) => b - a));
    expect(lines[head + 11]).toStartWith('(no category)');
  });

  test('come from a report that follows its schema', () => {
    expect(v.safeParse(v.strictObject(reportSchema.entries), report).success).toBe(true);
    expect(report).toMatchObject({ photos: 2800, none_photos: 200 });
  });

  test('name files without control characters', () => {
    const [wrong] = report.wrong.filter(({ category }) => category !== null);
    const text = tablesOf({ ...report, wrong: [{ ...wrong!, file: 'a\u001b[2Jb.jpg' }] });
    expect(text).toContain('  a\\u001b[2Jb.jpg: ');
  });
});
