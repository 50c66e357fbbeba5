import { describe, expect, test } from 'bun:test';
import type { PhotoAnswer } from '../../src/evaluate/answer-photos.ts';
import { measure } from '../../src/evaluate/measure.ts';
import { type Measured, recommend } from '../../src/evaluate/recommend.ts';
import type { Precision } from '../../src/precision.ts';

const PHOTOS = 40;
const truth = { labels: ['cat', 'dog'], categoryOf: Array.from({ length: PHOTOS }, (_, photo) => photo % 2) };

interface Way {
  readonly precision?: Precision;
  readonly fit?: string;
  readonly template?: string;
  /** The first photos are answered wrongly. */
  readonly wrong: number;
  readonly isCostly?: boolean;
  /** Of each answer; wrong ones have 0.4. */
  readonly score?: number;
}

function measured(way: Way): Measured {
  const { precision = 'int8', fit = 'crop', template = 'none', wrong, isCostly = false, score = 0.9 } = way;
  const answers = truth.categoryOf.map((category, photo): PhotoAnswer => {
    const isWrong = photo < wrong;
    const best = isWrong ? 1 - category : category;
    return { best, ranked: [best], plain: isWrong ? 0.4 : score, others: isWrong ? 0.4 : score };
  });
  return { result: { precision, fit, template, ...measure(answers, truth, 0.05) }, answers, isCostly };
}

const recommended = (...ways: readonly Way[]) => {
  const { at: _, ...found } = recommend(ways.map(measured), truth);
  return found;
};

describe('the recommended options', () => {
  test('are the defaults if nothing is better', () => {
    const found = recommended({ wrong: 1 }, { template: 'photo', wrong: 1 });
    expect(found).toMatchObject({ template: 'none', options: [], settings: [], p_value: null });
  });

  test('have the template with the most right answers', () => {
    const found = recommended(
      { wrong: 2 },
      { template: 'photo', wrong: 1 },
      { template: 'ensemble', wrong: 1 },
    );
    expect(found).toMatchObject({ template: 'photo', default_right: 38, p_value: 1 });
    expect(found.options).toEqual(['--template', 'photo']);
  });

  test('have a costly fit only if chance does not explain the difference', () => {
    const slightly = recommended({ wrong: 6 }, { fit: 'tiles', wrong: 1, isCostly: true });
    expect(slightly.fit).toBe('crop');
    const clearly = recommended({ wrong: 6 }, { fit: 'tiles', wrong: 0, isCostly: true });
    expect(clearly).toMatchObject({ fit: 'tiles', p_value: expect.closeTo(2 / 64, 12) });
  });

  test('have another precision only if chance does not explain the difference', () => {
    expect(recommended({ wrong: 5 }, { precision: 'fp32', wrong: 0 }).settings).toEqual([]);
    expect(recommended({ wrong: 6 }, { precision: 'fp32', wrong: 0 })).toMatchObject({
      precision: 'fp32',
      settings: ['CLIP_PRECISION=fp32'],
    });
  });

  test('have a threshold that limits wrong answers', () => {
    const found = recommended({ wrong: 8 });
    expect(found).toMatchObject({ rule: 'max_wrong', right: 32, wrong: 0, unanswered: 8, others: false });
    expect(found.options).toEqual(['--threshold', String(found.threshold)]);
  });

  test('have the threshold of the best balance if the limit costs most right answers', () => {
    // Wrong answers have higher scores than right ones.
    expect(recommended({ wrong: 8, score: 0.3 })).toMatchObject({ rule: 'f1', threshold: 0, right: 32 });
  });
});
