import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { FaultOf } from '../../src/classify/classifier.ts';
import { createClipClassifier } from '../../src/classify/clip-classifier.ts';
import { softmax } from '../../src/classify/decide.ts';
import { createLabelEncoder } from '../../src/clip/label-encoder.ts';
import { ServiceError } from '../../src/errors.ts';
import { ordinaryPicture } from '../../src/media/picture/format/picture-header.ts';
import type { LoadPictureOptions } from '../../src/media/picture/picture.ts';
import { createVideoPlaces } from '../../src/media/video/video-places.ts';
import { createSemaphore } from '../../src/semaphore.ts';
import { createRecordingObserver } from '../fixtures/recording-observer.ts';

const axes = ['red', 'green', 'blue'];

/** L2-normalised [3]: how much of each colour word the text has. */
const embed = (text: string): Float32Array => {
  const counts = axes.map((axis) => (text.includes(axis) ? 1 : 0.1));
  const norm = Math.hypot(...counts);
  return Float32Array.from(counts, (count) => count / norm);
};

/** A classifier whose pictures are texts: their bytes say what is on them. */
function textualClassifier(slots = 2, undecodedBytes = 1000) {
  const gate = Promise.withResolvers<void>();
  const semaphore = createSemaphore(slots);
  const memory = createSemaphore(1);
  const encodedTexts: string[] = [];
  const plans: LoadPictureOptions['plan'][] = [];
  const garbage: number[] = [];
  const { observer, told } = createRecordingObserver();
  const classifier = createClipClassifier({
    model: {
      name: 'fake',
      sha256: '0',
      precision: 'fp32',
      embeddingDimension: 3,
      imageResolution: 8,
      logitScale: 100,
    },
    score: softmax(10),
    imageEncoder: {
      async acquireSlot(signal) {
        const permit = await semaphore.acquire(1, signal);
        const pixels = new Uint8Array(64);
        return {
          pixels,
          async encode() {
            await Bun.sleep(1);
            permit[Symbol.dispose]();
            return embed(new TextDecoder().decode(pixels));
          },
          [Symbol.dispose]: () => permit[Symbol.dispose](),
        };
      },
    },
    labelEncoder: createLabelEncoder({
      check(text) {
        for (let work = 0; work < 3000; work++) Math.sqrt(work);
        if (text.length > 40) throw new ServiceError('label_too_long', `"${text}" is too long.`);
        return text.length;
      },
      async encode(texts) {
        encodedTexts.push(...texts);
        return texts.map(embed);
      },
    }),
    needsThumbnail: (bytes) => new TextDecoder().decode(bytes).startsWith('unshown'),
    encodeThumbnail: async ({ pixels }) => pixels.slice(0, 12),
    isIsolated: (bytes) => new TextDecoder().decode(bytes).includes('slow'),
    isolatedAtOnce: 1,
    async loadPicture(bytes, pixels, { plan } = {}) {
      plans.push(plan);
      const text = new TextDecoder().decode(bytes);
      if (text.includes('slow')) await gate.promise;
      if (text.endsWith('broken')) throw new ServiceError('image_broken', 'It ends too early.');
      if (text === 'restart') throw new ServiceError('engine_restarting', 'Try again.');
      if (text === 'bug') throw new TypeError('undefined is not a function');
      pixels.set(bytes);
      return { warning: undefined };
    },
    reserveMemory: (bytes) =>
      new TextDecoder().decode(bytes).includes('large')
        ? { plan: planned, reserve: (signal) => memory.acquire(1, signal) }
        : { plan: planned },
    openVideo: () => Promise.reject(new Error('no video here')),
    framing: {
      geometry: () => ({ resizedWidth: 8, resizedHeight: 8, cropLeft: 0, cropTop: 0 }),
      side: 8,
    },
    videoPlaces: createVideoPlaces({ running: 1, memoryBytes: 1 }),
    maxCategories: 10,
    undecodedBytes,
    tiledBytes: 1,
    noteGarbage: (bytes) => garbage.push(bytes),
    observer,
  });
  return { classifier, semaphore, memory, encodedTexts, plans, garbage, told, openGate: gate.resolve };
}

/** What is found out about every picture. */
const planned: NonNullable<LoadPictureOptions['plan']> = {
  header: { ...ordinaryPicture, format: 'png', width: 8, height: 8 },
  place: { resizedWidth: 8, resizedHeight: 8, cropLeft: 0, cropTop: 0 },
  memoryBytes: 1,
  leaves: false,
};

