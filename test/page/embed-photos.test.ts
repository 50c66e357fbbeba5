import { describe, expect, test } from 'bun:test';
import { tilesOf } from '../../src/classify/decide.ts';
import type { Received } from '../../src/contract/client.ts';
import type { Photo } from '../../src/page/results/photo.ts';
import { batchesOf, embedPhotos, type PhotoRun, RunStopped } from '../../src/page/service/embed-photos.ts';
import { newPhoto } from './photos.ts';

const origin = { model: 'fake', sha256: '0', precision: 'fp32', dimension: 2, logit_scale: 100 };
const base64 = (values: readonly number[]) =>
  Buffer.from(Float32Array.from(values).buffer).toString('base64');

const received = (status: number, body: unknown = {}): Received => ({ status, body });

/** Embeddings of all photos but the broken ones: their ids. */
function answer(batch: readonly Photo[], broken: readonly number[] = []): Received {
  const places = batch.map(({ id }, place) => ({ id, file: String(place) }));
  return received(200, {
    ...origin,
    embeddings: places
      .filter(({ id }) => !broken.includes(id))
      .map(({ id, file }) => ({ file, embedding: base64([id, 0.5]) })),
    errors: places
      .filter(({ id }) => broken.includes(id))
      .map(({ file }) => ({ file, code: 'image_broken', error: 'Cut off.' })),
  });
}

/** A run that remembers. */
function start(photos: readonly Photo[], post: (batch: readonly Photo[]) => Received | Promise<Received>) {
  const told = {
    answered: [] as number[],
    faults: [] as string[],
    sent: [] as number[],
    waits: [] as string[],
    pauses: [] as number[],
    sizes: [] as number[],
  };
  const stopping = new AbortController();
  const run: PhotoRun = {
    photos,
    signal: stopping.signal,
    async post(batch, signal, onSent) {
      signal.throwIfAborted();
      told.sizes.push(batch.length);
      onSent(batch.length + 200);
      await Promise.resolve();
      return await post(batch);
    },
    pause: async (seconds) => {
      told.pauses.push(seconds);
    },
    onEmbedding: ({ id }) => told.answered.push(id),
    onFault: ({ id }, { code }) => told.faults.push(`${id} ${code}`),
    onSent: (bytes) => told.sent.push(bytes),
    onOrigin: () => 'origin',
    onWait: ({ code }, seconds) => told.waits.push(`${code} ${seconds}`),
  };
  return { told, stopping, done: embedPhotos(run) };
}

const photosOf = (count: number) => Array.from({ length: count }, (_, id) => newPhoto(id));

describe('batches', () => {
  test('hold at most 32 photos and 64 MiB, in order; what is larger goes alone', () => {
    const item = (bytes: number) => ({ bytes });
    expect(batchesOf(Array.from({ length: 70 }, () => item(1))).map(({ length }) => length)).toEqual([
      32, 32, 6,
    ]);
    const sizes = [60, 10, 70, 1, 1].map((size) => item(size * 1024 ** 2));
    expect(batchesOf(sizes)).toEqual([[sizes[0]!], [sizes[1]!], [sizes[2]!], [sizes[3]!, sizes[4]!]]);
    expect(batchesOf([])).toEqual([]);
  });
});

describe('many photos', () => {
  test('go in batches; every one is answered once', async () => {
    const { told, done } = start(photosOf(100), (batch) => answer(batch));
    await done;
    expect(told.sizes.toSorted()).toEqual([32, 32, 32, 4]);
    expect(told.answered.toSorted((a, b) => a - b)).toEqual([...Array(100).keys()]);
    expect(told.faults).toEqual([]);
    expect(told.sent.at(-1)).toBe(100);
  });

  test('each embedding belongs to its photo; of several parts all do, and the origin is noted', async () => {
    const seen: unknown[] = [];
    await embedPhotos({
      ...silent,
      photos: photosOf(2).toReversed(),
      async post() {
        const embeddings = [
          { file: '1', embedding: base64([1, 2]) },
          { file: '0', embedding: [3, 4], tile: 1, tiles: 2 },
          { file: '0', embedding: base64([5, 6]), tile: 2, tiles: 2 },
        ];
        return received(200, { ...origin, embeddings, errors: [] });
      },
      onOrigin: ({ sha256, logit_scale: scale }) => `${sha256} ${scale}`,
      onEmbedding: ({ id }, { origin, embedding }) =>
        seen.push([id, origin, tilesOf(embedding, 2).map((tile) => [...tile])]),
    });
    expect(seen).toEqual([
      [
        1,
        '0 100',
        [
          [3, 4],
          [5, 6],
        ],
      ],
      [0, '0 100', [[1, 2]]],
    ]);
  });

  test('the warnings and thumbnails of the answer stay with their photos', async () => {
    const answers: unknown[] = [];
    await embedPhotos({
      ...silent,
      photos: photosOf(3),
      async post(batch) {
        const { status, body } = answer(batch);
        const warnings = [{ file: '1', warning: 'It is cut off.' }];
        const thumbnails = [{ file: '2', image: btoa('a JPEG file') }];
        return { status, body: { ...(body as object), warnings, thumbnails } };
      },
      onEmbedding: ({ id }, { warning, thumbnail }) => answers.push([id, warning, thumbnail?.text()]),
    });
    expect(await Promise.all(answers.map((values) => Promise.all(values as unknown[])))).toEqual([
      [0, undefined, undefined],
      [1, 'It is cut off.', undefined],
      [2, undefined, 'a JPEG file'],
    ]);
  });

  test('a broken one is told, and nothing else suffers', async () => {
    const { told, done } = start(photosOf(3), (batch) => answer(batch, [1]));
    await done;
    expect(told.answered).toEqual([0, 2]);
    expect(told.faults).toEqual(['1 image_broken']);
  });

  test('a file the answer does not speak of is told, too', async () => {
    const { told, done } = start(photosOf(1), () => received(200, { ...origin, embeddings: [], errors: [] }));
    await done;
    expect(told.faults).toEqual(['0 unanswered']);
  });
});

