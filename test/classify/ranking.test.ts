import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { softmax } from '../../src/classify/decide.ts';
import { rank } from '../../src/classify/ranking.ts';

const vector = (...values: number[]) => Float32Array.of(...values);

describe('rank', () => {
  test('orders by cosine and scores with the softmax of the scaled cosines', () => {
    const candidates = [vector(0, 1), vector(1, 0), vector(-1, 0)];
    // exp(2·0), exp(2·1), exp(2·−1) = 1, 7.389056, 0.135335; their sum is 8.524391
    expect(
      rank(
        vector(1, 0),
        { names: ['across', 'along', 'against'], embeddings: candidates },
        { score: softmax(2) },
      ),
    ).toEqual([
      { name: 'along', score: expect.closeTo(0.866813, 6), similarity: 1 },
      { name: 'across', score: expect.closeTo(0.11731, 6), similarity: 0 },
      { name: 'against', score: expect.closeTo(0.015876, 6), similarity: -1 },
    ]);
  });

  test('multiplies every dimension, also where their number is no multiple of four', () => {
    const subject = vector(0.5, 0.25, 0.5, 0.25, 0.5, 0.125, 0.25);
    const candidate = vector(0.5, 1, -0.5, 0.5, 0.25, 1, -0.5);
    // 0.25 + 0.25 − 0.25 + 0.125 + 0.125 + 0.125 − 0.125
    expect(rank(subject, { names: ['only'], embeddings: [candidate] }, { score: softmax(100) })).toEqual([
      { name: 'only', score: 1, similarity: 0.5 },
    ]);
  });

  test('leaves ties in input order', () => {
    const same = vector(1, 0);
    const names = ['b', 'a', '__proto__', 'c'];
    const candidates = [same, same, same, vector(0, 1)];
    for (const limit of [1, 2, 3, 4, undefined]) {
      const ranking = rank(
        vector(1, 0),
        { names: names, embeddings: candidates },
        { score: softmax(100), limit },
      );
      expect(ranking.map(({ name }) => name)).toEqual(names.slice(0, limit));
    }
  });

  test('does not overflow where a scale makes exponentials larger than a double holds', () => {
    const ranking = rank(
      vector(1, 0),
      { names: ['yes', 'no'], embeddings: [vector(1, 0), vector(-1, 0)] },
      { score: softmax(5000) },
    );
    expect(ranking.map(({ score }) => score)).toEqual([1, 0]);
  });

  test('keeps a cosine within one where rounding carries the product past it', () => {
    // Each component is sqrt(1/3) rounded up to float32: the product is 1.00000006.
    const diagonal = vector(0.577350318, 0.577350318, 0.577350318);
    const opposite = diagonal.map((value) => -value);
    const ranking = rank(
      diagonal,
      { names: ['opposite', 'same'], embeddings: [opposite, diagonal] },
      { score: softmax(100) },
    );
    expect(ranking.map(({ similarity }) => similarity)).toEqual([1, -1]);
  });

  test('has nothing to say about no candidates', () => {
    expect(rank(vector(1, 0), { names: [], embeddings: [] }, { score: softmax(100) })).toEqual([]);
  });

  test('refuses names and embeddings that do not belong together', () => {
    expect(() =>
      rank(vector(1), { names: ['one', 'two'], embeddings: [vector(1)] }, { score: softmax(100) }),
    ).toThrow('2 names for 1 candidates');
    expect(() =>
      rank(vector(1, 0), { names: ['one'], embeddings: [vector(1, 0, 0)] }, { score: softmax(100) }),
    ).toThrow('embeddings of 2 and 3');
  });

  const components = fc.float({ min: -1, max: 1, noNaN: true });
  const rankings = fc.record({
    subject: fc.float32Array({ minLength: 5, maxLength: 5, min: -1, max: 1, noNaN: true }),
    // Few distinct candidates, so that ties are common.
    candidates: fc.array(fc.constantFrom(-1, -0.5, 0, 0.5, 1), { maxLength: 12 }),
    other: components,
    logitScale: fc.constantFrom(1, 14.3, 100),
  });

  test('property: scores sum to one, never rise, and stay the same under a limit', () => {
    fc.assert(
      fc.property(rankings, ({ subject, candidates, other, logitScale }) => {
        const embeddings = candidates.map((value) => vector(value, other, 0, value, -value));
        const names = candidates.map((_, index) => `candidate ${index}`);
        const all = rank(subject, { names: names, embeddings: embeddings }, { score: softmax(logitScale) });
        expect(all.length).toBe(candidates.length);
        if (all.length > 0) expect(all.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 12);
        const order = all.map(({ name }) => names.indexOf(name));
        for (let i = 1; i < all.length; i++) {
          const [before, after] = [all[i - 1]!, all[i]!];
          expect(before.similarity).toBeGreaterThanOrEqual(after.similarity);
          if (before.similarity === after.similarity) expect(order[i - 1]!).toBeLessThan(order[i]!);
        }
        for (let limit = 0; limit <= all.length; limit++) {
          expect(
            rank(subject, { names: names, embeddings: embeddings }, { score: softmax(logitScale), limit }),
          ).toEqual(all.slice(0, limit));
        }
      }),
    );
  });
});
