import { describe, expect, test } from 'bun:test';
import { basename } from 'node:path';
import type { Question } from '../../../src/cli/answers/answers.ts';
import { createEmbeddingAnswers } from '../../../src/cli/answers/embedding-answers.ts';
import { createEngineAnswers } from '../../../src/cli/answers/engine-answers.ts';
import { createServerAnswers } from '../../../src/cli/answers/server-answers.ts';
import { createServerClient } from '../../../src/cli/answers/server-client.ts';
import { openServerEmbedder } from '../../../src/cli/answers/server-embedder.ts';
import { openIndex } from '../../../src/cli/index/photo-index.ts';
import type { Fit } from '../../../src/contract/options.ts';
import { pictureOf, tiledClassifier } from '../../classify/tiled-classifier.ts';
import { start } from '../../http/harness.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const { signal } = new AbortController();
const tell = () => undefined;
const questionOf = (fit: Fit): Question => ({
  categories: { labels: ['red', 'green', 'blue'] },
  fit,
  top_k: 3,
});
const options = (fit: Fit) => ({ question: questionOf(fit), maxImageBytes: 1000, signal });
const maxima = { limit: 10, minSimilarity: -1 };

/** A folder of pictures whose squares have these colours. */
async function photosOf(colours: Readonly<Record<string, readonly string[]>>) {
  const folder = await temporaryFolder();
  for (const [name, words] of Object.entries(colours)) await folder.write({ [name]: pictureOf(...words) });
  const files = Object.keys(colours).map((name) => ({ path: folder.at(name), isNamed: false }));
  const nameOf = (path: string) => basename(path);
  return { folder, files, nameOf, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const colours = {
  '1.gif': ['red', 'none', 'none', 'none'],
  '2.gif': ['none', 'green'],
  '3.gif': ['blue'],
  '4.gif': ['red', 'blue'],
};

describe('photos in tiles on the command line', () => {
  test('are remembered with all tiles, apart from other fits, and answered alike', async () => {
    await using photos = await photosOf(colours);
    const { classifier, seen } = tiledClassifier();
    const ask = async (fit: Fit) => {
      const before = seen.loaded;
      const index = await openIndex({ path: photos.folder.at('index'), isNamed: true, note: tell });
      const dispose = async () => index?.[Symbol.dispose]();
      await using answers = await createEngineAnswers(classifier, { ...options(fit), dispose, index });
      const categorized = await Array.fromAsync(answers.categorize(photos.files));
      const best = await answers.best(photos.files, tell);
      const found = await answers.library?.search('red', photos.files, maxima, tell);
      return { encoded: seen.loaded - before, categorized, best, found };
    };
    const first = { crop: await ask('crop'), whole: await ask('whole'), tiles: await ask('tiles') };
    for (const fit of ['crop', 'whole', 'tiles'] as const) {
      expect(first[fit].encoded).toBe(4);
      expect(await ask(fit)).toEqual({ ...first[fit], encoded: 0 });
    }
    const [cropped, tiled] = [first.crop, first.tiles].map(({ categorized }) =>
      categorized.map((one) => (one.kind === 'answered' ? Number(one.similarity.toFixed(2)) : one)),
    );
    // The crop looks at the third of four squares, and at the second of two.
    expect(cropped).toEqual([0.68, 1, 1, 1]);
    expect(tiled).toEqual([1, 1, 1, 1]);
    const names = first.tiles.found?.map(({ file, similarity }) => [
      photos.nameOf(file),
      similarity.toFixed(2),
    ]);
    expect(names?.slice(0, 2)).toEqual([
      ['1.gif', '1.00'],
      ['4.gif', '1.00'],
    ]);
    expect(names?.[2]?.[1]).toBe('0.68');
  });

  test('are answered by a server as here, with and without its embeddings', async () => {
    await using photos = await photosOf(colours);
    const { classifier } = tiledClassifier();
    await using server = start({ engine: { state: 'ready', classifier } });
    const post = createServerClient({
      url: new URL(server.address('/')),
      apiKey: undefined,
      signal,
      note: tell,
      patience: { backOffSeconds: 0.001, busyPauseSeconds: 0.001, attempts: 3 },
    });
    for (const fit of ['crop', 'whole', 'tiles'] as const) {
      const dispose = async () => undefined;
      await using here = await createEngineAnswers(classifier, { ...options(fit), dispose });
      const embedder = await openServerEmbedder({ post, question: questionOf(fit), signal });
      if (!embedder) throw new Error('no embeddings');
      await using there = await createEmbeddingAnswers(embedder, options(fit));
      expect(await Array.fromAsync(there.categorize(photos.files))).toEqual(
        await Array.fromAsync(here.categorize(photos.files)),
      );
      expect(await there.best(photos.files, tell)).toEqual(await here.best(photos.files, tell));
      // Without the rounding of the index.
      const plain = createServerAnswers({ ...options(fit), post });
      const rounded = await Array.fromAsync(here.categorize(photos.files));
      for (const [at, outcome] of (await Array.fromAsync(plain.categorize(photos.files))).entries()) {
        const expected = rounded[at];
        if (outcome.kind !== 'answered' || expected?.kind !== 'answered') throw new Error('not answered');
        expect(outcome.category).toBe(expected.category);
        expect(outcome.similarity).toBeCloseTo(expected.similarity, 4);
      }
    }
  });

  test('are similar by their two tiles that are most alike, and duplicates by all of them', async () => {
    await using photos = await photosOf({
      'a.gif': ['red', 'blue'],
      'b.gif': ['green', 'none', 'red'],
      'c.gif': ['red', 'blue'],
      'd.gif': ['green'],
    });
    const { classifier } = tiledClassifier();
    const dispose = async () => undefined;
    await using answers = await createEngineAnswers(classifier, { ...options('tiles'), dispose });
    const [first] = photos.files;
    if (!first || !answers.library) throw new Error('no photos');
    const similar = await answers.library.similar(first, photos.files, maxima, tell);
    if ('kind' in similar) throw new Error('broken');
    expect(similar.map(({ file, similarity }) => [photos.nameOf(file), similarity.toFixed(2)])).toEqual([
      ['b.gif', '1.00'],
      ['c.gif', '1.00'],
      ['d.gif', '0.20'],
    ]);
    const groups = await answers.library.duplicates(photos.files, 0.98, tell, tell);
    expect(groups.map(({ group, file }) => [group, photos.nameOf(file)])).toEqual([
      [1, 'a.gif'],
      [1, 'c.gif'],
    ]);
  });
});
