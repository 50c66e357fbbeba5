import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { ObservedInput } from '../../../src/clip/graph/calibration.ts';
import type { CompileTarget } from '../../../src/clip/graph/compile-model.ts';
import { blockInputs } from '../../../src/clip/graph/transformer.ts';
import { shallowB32 } from './architectures.ts';
import { compileAndOpen, type Encoders } from './compiled.ts';
import { randomCheckpoint, randomNumbers } from './random-checkpoint.ts';

const next = randomNumbers(3);
const side = shallowB32.vision.imageResolution;
const pictures = Array.from({ length: 8 }, () =>
  Uint8Array.from({ length: side * side * 3 }, () => (next() + 1) * 127.99),
);
/** What would drown a neighbour if anything were scaled by the batch. */
const extremes = [
  new Uint8Array(side * side * 3),
  new Uint8Array(side * side * 3).fill(255),
  Uint8Array.from({ length: side * side * 3 }, () => (next() > 0 ? 255 : 0)),
];
const END_TOKEN = shallowB32.text.vocabularySize - 1;

function texts(count: number, length: number): number[][] {
  return Array.from({ length: count }, () => [
    ...Array.from({ length: length - 1 }, () => Math.floor((next() + 1) * 499)),
    END_TOKEN,
  ]);
}

/** No row is known, so one scale suits all. */
function observed(highest: Float32Array): ObservedInput {
  return { lowest: highest.map((high) => -high), highest, rows: new Float32Array() };
}

// Loud hidden channels, so that these get scales of their own. The other inputs get a fixed scale in the vision tower,
// and a scale for each row in the text tower.
const calibration = new Map(
  ['visual.', ''].flatMap((tower) =>
    [0, 1].flatMap((layer) => {
      const { width } = tower ? shallowB32.vision : shallowB32.text;
      const names = blockInputs(`${tower}transformer.resblocks.${layer}`);
      const loudness = Float32Array.from({ length: 4 * width }, (_, channel) =>
        channel % 100 === 0 ? 50 : 1,
      );
      const usual = new Float32Array(width).fill(3);
      const others = tower ? [names.attention, names.attentionOut, names.mlpIn] : [];
      return [
        [names.mlpOut, observed(loudness)] as const,
        ...others.map((name) => [name, observed(usual)] as const),
      ];
    }),
  ),
);
const targets: readonly CompileTarget[] = [{ precision: 'fp32' }, { precision: 'int8', calibration }];
// Threads change how the products are cut into pieces.
const settings = [
  ...targets.flatMap((target) => [1, 2, 3].map((threads) => ({ ...target, threads, but: '' }))),
  {
    precision: 'int8',
    calibration,
    rowProducts: new Set(
      ['0.attn.value', '1.attn.query', '1.mlp.c_proj'].map(
        (product) => `visual.transformer.resblocks.${product}`,
      ),
    ),
    fp32Products: new Set(
      ['visual.', ''].flatMap((tower) =>
        ['0.attn.query', '0.mlp.c_proj', '1.attn.key', '1.mlp.c_fc'].map(
          (product) => `${tower}transformer.resblocks.${product}`,
        ),
      ),
    ),
    threads: 2,
    but: ', some products in fp32 or row by row',
  } as const,
];

describe.each(settings)('$precision with $threads threads$but', ({ threads, but: _, ...target }) => {
  let encoders: Encoders;
  beforeAll(async () => {
    encoders = await compileAndOpen(randomCheckpoint(shallowB32, 1), threads, target);
  });
  afterAll(() => encoders[Symbol.asyncDispose]());

  test('a picture in a batch of 1 to 8 has the bits of the same picture alone', async () => {
    const alone: Float32Array[] = [];
    for (const picture of pictures) alone.push(...(await encoders.encodeImages([picture])));
    for (let count = 2; count <= pictures.length; count++) {
      expect(await encoders.encodeImages(pictures.slice(0, count))).toEqual(alone.slice(0, count));
    }
    // Its place in the batch does not matter either.
    expect(await encoders.encodeImages(pictures.toReversed())).toEqual(alone.toReversed());
  });

  test('a picture between extreme ones has the bits of the same picture alone', async () => {
    const [picture = new Uint8Array()] = pictures;
    const [alone] = await encoders.encodeImages([picture]);
    for (const [index, neighbour] of extremes.entries()) {
      const place = 3 * index;
      const batch = Array.from({ length: 8 }, () => neighbour).with(place, picture);
      expect((await encoders.encodeImages(batch))[place]).toEqual(alone);
    }
  });

  test.each([2, 5, 16, 77])(
    'a text of %d tokens in a batch has the bits of the same text alone',
    async (length) => {
      const labels = texts(32, length);
      const alone: Float32Array[] = [];
      for (const label of labels) alone.push(...(await encoders.encodeTexts([label])));
      for (const count of [2, 3, 4, 5, 8, 13, 31, 32]) {
        expect(await encoders.encodeTexts(labels.slice(0, count))).toEqual(alone.slice(0, count));
      }
    },
  );
});

test.each(targets)('$precision has the same bits with any number of threads', async (target) => {
  const embeddings: Float32Array[][] = [];
  for (const threads of [1, 2, 3]) {
    await using encoders = await compileAndOpen(randomCheckpoint(shallowB32, 1), threads, target);
    embeddings.push([...(await encoders.encodeImages(pictures)), ...(await encoders.encodeImages(extremes))]);
  }
  for (const others of embeddings) expect(others).toEqual(embeddings[0] as Float32Array[]);
});