const bytesOf = (text: string) => new TextEncoder().encode(text);
const stay = { signal: new AbortController().signal };

describe('classifier', () => {
  test('ranks the categories for every picture, in the order sent', async () => {
    const { classifier, semaphore } = textualClassifier();
    const collection = classifier.collect(stay);
    for (const [name, text] of Object.entries({ 'b.jpg': 'blue', 'a.jpg': 'red', 'c.jpg': 'green' })) {
      await collection.add(name, bytesOf(text));
    }
    const rankings = await collection.rankCategories({ labels: ['red', 'blue', 'green'] }, {});
    expect(rankings.map(({ name, candidates }) => [name, candidates[0]?.name])).toEqual([
      ['b.jpg', 'blue'],
      ['a.jpg', 'red'],
      ['c.jpg', 'green'],
    ]);
    for (const { candidates } of rankings) {
      expect(candidates.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 12);
    }
    expect(semaphore.used).toBe(0);
  });

  test('tells of its pictures, and each request what they took', async () => {
    const { classifier, told } = textualClassifier();
    const times = { queueMs: 0, decodeMs: 0, batchWaitMs: 0, inferenceMs: 0, labelsMs: 0 };
    const collection = classifier.collect({ ...stay, times });
    await collection.add('sound.jpg', bytesOf('red'));
    await collection.add('broken.jpg', bytesOf('broken'));
    collection.refuse('large.jpg', new ServiceError('image_too_large', 'Too large.'));
    await collection.rankCategories({ labels: ['red'] }, {});
    expect(told.toSorted()).toEqual([
      ['broken', 'image_broken'],
      ['broken', 'image_too_large'],
      ['decoded'],
      ['encoded'],
    ]);
    expect(times.decodeMs).toBeGreaterThan(0);
    expect(times.labelsMs).toBeGreaterThan(0);
  });

  test('keeps thumbnails of pictures that browsers do not show, if they are wanted', async () => {
    const { classifier } = textualClassifier();
    const told: number[] = [];
    for (const onThumbnail of [undefined, (bytes: number) => told.push(bytes)]) {
      const collection = classifier.collect(stay, { onThumbnail });
      await collection.add('1.heic', bytesOf('unshown red'));
      await collection.add('2.jpg', bytesOf('green'));
      const thumbnails = await collection.thumbnails();
      const expected = [{ file: '1.heic', jpeg: bytesOf('unshown red\0') }];
      expect(thumbnails).toEqual(onThumbnail ? expected : []);
    }
    expect(told).toEqual([12]);
  });

  test('ranks the pictures for every category; a limit cuts the list, not the softmax', async () => {
    const { classifier } = textualClassifier();
    const collection = classifier.collect(stay);
    await collection.add('1.jpg', bytesOf('red'));
    await collection.add('2.jpg', bytesOf('green'));
    const all = await collection.rankFiles({ labels: ['green', 'red'] }, {});
    const best = await collection.rankFiles({ labels: ['green', 'red'] }, { limit: 1 });
    expect(best.map(({ candidates }) => candidates.map(({ name }) => name))).toEqual([['2.jpg'], ['1.jpg']]);
    expect(best[0]?.candidates[0]).toEqual(all[0]?.candidates[0] as never);
  });

  test('embeddings are ranked as the pictures are, to the bit, also one by one', async () => {
    const { classifier } = textualClassifier();
    const pictures = classifier.collect(stay);
    for (const text of ['red', 'broken', 'blue']) await pictures.add(`${text}.jpg`, bytesOf(text));
    const known = await pictures.embeddings();
    expect(known.map(({ file }) => file)).toEqual(['red.jpg', 'blue.jpg']);
    const collection = classifier.collect(stay);
    for (const { file, embedding } of known) collection.addEmbedding(file, [embedding]);
    const categories = { labels: ['green', 'red', 'blue'] };
    const options = { template: ['a {}', 'more {}'], limit: 2 };
    const rankings = await pictures.rankCategories(categories, options);
    expect(await collection.rankCategories(categories, options)).toEqual(rankings as never);
    expect(await collection.rankFiles(categories, options)).toEqual(
      (await pictures.rankFiles(categories, options)) as never,
    );
    const rank = await classifier.createRanker(categories, options, stay);
    expect(known.map(({ embedding }) => rank(embedding))).toEqual(
      rankings.map(({ candidates }) => candidates) as never,
    );
  });

  test('texts are embedded in templates, equal ones once', async () => {
    const { classifier, encodedTexts } = textualClassifier();
    const embeddings = await classifier.embedTexts(['red', 'blue', 'red'], { template: ['a {}'] }, stay);
    expect(embeddings).toEqual([embed('red'), embed('blue'), embed('red')]);
    expect(encodedTexts).toEqual(['a red', 'a blue']);
  });

  test.each([
    ['has 2 numbers; those of this model have 3', [0.6, 0.8]],
    ['has a number that is not finite', [Number.NaN, 0, 1]],
    ['has a number that is not finite', [Number.POSITIVE_INFINITY, 0, 1]],
    ['has the length 2; embeddings are L2-normalised, to the length 1', [0, 2, 0]],
    ['has the length 0; embeddings are L2-normalised, to the length 1', [0, 0, 0]],
  ])('refuses an embedding that %s', (fault, numbers) => {
    const collection = textualClassifier().classifier.collect(stay);
    expect(() => collection.addEmbedding('a.jpg', [Float32Array.from(numbers)])).toThrow(
      `The embedding of "a.jpg" ${fault}.`,
    );
    expect(collection.names()).toEqual([]);
  });

  test('a fault that is no picture’s rejects, or is one where the caller says so', async () => {
    const { classifier } = textualClassifier();
    const unexpected = async (faultOf?: FaultOf) => {
      const collection = classifier.collect(stay, faultOf && { faultOf });
      await collection.add('b.jpg', bytesOf('bug'));
      await collection.add('c.jpg', bytesOf('red'));
      return collection;
    };
    expect((await unexpected()).broken()).rejects.toThrow(TypeError);
    const faultOf = (thrown: unknown) =>
      thrown instanceof TypeError ? new ServiceError('internal', 'It is a bug.') : undefined;
    const collection = await unexpected(faultOf);
    expect(await collection.broken()).toEqual([{ file: 'b.jpg', code: 'internal', error: 'It is a bug.' }]);
    const [ranking] = await collection.rankFiles({ labels: ['red'] }, {});
    expect(ranking?.candidates.map(({ name }) => name)).toEqual(['c.jpg']);
  });

  test('a broken picture is named in its place and the others are answered', async () => {
    const { classifier, semaphore, garbage } = textualClassifier();
    const collection = classifier.collect(stay);
    await collection.add('a.jpg', bytesOf('broken'));
    await collection.add('b.jpg', bytesOf('red'));
    collection.refuse('a.jpg', new ServiceError('image_too_large', 'It is too large.'));
    expect(await collection.broken()).toEqual([
      { file: 'a.jpg', code: 'image_broken', error: 'It ends too early.' },
      { file: 'a.jpg (2)', code: 'image_too_large', error: 'It is too large.' },
    ]);
    expect(collection.names()).toEqual(['a.jpg', 'b.jpg', 'a.jpg (2)']);
    expect((await collection.rankCategories({ labels: ['red'] }, {})).map(({ name }) => name)).toEqual([
      'b.jpg',
    ]);
    expect(semaphore.used).toBe(0);
    expect(garbage.toSorted()).toEqual(['red'.length, 'broken'.length]);
  });

  test('gives the memory of a picture back once it is decoded, sound or broken', async () => {
    const { classifier } = textualClassifier();
    const collection = classifier.collect(stay);
    const pictures = ['broken', 'red'].map((text) => Uint8Array.from(bytesOf(text)));
    for (const bytes of pictures) await collection.add('a.jpg', bytes);
    await collection.broken();
    expect(pictures.map(({ buffer }) => buffer.byteLength)).toEqual([0, 0]);
  });

  test('a fault of ours is no fault of the picture: it fails the request', async () => {
    const { classifier, semaphore } = textualClassifier();
    const collection = classifier.collect(stay);
    await collection.add('a.jpg', bytesOf('bug'));
    const fault = await collection.broken().catch((reason: unknown) => reason);
    expect(fault).toBeInstanceOf(TypeError);
    expect(semaphore.used).toBe(0);
  });

  test('an engine that restarts is no fault of the picture either', async () => {
    const { classifier } = textualClassifier();
    const collection = classifier.collect(stay);
    await collection.add('a.jpg', bytesOf('restart'));
    const fault = await collection.broken().catch((reason: unknown) => reason);
    expect(fault).toMatchObject({ code: 'engine_restarting' });
  });

  test('taking the next picture waits for a free slot', async () => {
    const { classifier } = textualClassifier(1);
    const collection = classifier.collect(stay);
    await collection.add('1.jpg', bytesOf('red'));
    let taken = false;
    const second = collection.add('2.jpg', bytesOf('red')).then(() => {
      taken = true;
    });
    await Promise.resolve();
    expect(taken).toBe(false);
    await second;
    expect(taken).toBe(true);
  });

  test('taking the next picture waits for memory for its bytes; one that never fits comes in alone', async () => {
    const { classifier, semaphore } = textualClassifier(8, 'green'.length);
    const collection = classifier.collect(stay);
    const texts = ['green', 'red', 'blue and green', 'broken', 'red'];
    for (const [index, text] of texts.entries()) await collection.add(`${index}.jpg`, bytesOf(text));
    expect((await collection.broken()).map(({ file }) => file)).toEqual(['3.jpg']);
    const rankings = await collection.rankCategories({ labels: ['red', 'green'] }, {});
    expect(rankings.map(({ candidates }) => candidates[0]?.name)).toEqual(['green', 'red', 'green', 'red']);
    expect(semaphore.used).toBe(0);
  });

  test('pictures that another process decodes leave the other places to the others', async () => {
    const { classifier, semaphore, openGate } = textualClassifier(2);
    const slow = classifier.collect(stay);
    await slow.add('1.tif', bytesOf('slow red'));
    const waiting = Promise.all([2, 3, 4].map((n) => slow.add(`${n}.tif`, bytesOf('slow red'))));
    for (let n = 0; n < 5; n++) {
      const fast = classifier.collect(stay);
      await fast.add('5.jpg', bytesOf('green'));
      expect(await fast.rankCategories({ labels: ['red', 'green'] }, {})).toMatchObject([{ name: '5.jpg' }]);
    }
    openGate();
    await waiting;
    expect(await slow.rankCategories({ labels: ['red'] }, {})).toHaveLength(4);
    expect(semaphore.used).toBe(0);
  });

  test('large pictures wait for memory, and take nothing meanwhile that others need', async () => {
    const { classifier, semaphore, memory, openGate } = textualClassifier(1, 20);
    const video = await memory.acquire(1);
    const large = classifier.collect(stay);
    const told: string[] = [];
    const stored = {
      byteLength: 14,
      head: () => bytesOf('slow large red'),
      read() {
        told.push('read');
        return bytesOf('slow large red');
      },
      putBack: (read: Uint8Array) => told.push(`put back ${read.length}`),
    };
    const added = Promise.all([bytesOf('slow large red'), stored].map((one) => large.add('1.tif', one)));
    const others = classifier.collect(stay);
    await others.add('1.jpg', bytesOf('green green green'));
    expect(await others.rankCategories({ labels: ['green'] }, {})).toHaveLength(1);
    expect([semaphore.used, memory.waiting]).toEqual([0, 2]);
    expect(told).toEqual(['read', 'put back 14']);
    video[Symbol.dispose]();
    openGate();
    await added;
    expect(await large.rankCategories({ labels: ['red'] }, {})).toHaveLength(2);
    expect([semaphore.used, memory.used]).toEqual([0, 0]);
    expect(told).toEqual(['read', 'put back 14', 'read']);
  });

  test('a picture is loaded with what was found out for its memory', async () => {
    const { classifier, plans } = textualClassifier();
    const collection = classifier.collect(stay);
    for (const text of ['red', 'large red']) await collection.add('1.png', bytesOf(text));
    await collection.embeddings();
    expect(plans).toEqual([planned, planned]);
  });

  test('a large picture gives its memory back, broken or left', async () => {
    const { classifier, memory } = textualClassifier();
    const broken = classifier.collect({ ...stay });
    await broken.add('1.tif', bytesOf('large broken'));
    expect(await broken.broken()).toHaveLength(1);
    expect(memory.used).toBe(0);
    using _video = await memory.acquire(1);
    const leaving = new AbortController();
    const added = classifier.collect({ signal: leaving.signal }).add('1.tif', bytesOf('large red'));
    leaving.abort(new Error('gone'));
    await expect(added).rejects.toThrow('gone');
    expect(memory.waiting).toBe(0);
  });

  test('a client that left gets no further work', async () => {
    const { classifier, semaphore } = textualClassifier(1);
    const leaving = new AbortController();
    const collection = classifier.collect(leaving);
    await collection.add('1.jpg', bytesOf('red'));
    const waiting = collection.add('2.jpg', bytesOf('red')).catch((reason: unknown) => reason);
    leaving.abort(new Error('gone'));
    expect(await waiting).toEqual(new Error('gone'));
    // What is in a batch already runs to its end.
    while (semaphore.used > 0) await Bun.sleep(1);
  });

  test('templates put the label into words and are averaged', async () => {
    const { classifier, encodedTexts } = textualClassifier();
    const collection = classifier.collect(stay);
    await collection.add('1.jpg', bytesOf('red'));
    const templates = ['a {}', 'green {}'];
    const [ranking] = await collection.rankCategories(
      { labels: ['$& red', 'blue'] },
      { template: templates },
    );
    expect(encodedTexts).toEqual(['a $& red', 'green $& red', 'a blue', 'green blue']);
    expect(ranking?.candidates[0]?.name).toBe('$& red');
    const [verbatim] = await collection.rankCategories({ labels: ['$& red', 'blue'] }, {});
    expect(ranking?.candidates[0]?.similarity).toBeLessThan(verbatim?.candidates[0]?.similarity as number);
  });

  test('a label that is too long once it stands in a template is refused before any work', async () => {
    const { classifier, encodedTexts } = textualClassifier();
    const categories = { labels: ['a label of some length'] };
    await classifier.checkLabels(categories, {}, stay);
    const fault = await classifier
      .checkLabels(categories, { template: ['a very long template around {}'] }, stay)
      .catch((reason: unknown) => reason);
    expect(String(fault)).toContain('is too long');
    expect(encodedTexts).toEqual([]);
  });

  test('checking many labels lets others have their turn, and ends when the client leaves', async () => {
    const { classifier } = textualClassifier();
    const labels = Array.from({ length: 100_000 }, (_, index) => `label ${index}`);
    const leaving = new AbortController();
    let turns = 0;
    const others = setInterval(() => {
      turns += 1;
      if (turns === 2) leaving.abort(new Error('gone'));
    }, 0);
    const fault = await classifier.checkLabels({ labels }, {}, leaving).catch((reason: unknown) => reason);
    clearInterval(others);
    expect(fault).toEqual(new Error('gone'));
  });

  test('categories in templates are at most 10,000 texts, counted before any of them is looked at', async () => {
    const { classifier } = textualClassifier();
    const { signal } = new AbortController();
    const labels = (count: number) => Array.from({ length: count }, (_, index) => `label ${index}`);
    const templates = Array.from({ length: 100 }, (_, index) => `${index} {}`);
    await classifier.checkLabels({ labels: labels(100) }, { template: templates }, { signal });
    const fault = await classifier
      .checkLabels({ labels: labels(101) }, { template: templates }, { signal })
      .catch((reason: unknown) => reason);
    expect(fault).toMatchObject({
      code: 'categories_too_many',
      message:
        '101 categories in 100 templates are 10100 texts; at most 10000 are accepted. Send fewer templates, or at most 100 categories with that many.',
      details: { categories: 101, templates: 100, limit: 10_000 },
    });
    // A single template is one text for each of the categories that the operator lets in.
    await classifier.checkLabels({ labels: labels(10_001) }, { template: ['a {}'] }, { signal });
  });
});

