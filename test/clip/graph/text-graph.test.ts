import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { tinyArchitecture } from './architectures.ts';
import { compileAndOpen, type Encoders } from './compiled.ts';
import { randomCheckpoint } from './random-checkpoint.ts';
import { dot } from './reference-forward.ts';

describe('the text graph', () => {
  const START = 62;
  const END = 63;
  let encoders: Encoders;
  beforeAll(async () => {
    encoders = await compileAndOpen(randomCheckpoint(tinyArchitecture, 5));
  });
  afterAll(() => encoders[Symbol.asyncDispose]());

  const encode = async (ids: readonly number[]): Promise<Float32Array> => {
    const [embedding] = await encoders.encodeTexts([ids]);
    if (!embedding) throw new Error('no embedding');
    return embedding;
  };

  test('gives the same embedding without the padding that the reference needs', async () => {
    const short = await encode([START, 7, 9, END]);
    const padded = await encode([START, 7, 9, END, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(dot(short, padded)).toBeCloseTo(1, 6);
  });

  test('reads at the first end token, whatever follows it', async () => {
    const [first, second] = await encoders.encodeTexts([
      [START, 7, END, 9, 11, END],
      [START, 7, END, 3, END, 5],
    ]);
    expect(first).toEqual(second);
    expect(dot(first ?? [], await encode([START, 7, 9, 9, 11, END]))).toBeLessThan(0.9999);
  });

  test('lets every token before the end token count, in its order', async () => {
    const embedding = await encode([START, 7, 9, END]);
    expect(dot(embedding, await encode([START, 9, 7, END]))).toBeLessThan(0.9999);
    expect(dot(embedding, await encode([START, 8, 9, END]))).toBeLessThan(0.9999);
  });

  test('takes as many tokens as the context has, and no more', async () => {
    const full = Array.from({ length: tinyArchitecture.text.contextLength }, (_, index) => index);
    expect(await encode(full)).toHaveLength(tinyArchitecture.embeddingDimension);
    await expect(encode([...full, END])).rejects.toThrow();
  });

  test('gives embeddings of length 1', async () => {
    const embedding = await encode([START, 1, 2, 3, END]);
    expect(dot(embedding, embedding)).toBeCloseTo(1, 6);
  });
});
