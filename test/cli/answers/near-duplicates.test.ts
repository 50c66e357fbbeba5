import { expect, test } from 'bun:test';
import { cosine } from '../../../src/classify/decide.ts';
import { groupNearDuplicates } from '../../../src/cli/answers/near-duplicates.ts';
import { ROUNDING } from '../../../src/cli/answers/similarities.ts';
import { randomEmbedding } from '../index/random-embedding.ts';

const { signal } = new AbortController();
const tellCompared = () => undefined;

function near(embedding: Float32Array, seed: number, distance: number): Float32Array {
  const noise = randomEmbedding(embedding.length, seed);
  const moved = embedding.map((value, index) => value + distance * noise[index]!);
  const length = Math.sqrt(cosine(moved, moved));
  return moved.map((value) => value / length);
}

test('near duplicates are the ones that comparing all numbers finds', async () => {
  const bases = Array.from({ length: 40 }, (_, seed) => randomEmbedding(256, seed + 1));
  const all = bases.flatMap((base, index) => [
    base,
    ...[0, 0.1, 0.19, 0.2, 0.21, 0.5].map((distance, at) => near(base, 100 * index + at + 50, distance)),
  ]);
  for (const minSimilarity of [0.9, 0.98, 0.99999]) {
    const groups = await groupNearDuplicates(all, { minSimilarity, signal, tellCompared });
    // Each picture joins the most similar of the earlier first ones.
    const firsts: number[][] = [];
    for (const [place, embedding] of all.entries()) {
      const close = firsts
        .map((members) => ({ members, similarity: cosine(all[members[0]!]!, embedding) }))
        .filter(({ similarity }) => similarity >= minSimilarity - ROUNDING)
        .sort((a, b) => b.similarity - a.similarity);
      if (close[0]) close[0].members.push(place);
      else firsts.push([place]);
    }
    expect(groups.map((members) => members.map(({ place }) => place))).toEqual(
      firsts.filter(({ length }) => length > 1),
    );
    expect(groups.length).toBe(40);
  }
});

test('a picture that cannot be used is in no group', async () => {
  const [one] = [randomEmbedding(8, 1)];
  const groups = await groupNearDuplicates([one, undefined, one], { minSimilarity: 1, signal, tellCompared });
  expect(groups).toEqual([
    [
      { place: 0, similarity: 1 },
      { place: 2, similarity: expect.closeTo(1, 6) },
    ],
  ]);
});