/** The names that pictures have in the answer. */
const named = (names: readonly string[]): readonly string[] => {
  const collection = textualClassifier().classifier.collect(stay);
  for (const name of names) collection.refuse(name, new ServiceError('image_too_large', 'It is too large.'));
  return collection.names();
};

describe('file names of one request', () => {
  test('names stay as they were sent', () => {
    expect(named(['a.jpg', 'B.jpg', '__proto__', '../../etc/passwd'])).toEqual([
      'a.jpg',
      'B.jpg',
      '__proto__',
      '../../etc/passwd',
    ]);
  });

  test('further pictures of a name are counted', () => {
    expect(named(['a.jpg', 'a.jpg', 'b.jpg', 'a.jpg'])).toEqual(['a.jpg', 'a.jpg (2)', 'b.jpg', 'a.jpg (3)']);
  });

  test('a counted name that was sent already is passed over', () => {
    expect(named(['a (2)', 'a', 'a', 'a (2)'])).toEqual(['a (2)', 'a', 'a (3)', 'a (2) (2)']);
  });

  test('no two pictures ever share a name, and the first of a name keeps it', () => {
    const name = fc.constantFrom('a', 'a (2)', 'a (3)', 'a (2) (2)', 'b');
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 40 }), (names) => {
        const unique = named(names);
        expect(new Set(unique).size).toBe(names.length);
        expect(unique[0]).toBe(names[0] as string);
      }),
    );
  });
});