describe('when a request fails', () => {
  test('a busy service is asked again, as often as it takes', async () => {
    let left = 7;
    const busy = received(503, { code: 'overloaded', error: 'Busy.' });
    const { told, done } = start(photosOf(2), (batch) => (left-- > 0 ? busy : answer(batch)));
    await done;
    expect(told.answered).toEqual([0, 1]);
    expect(told.pauses).toEqual(Array(7).fill(5));
    expect(told.waits).toEqual(Array(7).fill('overloaded 5'));
    expect(told.sent.at(-1)).toBe(2);
  });

  test('a connection that breaks once is made again', async () => {
    let left = 1;
    const { told, done } = start(photosOf(2), (batch) => (left-- > 0 ? received(0) : answer(batch)));
    await done;
    expect(told.answered).toEqual([0, 1]);
    expect(told.pauses).toEqual([1]);
    expect(told.waits).toEqual(['unreachable 1']);
  });

  test('a service that stays away ends the run; what was answered is kept', async () => {
    let left = 2;
    const { told, done } = start(photosOf(100), (batch) => (left-- > 0 ? answer(batch) : received(0)));
    const stopped = await done.catch((fault: unknown) => fault);
    expect(stopped).toBeInstanceOf(RunStopped);
    expect(stopped).toMatchObject({ refusal: { code: 'unreachable' } });
    expect(told.answered).toHaveLength(64);
    expect(told.faults).toEqual([]);
  });

  test('a file that vanished from the disk is told, and the others go without it', async () => {
    const photos = photosOf(3);
    const gone = Object.assign(newPhoto(1).file, {
      slice: () => ({ arrayBuffer: () => Promise.reject(new DOMException('gone', 'NotReadableError')) }),
    });
    photos[1] = { ...photos[1]!, file: gone };
    const { told, done } = start(photos, (batch) =>
      batch.some(({ id }) => id === 1) ? received(0) : answer(batch),
    );
    await done;
    expect(told.answered).toEqual([0, 2]);
    expect(told.faults).toEqual(['1 unreadable']);
    expect(told.pauses).toEqual([]);
  });

  test('a request that is too large for a proxy is cut until it passes', async () => {
    const { told, done } = start(photosOf(32), (batch) =>
      batch.length > 10 || batch.some(({ id }) => id === 31) ? received(413) : answer(batch),
    );
    await done;
    expect(told.answered.toSorted((a, b) => a - b)).toEqual([...Array(31).keys()]);
    expect(told.faults).toEqual(['31 unreadable']);
  });

  test('a service that takes fewer photos than a request has gets smaller requests', async () => {
    const tooMany = received(400, { code: 'files_too_many', error: 'At most 10.' });
    const { told, done } = start(photosOf(32), (batch) => (batch.length > 10 ? tooMany : answer(batch)));
    await done;
    expect(told.answered.toSorted((a, b) => a - b)).toEqual([...Array(32).keys()]);
    expect(told.faults).toEqual([]);
  });

  test('a bug of the service at one photo costs that photo alone', async () => {
    const bug = received(500, { code: 'internal', error: 'This is a bug.' });
    const { told, done } = start(photosOf(40), (batch) =>
      batch.some(({ id }) => id === 21) ? bug : answer(batch),
    );
    await done;
    expect(told.faults).toEqual(['21 internal']);
    expect(told.answered).toHaveLength(39);
    expect(told.pauses).toEqual([]);
    // 32, 16, 8, 4, 2, 1, 1: the photo alone is sent twice.
    expect(told.sizes.length).toBeLessThanOrEqual(2 + 2 * 5 + 1);
  });

  test('a service with a bug at every photo ends the run', async () => {
    const bug = received(500, { code: 'internal', error: 'This is a bug.' });
    const { told, done } = start(photosOf(200), () => bug);
    expect(await done.catch((fault: unknown) => fault)).toMatchObject({ refusal: { code: 'internal' } });
    expect(told.faults.length).toBeLessThan(10);
    expect(told.answered).toEqual([]);
  });

  test.each(['unauthorized', 'label_too_long', 'option_invalid'])('%s ends the run at once', async (code) => {
    const { told, done } = start(photosOf(200), () => received(400, { code, error: 'No.' }));
    expect(await done.catch((fault: unknown) => fault)).toMatchObject({ refusal: { code, sentence: 'No.' } });
    expect(told.sizes.length).toBeLessThanOrEqual(2);
    expect(told.answered).toEqual([]);
  });

  test('an answer that is none ends the run', async () => {
    const { done } = start(photosOf(1), () => ({ ...received(200), body: '<html>Please log in</html>' }));
    expect(await done.catch((fault: unknown) => fault)).toBeInstanceOf(RunStopped);
  });

  test('stopping it ends it with the reason it was stopped for', async () => {
    const reason = new Error('stopped');
    const { stopping, done } = start(photosOf(100), (batch) => {
      stopping.abort(reason);
      return answer(batch);
    });
    expect(await done.catch((fault: unknown) => fault)).toBe(reason);
  });
});

const silent = {
  signal: new AbortController().signal,
  pause: async () => undefined,
  onFault: () => undefined,
  onSent: () => undefined,
  onOrigin: () => 'origin',
  onWait: () => undefined,
};
