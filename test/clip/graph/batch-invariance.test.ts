import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { ObservedInput } from '../../../src/clip/graph/calibration.ts';
import type { CompileTarget } from '../../../src/clip/graph/compile-model.ts';
import { blockInputs } from '../../../src/clip/graph/transformer.ts';
import { shallowB32 } from './architectures.ts';
import { compileToOpen, type Encoders, type TemporaryModel } from './compiled.ts';
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
const targets: readonly {
  readonly name: string;
  readonly target: CompileTarget;
  readonly threads: number[];
}[] = [
  // Threads change how the products are cut into pieces.
  { name: 'fp32', target: { precision: 'fp32' }, threads: [1, 2, 3] },
  { name: 'int8', target: { precision: 'int8', calibration }, threads: [1, 2, 3] },
  {
    name: 'int8, some products in fp32 or row by row',
    target: {
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
    },
    threads: [2],
  },
];
const checkpoint = randomCheckpoint(shallowB32, 1);
/** Texts by their length, and how many of them are in a batch. Long ones take most of the time. */
const batches = [
  { length: 2, counts: [2, 3, 4, 5, 8, 13, 31, 32] },
  { length: 5, counts: [2, 3, 4, 5, 8, 13, 31, 32] },
  { length: 16, counts: [2, 3, 5, 8, 13, 32] },
  { length: 77, counts: [2, 5, 13, 32] },
].map(({ length, counts }) => ({ length, counts, labels: texts(32, length) }));

describe.each(targets)('$name', ({ target, threads }) => {
  let model: TemporaryModel;
  /** The bits of each picture and text alone: the same with any number of threads. */
  let picturesAlone: readonly Float32Array[];
  const textsAlone = new Map<number, readonly Float32Array[]>();

  beforeAll(async () => {
    model = await compileToOpen(checkpoint, target);
    await using encoders = await model.open(threads[0]);
    picturesAlone = await oneByOne(pictures, (picture) => encoders.encodeImages([picture]));
    for (const { length, labels } of batches) {
      textsAlone.set(length, await oneByOne(labels, (label) => encoders.encodeTexts([label])));
    }
  });
  afterAll(() => model[Symbol.asyncDispose]());

  describe.each(threads)('with %d threads', (count) => {
    let encoders: Encoders;
    beforeAll(async () => {
      encoders = await model.open(count);
    });
    afterAll(() => encoders[Symbol.asyncDispose]());

    test('a picture in a batch of 1 to 8 has the bits of the same picture alone', async () => {
      for (let size = 1; size <= pictures.length; size++) {
        expect(await encoders.encodeImages(pictures.slice(0, size))).toEqual(picturesAlone.slice(0, size));
      }
      // Its place in the batch does not matter either.
      expect(await encoders.encodeImages(pictures.toReversed())).toEqual(picturesAlone.toReversed());
    });

    test('a picture between extreme ones has the bits of the same picture alone', async () => {
      const [picture = new Uint8Array()] = pictures;
      for (const [index, neighbour] of extremes.entries()) {
        const place = 3 * index;
        const batch = Array.from({ length: 8 }, () => neighbour).with(place, picture);
        expect((await encoders.encodeImages(batch))[place]).toEqual(picturesAlone[0]);
      }
    });

    test.each(batches)(
      'a text of $length tokens in a batch has the bits of the same text alone',
      async ({ length, counts, labels }) => {
        const alone = textsAlone.get(length) ?? [];
        for (const size of [1, ...counts]) {
          expect(await encoders.encodeTexts(labels.slice(0, size))).toEqual(alone.slice(0, size));
        }
      },
    );
  });
});

async function oneByOne<T>(items: readonly T[], encode: (item: T) => Promise<Float32Array[]>) {
  const embeddings: Float32Array[] = [];
  for (const item of items) embeddings.push(...(await encode(item)));
  return embeddings;
}
