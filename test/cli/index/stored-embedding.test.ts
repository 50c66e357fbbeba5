import { describe, expect, test } from 'bun:test';
import { cosine, joinTiles } from '../../../src/classify/decide.ts';
import { createEmbeddingCoder } from '../../../src/cli/index/stored-embedding.ts';
import { randomEmbedding } from './random-embedding.ts';

const SALT = 7;

function stored(embedding: Float32Array): Float32Array {
  const coder = createEmbeddingCoder(embedding.length);
  const loaded = new Float32Array(embedding.length);
  expect(coder.load(coder.store(embedding, SALT), SALT, loaded)).toBe(loaded);
  return loaded;
}

describe('an embedding in the form of the index', () => {
  test('takes two bytes a number, and is off by half a step', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const embedding = randomEmbedding(512, seed);
      expect(createEmbeddingCoder(512).store(embedding, SALT).length).toBe(8 + 2 * 512);
      const step = Math.max(...embedding.map(Math.abs)) / 32767;
      const loaded = stored(embedding);
      const off = embedding.map((value, index) => Math.abs(value - loaded[index]!));
      expect(Math.max(...off)).toBeLessThanOrEqual(step * 0.6);
    }
  });

  test('changes a similarity by a few millionths at most, and that with itself not at all', () => {
    const text = randomEmbedding(512, 99);
    for (let seed = 1; seed <= 50; seed++) {
      const embedding = randomEmbedding(512, seed);
      const loaded = stored(embedding);
      expect(Math.abs(cosine(text, embedding) - cosine(text, loaded))).toBeLessThan(8e-6);
      expect(Math.abs(cosine(loaded, loaded) - 1)).toBeLessThan(2e-7);
    }
  });

  test('keeps its bits if it is stored again', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const once = stored(randomEmbedding(512, seed));
      expect(stored(once)).toEqual(once);
    }
  });

  test('may be of zeros, or have one number only', () => {
    expect(stored(new Float32Array(4))).toEqual(new Float32Array(4));
    expect(stored(Float32Array.of(0, -1, 0))[1]).toBeCloseTo(-1, 6);
  });

  test('is not read with any other bit, salt or length', () => {
    const embedding = randomEmbedding(8, 1);
    const coder = createEmbeddingCoder(8);
    const bytes = coder.store(embedding, SALT);
    const target = new Float32Array(8);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(coder.load(damaged, SALT, target)).toBeUndefined();
    }
    expect(coder.load(bytes, SALT + 1, target)).toBeUndefined();
    expect(createEmbeddingCoder(7).load(bytes, SALT, new Float32Array(7))).toBeUndefined();
    expect(coder.load(bytes.subarray(0, -1), SALT, target)).toBeUndefined();
  });

  test('of several tiles is read whole, in its order, or not at all', () => {
    const coder = createEmbeddingCoder(8);
    const tiles = [1, 2, 3].map((seed) => randomEmbedding(8, seed));
    const bytes = coder.store(joinTiles(tiles), SALT);
    const room = new Float32Array(8 * 8);
    expect(coder.load(bytes, SALT, room)).toEqual(joinTiles(tiles.map((tile) => stored(tile))));
    const size = bytes.length / 3;
    const part = (order: number) => bytes.subarray(order * size, (order + 1) * size);
    for (const others of [[0, 1], [1, 2], [0], [0, 2, 1], [0, 1, 2, 2]]) {
      expect(coder.load(Buffer.concat(others.map(part)), SALT, room)).toBeUndefined();
    }
    expect(coder.load(bytes, SALT + 1, room)).toBeUndefined();
    expect(coder.load(new Uint8Array(0), SALT, room)).toBeUndefined();
    // More than any picture of this question has.
    expect(coder.load(bytes, SALT, new Float32Array(2 * 8))).toBeUndefined();
  });
});