/** Without the product's functions: the embedding of `embed`, in double precision. */
function exactEmbedding(text: string): readonly number[] {
  const counts = axes.map((axis) => (text.includes(axis) ? 1 : 0.1));
  const norm = Math.sqrt(counts.reduce((sum, count) => sum + count ** 2, 0));
  return counts.map((count) => count / norm);
}

function exactMean(embeddings: readonly (readonly number[])[]): readonly number[] {
  const sum = axes.map((_, axis) => embeddings.reduce((total, one) => total + one[axis]!, 0));
  const norm = Math.sqrt(sum.reduce((total, value) => total + value ** 2, 0));
  return sum.map((value) => value / norm);
}

const exactCosine = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, index) => sum + value * b[index]!, 0);

/** The score of a category against four phrases that have no colour, with the logit scale 100. */
function exactScore(picture: string, category: readonly number[], templates: readonly string[] = ['{}']) {
  const seen = exactEmbedding(picture);
  const background = Math.max(
    ...['object', 'things', 'stuff', 'texture'].map((phrase) =>
      exactCosine(seen, exactMean(templates.map((one) => exactEmbedding(one.replace('{}', phrase))))),
    ),
  );
  const similarity = exactCosine(seen, category);
  const [own, other] = [Math.exp(100 * (similarity - 1)), Math.exp(100 * (background - 1))];
  return { similarity, background, score: own / (own + other) };
}

