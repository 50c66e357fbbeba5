import { describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manifest } from '../models/manifest.ts';
import type { BrokenFile, Classifier } from '../src/classify/classifier.ts';
import type { Precision } from '../src/precision.ts';
import { examplePicture, MissingError, verify } from '../src/verify.ts';

const openaiSum = manifest[0]!.sources[0]!.sha256;

interface FakeModel {
  readonly scores?: Readonly<Record<string, number>>;
  readonly sha256?: string;
  readonly precision?: Precision;
  readonly broken?: readonly BrokenFile[];
}

/** A classifier that gives the same scores to every picture. */
function fakeClassifier({
  scores = {},
  sha256 = openaiSum,
  precision = 'fp32',
  broken = [],
}: FakeModel): Classifier {
  const model = {
    name: 'ViT-B/32',
    sha256,
    precision,
    embeddingDimension: 512,
    imageResolution: 224,
    logitScale: 100,
  } as const;
  return {
    model,
    collect: () => ({
      add: async (file) => ({ settled: Promise.resolve({ file, embedding: new Float32Array(512) }) }),
      addEmbedding: () => new Float32Array(512),
      embeddings: async () => [],
      refuse: () => {},
      names: () => ['CLIP.png'],
      broken: async () => broken,
      warnings: async () => [],
      thumbnails: async () => [],
      rankFiles: async () => [],
      rankCategories: async ({ labels }) => [
        {
          name: 'CLIP.png',
          candidates: labels
            .filter((name) => name in scores)
            .map((name) => ({ name, score: scores[name]!, similarity: 0 })),
        },
      ],
    }),
    embedTexts: async () => [],
    countTokens: async () => 0,
    parseTexts: () => [],
    findSynonyms: async () => [],
    createRanker: async () => () => [],
    createComparison: () => Promise.reject(new Error('nothing is compared')),
    parseCategories: (document) => ({ labels: JSON.parse(new TextDecoder().decode(document)) }),
    checkLabels: async () => {},
    searchVideo: () => Promise.reject(new Error('pictures alone are verified')),
  };
}

async function run(model: FakeModel | MissingError, picture: Uint8Array | MissingError = new Uint8Array()) {
  const lines: string[] = [];
  let isPrepared = false;
  let freed = false;
  const outcome = await verify({
    async picture() {
      if (picture instanceof MissingError) throw picture;
      return picture;
    },
    async classifier() {
      isPrepared = true;
      if (model instanceof MissingError) throw model;
      return {
        classifier: fakeClassifier(model),
        async [Symbol.asyncDispose]() {
          freed = true;
        },
      };
    },
    print: (line) => lines.push(line),
  });
  return { outcome, text: lines.join('\n'), last: lines.at(-1), isPrepared, freed };
}

describe('with the known weights', () => {
  test('the published scores pass', async () => {
    const done = await run({ scores: { 'a diagram': 0.9927937, 'a dog': 0.00421068, 'a cat': 0.00299572 } });
    expect(done.outcome).toBe(0);
    expect(done.last).toStartWith('PASS');
    expect(done.text).toContain(openaiSum);
    expect(done.freed).toBe(true);
  });

  test('scores within the tolerance pass, and the difference is shown', async () => {
    const { outcome, last } = await run({
      scores: { 'a diagram': 0.9937937, 'a dog': 0.0037, 'a cat': 0.0025 },
    });
    expect(outcome).toBe(0);
    expect(last).toContain('0.0010000');
  });

  test('int8 may be further off, but not as far as to be another answer', async () => {
    const near = { 'a diagram': 0.985, 'a dog': 0.009, 'a cat': 0.006 };
    expect((await run({ scores: near })).outcome).toBe(1);
    const done = await run({ scores: near, precision: 'int8' });
    expect(done.outcome).toBe(0);
    expect(done.last).toContain('allowed are 0.02');
    const far = { 'a diagram': 0.97, 'a dog': 0.02, 'a cat': 0.01 };
    expect((await run({ scores: far, precision: 'int8' })).outcome).toBe(1);
  });

  test.each([
    ['are a little off', { 'a diagram': 0.9907, 'a dog': 0.0063, 'a cat': 0.003 }],
    ['name another winner', { 'a diagram': 0.004, 'a dog': 0.993, 'a cat': 0.003 }],
    ['are not numbers', { 'a diagram': Number.NaN, 'a dog': Number.NaN, 'a cat': Number.NaN }],
    ['are incomplete', { 'a diagram': 0.9927937 }],
  ])('scores that %s fail', async (_name, scores) => {
    const { outcome, last } = await run({ scores });
    expect(outcome).toBe(1);
    expect(last).toStartWith('FAIL');
  });

  test('a picture that is not accepted fails', async () => {
    const broken = [{ file: 'CLIP.png', code: 'image_broken', error: 'It ends too early.' }] as const;
    const { outcome, last } = await run({ broken });
    expect(outcome).toBe(1);
    expect(last).toContain('It ends too early.');
  });
});

describe('what cannot be tried', () => {
  test('is other weights, about which nothing is claimed', async () => {
    const scores = { 'a diagram': 0.9927937, 'a dog': 0.00421068, 'a cat': 0.00299572 };
    const { outcome, text, freed } = await run({ scores, sha256: 'ab'.repeat(32) });
    expect(outcome).toBe(2);
    expect(text).toContain(openaiSum);
    expect(text).not.toContain('PASS');
    expect(freed).toBe(true);
  });

  test('is a missing picture, for which no weights are prepared', async () => {
    const { outcome, text, isPrepared } = await run({}, new MissingError('The picture is missing.'));
    expect(outcome).toBe(2);
    expect(text).toBe('The picture is missing.\nNOT TRIED: see above.');
    expect(isPrepared).toBe(false);
  });

  test('is missing weights', async () => {
    const { outcome, text } = await run(new MissingError('The weights are missing.'));
    expect(outcome).toBe(2);
    expect(text).toBe('The weights are missing.\nNOT TRIED: see above.');
  });

  test('but a bug is an error', async () => {
    const parts = {
      picture: async () => new Uint8Array(),
      classifier: () => Promise.reject(new TypeError('a bug')),
      print: () => {},
    };
    await expect(verify(parts)).rejects.toThrow('a bug');
  });
});

describe('the picture', () => {
  test('given as a path that does not exist is named', async () => {
    const picture = examplePicture('/no/such/CLIP.png');
    await expect(picture).rejects.toThrow(MissingError);
    await expect(picture).rejects.toThrow('/no/such/CLIP.png');
  });

  test('given as another picture is refused with both sums', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'verify-test-'));
    try {
      await writeFile(join(folder, 'CLIP.png'), 'another');
      const failure = await examplePicture(join(folder, 'CLIP.png')).catch((error) => error);
      expect(failure).toBeInstanceOf(MissingError);
      expect(failure.message).toContain('308a3ca4503f1c7a07803916c369d78c4ef501e5ab7fc727da9b5e1d2f9ec85b');
      expect(failure.message).toContain(new Bun.CryptoHasher('sha256').update('another').digest('hex'));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test.each([
    ['refused connection', () => new Response('', { status: 500 }), 'http://127.0.0.1:1/'],
    ['error page', () => new Response('no', { status: 404 }), undefined],
    ['wrong picture', () => new Response('other'), undefined],
  ])('behind a %s is missing', async (_name, answer, address) => {
    await using server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: answer });
    const picture = examplePicture(undefined, address ?? server.url.href);
    await expect(picture).rejects.toThrow(MissingError);
  });
});
