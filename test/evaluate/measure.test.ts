import { describe, expect, test } from 'bun:test';
import type { Categories, RankingOptions } from '../../src/classify/classifier.ts';
import { softmax } from '../../src/classify/decide.ts';
import { rank } from '../../src/classify/ranking.ts';
import { answerPhotos, type PhotoAnswer } from '../../src/evaluate/answer-photos.ts';
import { compareAnswers, measure } from '../../src/evaluate/measure.ts';

const { signal } = new AbortController();

/** An answer whose best category is `best`. */
const answer = (best: number, score = 0.8, ranked: readonly number[] = [best]): PhotoAnswer => ({
  best,
  ranked,
  plain: score,
  others: score / 2,
});

const labels = ['cat', 'dog', 'fox'];

describe('measuring', () => {
  const truth = { labels, categoryOf: [0, 0, 0, 0, 1, 1, 2, null, null] };
  const answers = [0, 0, 1, 2, 1, 0, 0, 2, 2].map((best, index) => answer(best, 0.9 - index / 100));
  const result = measure(answers, truth, 0.3);

  test('counts right answers of photos that have a category', () => {
    expect(result).toMatchObject({ right: 3, accuracy: 3 / 7, top_5: null });
    expect(result.mean_category_accuracy).toBeCloseTo((2 / 4 + 1 / 2 + 0) / 3, 12);
  });

  test('counts every confusion', () => {
    expect(result.categories).toEqual([
      {
        category: 'cat',
        photos: 4,
        right: 2,
        taken_for: [
          { category: 'dog', photos: 1 },
          { category: 'fox', photos: 1 },
        ],
      },
      { category: 'dog', photos: 2, right: 1, taken_for: [{ category: 'cat', photos: 1 }] },
      { category: 'fox', photos: 1, right: 0, taken_for: [{ category: 'cat', photos: 1 }] },
    ]);
    expect(result.none_taken_for).toEqual([{ category: 'fox', photos: 2 }]);
  });

  test('limits wrong answers, those for photos of no category included', () => {
    const plain = result.thresholds.filter(({ others }) => !others);
    expect(plain.map(({ rule, right, wrong, unanswered }) => [rule, right, wrong, unanswered])).toEqual([
      ['default', 3, 6, 0],
      ['max_wrong', 2, 0, 7],
      ['f1', 3, 2, 4],
    ]);
    expect(plain.map((one) => one.none_unanswered)).toEqual([0, 2, 2]);
    expect(plain[1]?.threshold).toBe(0.885);
    expect(plain[2]?.f1).toBeCloseTo(6 / 12, 12);
  });

  test('uses the default threshold of the background', () => {
    const [byDefault] = result.thresholds.filter(({ others }) => others);
    expect(byDefault).toMatchObject({ threshold: 0.5, right: 0, wrong: 0, unanswered: 9, wrong_share: null });
  });

  test('counts the best five among ten categories or more', () => {
    const ten = Array.from({ length: 10 }, (_, index) => `category ${index}`);
    const five = measure(
      [answer(3, 0.5, [3, 0, 4, 5, 6]), answer(3, 0.5, [3, 4, 5, 6, 7])],
      { labels: ten, categoryOf: [0, 0] },
      0.05,
    );
    expect([five.right, five.top_5?.right]).toEqual([0, 1]);
  });
});

test('answers are compared photo by photo', () => {
  const truth = { labels, categoryOf: [0, 0, 0, 1, null] };
  const before = [0, 0, 1, 1, 0].map((best) => answer(best));
  const after = [0, 1, 0, 2, 1].map((best) => answer(best));
  expect(compareAnswers(before, after, truth)).toEqual({ changed: 4, lost: 2, won: 1, pValue: 1 });
});

describe('answering', () => {
  /** A vector of length 1 in the plane. */
  const at = (degrees: number) => {
    const radians = (degrees * Math.PI) / 180;
    return Float32Array.of(Math.cos(radians), Math.sin(radians));
  };
  const embeddings = [at(0), at(60), at(90)];
  const background = { names: ['object', 'stuff'], embeddings: [at(30), at(180)], logitScale: 10 };
  const classifier = {
    createRanker: async ({ labels: names }: Categories, { limit, ...rules }: RankingOptions) => {
      const ranking = {
        score: softmax(10),
        limit,
        ...(rules.others && { background: { ...background, rules } }),
      };
      return (embedding: Float32Array) => rank(embedding, { names, embeddings }, ranking);
    },
  };

  test('ranks among all categories, and scores against the background, too', async () => {
    const photos = new Map([['photo.jpg', at(10)]]);
    const answers = await answerPhotos(classifier, photos, { categories: { labels } }, { signal });
    const logit = (degrees: number) => Math.exp(10 * Math.cos((degrees * Math.PI) / 180));
    expect([...answers]).toEqual([
      [
        'photo.jpg',
        {
          best: 0,
          ranked: [0, 1, 2],
          plain: expect.closeTo(logit(10) / (logit(10) + logit(50) + logit(80)), 5),
          others: expect.closeTo(logit(10) / (logit(10) + logit(20)), 5),
        },
      ],
    ]);
  });
});
