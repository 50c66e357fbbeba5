import { describe, expect, test } from 'bun:test';
import { averageEmbedding } from '../../src/classify/decide.ts';

const vector = (...values: number[]) => Float32Array.of(...values);

describe('the average of embeddings', () => {
  test('takes the mean and normalises it again', () => {
    // The mean of (1, 0) and (0.28, 0.96) is (0.64, 0.48), of length 0.8.
    const average = averageEmbedding([vector(1, 0), vector(0.28, 0.96)]);
    expect(average).toBeInstanceOf(Float32Array);
    expect([...average]).toEqual([expect.closeTo(0.8, 6), expect.closeTo(0.6, 6)]);
  });

  test('leaves a single embedding as it is, to the bit', () => {
    const embedding = vector(0.6000001, 0.8);
    expect(averageEmbedding([embedding])).toEqual(embedding);
  });

  test('becomes zeros, never NaN, where embeddings cancel out', () => {
    expect(averageEmbedding([vector(1, 0), vector(-1, 0)])).toEqual(vector(0, 0));
  });

  test('refuses to average nothing', () => {
    expect(() => averageEmbedding([])).toThrow('no embeddings');
  });
});