describe('categories against the background', () => {
  const pictures = { 'red.jpg': 'red', 'plain.jpg': 'nothing', 'both.jpg': 'red blue' };

  async function collected(classifier: ReturnType<typeof textualClassifier>['classifier']) {
    const collection = classifier.collect(stay);
    for (const [name, text] of Object.entries(pictures)) await collection.add(name, bytesOf(text));
    return collection;
  }

  test.each([[undefined], [['{}', 'blue {}']], [['a green {}']]])(
    'have exact scores in %p',
    async (template) => {
      const { classifier } = textualClassifier();
      const collection = await collected(classifier);
      const labels = ['red', 'blue', 'green'];
      const options = { others: true, ...(template && { template }) };
      const rankings = await collection.rankCategories({ labels }, options);
      expect(rankings).toHaveLength(3);
      for (const { name, candidates } of rankings) {
        expect(candidates.map(({ similarity }) => similarity)).toEqual(
          candidates.map(({ similarity }) => similarity).toSorted((a, b) => b - a),
        );
        for (const candidate of candidates) {
          const texts = (template ?? ['{}']).map((one) => exactEmbedding(one.replace('{}', candidate.name)));
          const exact = exactScore(pictures[name as keyof typeof pictures], exactMean(texts), template);
          expect(candidate.score).toBeCloseTo(exact.score, 4);
          expect(candidate.similarity).toBeCloseTo(exact.similarity, 6);
          expect(candidate.background?.similarity).toBeCloseTo(exact.background, 6);
          expect(candidate.background?.phrase).toBe('object');
        }
      }
    },
  );

  test('have a score that does not depend on the others', async () => {
    const { classifier } = textualClassifier();
    const collection = await collected(classifier);
    const alone = await collection.rankCategories({ labels: ['red'] }, { others: true });
    const among = await collection.rankCategories({ labels: ['blue', 'red', 'green'] }, { others: true });
    for (const [index, { candidates }] of among.entries()) {
      expect(candidates.find(({ name }) => name === 'red')).toEqual(alone[index]!.candidates[0]!);
    }
  });

  test('are all kept with several, under any limit, and counted', async () => {
    const { classifier } = textualClassifier();
    const collection = await collected(classifier);
    const kept: number[] = [];
    const rankings = await collection.rankCategories(
      { labels: ['green', 'blue', 'red', 'blue red'] },
      { several: true, limit: 1, onKept: (count) => kept.push(count) },
    );
    expect(rankings.map(({ candidates }) => candidates.map(({ name }) => name))).toEqual([
      ['red', 'blue red'],
      ['blue red'],
      ['blue red'],
    ]);
    expect(kept).toEqual([2, 1, 1]);
  });

  test('find pictures that beat their own background before those that do not', async () => {
    const { classifier } = textualClassifier();
    const collection = await collected(classifier);
    const options = { others: true, limit: 3 };
    const labels = ['green', 'blue red'];
    const rankings = await collection.rankFiles({ labels }, options);
    expect(rankings.map(({ candidates }) => candidates.map(({ name }) => name))).toEqual([
      ['plain.jpg', 'both.jpg', 'red.jpg'],
      // The plain picture is more similar than the red one, but fits every phrase better.
      ['both.jpg', 'red.jpg', 'plain.jpg'],
    ]);
    const comparison = await classifier.createComparison({ labels }, options, stay);
    const embeddings = (await collection.embeddings()).map(({ embedding }) => comparison.compare(embedding));
    const columns = Array.from({ length: comparison.width }, (_, column) =>
      Float64Array.from(embeddings, (similarities) => similarities[column]!),
    );
    const names = collection.names();
    for (const [category, { candidates }] of rankings.entries()) {
      const ranked = comparison.rank(columns, category);
      expect(ranked.map((one) => ({ ...one, name: names[one.name]! }))).toEqual([...candidates]);
    }
    const rank = await classifier.createRanker({ labels }, options, stay);
    const [first] = await collection.rankCategories({ labels }, options);
    expect(rank((await collection.embeddings())[0]!.embedding)).toEqual([...first!.candidates]);
  });
});

