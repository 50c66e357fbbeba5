import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { cosine, joinTiles, similarityOf, tilesOf } from '../../src/classify/decide.ts';
import { ServiceError } from '../../src/errors.ts';
import { embeddingOf, pictureOf, tiledClassifier } from './tiled-classifier.ts';

const stay = { signal: new AbortController().signal };
const bytesOf = (...words: string[]) => new TextEncoder().encode(pictureOf(...words));
const labels = { labels: ['red', 'green', 'blue'] };

describe('the similarity with a picture', () => {
  const unit = fc
    .array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 5, maxLength: 5 })
    .filter((numbers) => Math.hypot(...numbers) > 0.1)
    .map((numbers) => Float32Array.from(numbers, (value) => value / Math.hypot(...numbers)));

  test('of several tiles is that of the best one, in either order', () => {
    fc.assert(
      fc.property(unit, fc.array(unit, { minLength: 1, maxLength: 8 }), (text, tiles) => {
        const picture = joinTiles(tiles);
        const best = Math.max(...tiles.map((tile) => cosine(text, tile)));
        expect(similarityOf(text, picture)).toBe(best);
        expect(similarityOf(picture, text)).toBe(best);
        expect(tilesOf(picture, 5)).toEqual(tiles);
      }),
    );
  });

  test('refuses numbers that are not tiles', () => {
    expect(() => similarityOf(new Float32Array(3), new Float32Array(5))).toThrow('embeddings of 3 and 5');
    expect(() => similarityOf(new Float32Array(0), new Float32Array(5))).toThrow('embeddings of 0 and 5');
  });
});

describe('pictures in tiles', () => {
  test('are found by what is at their edge, which the crop misses', async () => {
    const { classifier } = tiledClassifier();
    const answers: unknown[] = [];
    for (const fit of ['crop', 'tiles'] as const) {
      const collection = classifier.collect(stay, { fit });
      await collection.add('a.gif', bytesOf('red', 'none', 'none'));
      const [ranking] = await collection.rankCategories(labels, {});
      const [red] = await collection.rankFiles({ labels: ['red'] }, {});
      answers.push([
        ranking?.candidates[0]?.similarity.toFixed(2),
        red?.candidates[0]?.similarity.toFixed(2),
      ]);
    }
    expect(answers).toEqual([
      ['0.68', '0.68'],
      ['1.00', '1.00'],
    ]);
  });

  test('have an embedding for each, in their order, and memory for the further ones is counted', async () => {
    const { classifier } = tiledClassifier();
    const kept: number[] = [];
    const collection = classifier.collect(stay, { fit: 'tiles', onTiles: (bytes) => kept.push(bytes) });
    await collection.add('a.gif', bytesOf('red', 'green', 'blue'));
    await collection.add('b.gif', bytesOf('green'));
    const embeddings = await collection.embeddings();
    expect(embeddings.map(({ embedding }) => tilesOf(embedding, 3))).toEqual([
      [embeddingOf('red'), embeddingOf('green'), embeddingOf('blue')],
      [embeddingOf('green')],
    ]);
    expect(kept).toEqual([2 * 3 * 4]);
  });

  test('have one thumbnail: all that the model has looked at', async () => {
    const { classifier, seen } = tiledClassifier();
    for (const fit of ['tiles', 'whole'] as const) {
      const collection = classifier.collect(stay, { fit, onThumbnail: () => undefined });
      await collection.add('a.gif', bytesOf('red', 'green', 'blue'));
      expect(await collection.thumbnails()).toHaveLength(1);
    }
    expect(seen.thumbnails).toEqual([
      [3, 1],
      [1, 1],
    ]);
  });

  // 16 slots; each picture needs eight.
  test.each([1, 100])(
    'of many requests at a time do not wait for each other’s slots, with memory for %d of them',
    async (pictures) => {
      const { classifier, seen } = tiledClassifier({ tiledBytes: pictures * 2 * 8 * 3 });
      const eight = ['red', 'green', 'blue', 'red', 'green', 'blue', 'red', 'green'];
      const requests = Array.from({ length: 40 }, async (_, request) => {
        const fit = request % 4 === 0 ? 'crop' : 'tiles';
        const collection = classifier.collect(stay, { fit });
        const adding = Array.from({ length: 5 }, (__, at) =>
          collection.add(`${at}.gif`, bytesOf(...eight.slice(0, 1 + ((request + at) % 8)))),
        );
        await Promise.all(adding);
        return (await collection.embeddings()).length;
      });
      expect(await Promise.all(requests)).toEqual(Array(40).fill(5));
      expect(seen.loaded).toBe(200);
      // Those that are cropped come in addition.
      if (pictures === 1) expect(seen.mostAtOnce).toBeLessThanOrEqual(1 + 16);
    },
  );

  test('of a request that ends give their memory back', async () => {
    const { classifier } = tiledClassifier({ tiledBytes: 1 });
    for (let round = 0; round < 20; round++) {
      const leaving = new AbortController();
      const collection = classifier.collect({ signal: leaving.signal }, { fit: 'tiles' });
      await collection.add('a.gif', bytesOf('red', 'green', 'blue', 'red'));
      const waiting = collection.add('b.gif', bytesOf('red', 'green'));
      waiting.catch(() => undefined);
      leaving.abort(new Error('the client left'));
      await expect(collection.embeddings()).rejects.toThrow('the client left');
    }
    const collection = classifier.collect(stay, { fit: 'tiles' });
    await collection.add('c.gif', bytesOf('red', 'broken'));
    await collection.add('d.gif', bytesOf('red', 'green'));
    expect(await collection.broken()).toHaveLength(1);
    expect(await collection.embeddings()).toHaveLength(1);
  });

  test('for whose embeddings there is no memory end the request', async () => {
    const { classifier } = tiledClassifier();
    const onTiles = () => {
      throw new ServiceError('overloaded', 'The memory is full.');
    };
    const collection = classifier.collect(stay, { fit: 'tiles', onTiles });
    await collection.add('a.gif', bytesOf('red'));
    await collection.add('b.gif', bytesOf('red', 'green'));
    await expect(collection.embeddings()).rejects.toThrow('The memory is full.');
  });

  test('are ranked to the bit as their embeddings are', async () => {
    const { classifier } = tiledClassifier();
    const pictures = classifier.collect(stay, { fit: 'tiles' });
    await pictures.add('a.gif', bytesOf('red', 'green'));
    await pictures.add('b.gif', bytesOf('blue', 'none', 'none'));
    const known = classifier.collect(stay);
    for (const { file, embedding } of await pictures.embeddings()) {
      expect(known.addEmbedding(file, tilesOf(embedding, 3))).toEqual(embedding);
    }
    expect(await known.rankCategories(labels, {})).toEqual(
      (await pictures.rankCategories(labels, {})) as never,
    );
    expect(await known.rankFiles(labels, {})).toEqual((await pictures.rankFiles(labels, {})) as never);
  });

  test('are refused by the tile that is not an embedding', () => {
    const collection = tiledClassifier().classifier.collect(stay);
    const tiles = [embeddingOf('red'), new Float32Array(2)];
    expect(() => collection.addEmbedding('a.gif', tiles)).toThrow(
      'has 2 numbers; those of this model have 3',
    );
    expect(collection.names()).toEqual([]);
  });
});
