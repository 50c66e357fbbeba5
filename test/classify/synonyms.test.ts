import { describe, expect, test } from 'bun:test';
import { SYNONYM_COSINE } from '../../src/classify/decide.ts';
import { findSynonyms } from '../../src/classify/synonyms.ts';
import { runInTurns } from '../../src/turns.ts';

/** In turns, as the service does. */
const synonymsOf = (labels: readonly string[], embeddings: readonly Float32Array[], signal?: AbortSignal) =>
  runInTurns(findSynonyms(labels, embeddings), signal);

/** [64] at an angle from the first axis, towards another one. */
function vector(angle: number, axis = 1): Float32Array {
  const numbers = new Float32Array(64);
  numbers[0] = Math.cos(angle);
  numbers[axis] = Math.sin(angle);
  return numbers;
}

/** Of two vectors on one plane. */
const angleOf = (cosine: number) => Math.acos(cosine);

describe('categories that mean almost the same', () => {
  test('are found above the limit only, the most similar first, with a sentence', async () => {
    const labels = ['dog', 'a dog', 'puppy', 'car'];
    const embeddings = [
      vector(0),
      vector(angleOf(0.995)),
      vector(-angleOf(SYNONYM_COSINE + 0.001), 1),
      vector(Math.PI / 2, 60),
    ];
    const found = await synonymsOf(labels, embeddings);
    expect(found.map(({ categories }) => categories)).toEqual([
      ['dog', 'a dog'],
      ['dog', 'puppy'],
    ]);
    expect(found[0]?.similarity).toBeCloseTo(0.995, 6);
    expect(found[0]?.warning).toBe(
      '"dog" and "a dog" mean almost the same to the model (cosine 0.995), so they share one score. Leave one of them out, or make them phrases of one category.',
    );
    const below = [vector(0), vector(angleOf(SYNONYM_COSINE - 0.001))];
    expect(await synonymsOf(['a', 'b'], below)).toEqual([]);
  });

  test('are at most ten pairs, whatever is sent', async () => {
    const labels = Array.from({ length: 300 }, (_, index) => `label ${index} ${'x'.repeat(100)}`);
    const found = await synonymsOf(
      labels,
      labels.map(() => vector(1)),
    );
    expect(found).toHaveLength(10);
    expect(found[0]?.categories).toEqual([labels[0]!, labels[1]!]);
    for (const { warning } of found) expect(warning.length).toBeLessThan(300);
  });

  test('are looked for among 10,000 without blocking, and the search ends with its request', async () => {
    const labels = Array.from({ length: 10_000 }, (_, index) => String(index));
    // All are close to each other, so that each pair is compared in full.
    const embeddings = labels.map((_, index) => vector(0.2 + index / 1e7, 63));
    const request = new AbortController();
    let turns = 0;
    const ticking = setInterval(() => {
      turns += 1;
      if (turns === 3) request.abort(new Error('the client has left'));
    }, 1);
    const searching = synonymsOf(labels, embeddings, request.signal);
    await expect(searching).rejects.toThrow('the client has left');
    clearInterval(ticking);
    expect(turns).toBe(3);
  });

  test('are none of no categories', async () => {
    expect(await synonymsOf([], [])).toEqual([]);
    expect(await synonymsOf(['a'], [vector(0)])).toEqual([]);
  });
});