describe('phrases of a category', () => {
  const categories = {
    labels: ['warm', 'cold'],
    phrases: [['red', 'a red red green'], ['blue']],
  };

  test('are averaged, each over the templates', async () => {
    const { classifier } = textualClassifier();
    const template = ['{}', 'green {}'];
    const [warm] = categories.phrases.map((phrases) =>
      exactMean(
        phrases.map((phrase) => exactMean(template.map((one) => exactEmbedding(one.replace('{}', phrase))))),
      ),
    );
    const collection = classifier.collect(stay);
    await collection.add('a.jpg', bytesOf('red'));
    const [ranking] = await collection.rankCategories(categories, { template });
    expect(ranking?.candidates.map(({ name }) => name)).toEqual(['warm', 'cold']);
    const exact = exactCosine(exactEmbedding('red'), warm!);
    expect(ranking?.candidates[0]?.similarity).toBeCloseTo(exact, 6);
    const [best] = await collection.rankFiles(categories, { template, others: true });
    expect(best?.candidates[0]?.similarity).toBeCloseTo(exact, 6);
    expect(best?.candidates[0]?.score).toBeCloseTo(exactScore('red', warm!, template).score, 4);
  });

  test('count against the limit of texts, with and without templates, and are checked', async () => {
    const { classifier } = textualClassifier();
    const many = { labels: ['a'], phrases: [Array.from({ length: 5001 }, (_, index) => `red ${index}`)] };
    await classifier.checkLabels(many, {}, stay);
    const twice = classifier.checkLabels(many, { template: ['{}', 'a {}'] }, stay);
    expect(twice).rejects.toThrow('5001 phrases in 2 templates are 10002 texts; at most 10000 are accepted.');
    const more = { labels: ['a'], phrases: [[...many.phrases[0]!, ...many.phrases[0]!]] };
    expect(classifier.checkLabels(more, {}, stay)).rejects.toThrow('have 10002 phrases; at most 10000');
    const long = { labels: ['a'], phrases: [['red', 'x'.repeat(41)]] };
    expect(classifier.checkLabels(long, {}, stay)).rejects.toThrow('is too long');
    const template = [`{} ${'x'.repeat(35)}`];
    expect(classifier.checkLabels({ labels: ['red'] }, { template, others: true }, stay)).rejects.toThrow(
      '"object xx',
    );
  });

  test('of two categories that are the same are synonyms', async () => {
    const { classifier } = textualClassifier();
    const found = await classifier.findSynonyms(
      { labels: ['warm', 'hot', 'cold'], phrases: [['red'], ['red', 'a red'], ['blue']] },
      {},
      stay,
    );
    expect(found.map(({ categories: pair }) => pair)).toEqual([['warm', 'hot']]);
  });
});
