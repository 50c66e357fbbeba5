import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint, WeightTensor } from '../../../src/clip/checkpoint/checkpoint.ts';
import { expectedShapes } from '../../../src/clip/checkpoint/clip-checkpoint.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import { type CompiledModel, readCompiledModel } from '../../../src/clip/graph/compiled-model.ts';
import { compileAtPrecision, REPORT_FILE } from '../../../src/clip/precision/compile-at-precision.ts';
import type { PrecisionSetting } from '../../../src/precision.ts';
import { unpackGoldenCheckpoint } from '../../fixtures/golden.ts';
import { identity, temporaryDirectory } from '../graph/compiled.ts';
import { randomCheckpoint, randomNumbers, tensor } from '../graph/random-checkpoint.ts';

// Some hundred runs of a model each, and others may be running.
setDefaultTimeout(120_000);

interface Outcome {
  readonly model: CompiledModel;
  readonly files: readonly string[];
  readonly shares: readonly number[];
  /** The content of the report file, if there is one. */
  readonly comparison:
    | {
        readonly disagreements: readonly unknown[];
        readonly measured: readonly { readonly name: string; readonly meanError: number }[];
      }
    | undefined;
}

async function compile(checkpoint: Checkpoint, setting: PrecisionSetting): Promise<Outcome> {
  await using directory = await temporaryDirectory();
  const shares: number[] = [];
  const onShare = (share: number) => shares.push(share);
  await compileAtPrecision({ checkpoint, identity, setting, directory: directory.path, onShare });
  const files = (await readdir(directory.path)).toSorted();
  const reportFile = Bun.file(join(directory.path, REPORT_FILE));
  const comparison = (await reportFile.exists()) ? await reportFile.json() : undefined;
  return { model: await readCompiledModel(directory.path), files, shares, comparison };
}

async function compileGolden(setting: PrecisionSetting): Promise<Outcome> {
  await using directory = await temporaryDirectory();
  using checkpoint = await openCheckpoint(await unpackGoldenCheckpoint('clip-tiny.pt', directory.path));
  return await compile(checkpoint, setting);
}

const graphs = ['text.onnx', 'text.weights', 'vision.onnx', 'vision.weights'];

const architecture = {
  embeddingDimension: 64,
  activation: 'quick_gelu',
  vision: { imageResolution: 32, patchSize: 8, width: 128, layers: 3, heads: 2 },
  text: { contextLength: 77, vocabularySize: 49_408, width: 128, layers: 3, heads: 2 },
} as const;
const WIDTH = 128;

type Change = (name: string, edit: (values: Float32Array) => void) => void;

/** Never changed: it takes long to make. */
const random = randomCheckpoint(architecture, 1);

/** The random checkpoint with some of its weights changed. */
function changed(changes: (change: Change) => void): Checkpoint {
  const weights = new Map(random.weights);
  changes((name, edit) => {
    const shape = expectedShapes(architecture).get(name) ?? [];
    const values = (weights.get(name) as WeightTensor).read().slice();
    edit(values);
    weights.set(name, tensor(shape, values));
  });
  return { ...random, weights };
}

/**
 * Makes a block's second product hopeless for any quantisation: pairs of hidden channels are loud, nearly the same and
 * subtracted from each other, so that what is left is less than a step.
 */
function makeHopeless(change: Change, block: string, loudness = 100): void {
  const next = randomNumbers(2);
  change(`${block}.mlp.c_fc.weight`, (values) => {
    // [512, 128]: each second row is the one before, but for a little.
    for (let index = 0; index < values.length; index++) {
      const isSecond = Math.floor(index / WIDTH) % 2 === 1;
      values[index] = isSecond
        ? (values[index - WIDTH] ?? 0) + 0.1 * next()
        : loudness * (values[index] ?? 0);
    }
  });
  change(`${block}.mlp.c_fc.bias`, (values) => values.fill(0));
  change(`${block}.mlp.c_proj.weight`, (values) => {
    // [128, 512]: and each second column is the one before, negated.
    for (let index = 0; index < values.length; index++) {
      values[index] = index % 2 === 1 ? -(values[index - 1] ?? 0) : 10 * (values[index] ?? 0);
    }
  });
}

const blocks = (tower: 'visual.' | '') => [0, 1, 2].map((layer) => `${tower}transformer.resblocks.${layer}`);

function hopelessCheckpoint(): Checkpoint {
  return changed((change) => {
    for (const block of [...blocks('visual.'), ...blocks('')]) makeHopeless(change, block);
  });
}

/** Makes one to four channels of a product's input loud, and their weights as much smaller. */
function makeLoudChannels(change: Change, block: string, factor: number): void {
  const channels = [3, 40, 77, 120];
  for (const part of ['weight', 'bias']) {
    change(`${block}.ln_1.${part}`, (values) => {
      for (const channel of channels) values[channel] = values[channel]! * factor;
    });
    change(`${block}.ln_2.${part}`, (values) => {
      values[9] = values[9]! * factor;
    });
  }
  const quieten = (values: Float32Array, listening: readonly number[]) => {
    for (let index = 0; index < values.length; index++) {
      if (listening.includes(index % WIDTH)) values[index] = values[index]! / factor;
    }
  };
  change(`${block}.attn.in_proj_weight`, (values) => quieten(values, channels));
  change(`${block}.mlp.c_fc.weight`, (values) => quieten(values, [9]));
}

/** Makes some tokens loud: three hidden channels shout for them, into one channel of the stream. */
function makeLoudTokens(change: Change, block: string, factor: number): void {
  const hidden = [11, 200, 390];
  change(`${block}.mlp.c_fc.weight`, (values) => {
    for (const row of hidden) {
      for (let index = row * WIDTH; index < (row + 1) * WIDTH; index++)
        values[index] = values[index]! * factor;
    }
  });
  change(`${block}.mlp.c_proj.weight`, (values) => {
    for (const column of hidden) {
      for (let row = 0; row < WIDTH; row++) values[row * 4 * WIDTH + column] = row === 5 ? 1 : 0;
    }
  });
}

describe('auto', () => {
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await compileGolden('auto');
  });

  test('takes int8 where it answers as fp32 does', () => {
    expect(outcome.model.precision).toBe('int8');
    expect(outcome.model.precisionReport).toMatchObject({ accepted: true, reasons: [] });
  });

  test('compares many pictures and texts', () => {
    const report = outcome.model.precisionReport;
    expect(report?.pictures.count).toBeGreaterThanOrEqual(64);
    expect(report?.texts.count).toBe(1000);
    expect(report?.bestLabels.clear).toBeGreaterThan(100);
  });

  test('leaves the chosen graphs and the report, and nothing else', () => {
    expect(outcome.files).toEqual(['model.json', REPORT_FILE, ...graphs].toSorted());
  });

  test('reports progress from the first weight to the last probe', () => {
    const { shares } = outcome;
    expect(shares[0]).toBeGreaterThan(0);
    expect(shares[0]).toBeLessThan(0.2);
    expect(shares).toEqual(shares.toSorted((one, other) => one - other));
    expect(shares.at(-1)).toBeCloseTo(1, 6);
  });
});

describe('int8 answers as fp32 does, without exceptions', () => {
  const factor = 500;

  test('with channels that are 500 times louder, also in the middle', async () => {
    const checkpoint = changed((change) => {
      for (const block of [...blocks('visual.').slice(1), ...blocks('').slice(1)]) {
        makeLoudChannels(change, block, factor);
      }
    });
    const { model } = await compile(checkpoint, 'auto');
    // Once the channels are quieter, one scale suits all rows.
    expect(model.precisionReport).toMatchObject({ accepted: true, fp32Products: [], rowProducts: [] });
  });

  test('with tokens that are 500 times louder, also in the middle', async () => {
    const checkpoint = changed((change) => {
      makeLoudTokens(change, blocks('visual.')[1]!, factor);
      change('token_embedding.weight', (values) => {
        // The start token, which every text has.
        for (let index = 49_406 * WIDTH; index < 49_407 * WIDTH; index++) {
          values[index] = values[index]! * factor;
        }
      });
    });
    const { model } = await compile(checkpoint, 'auto');
    // The steps of loud tokens would be too large for the others. After a norm, they are as loud as these.
    const rowProducts = ['visual.transformer.resblocks.1.mlp.c_proj'];
    expect(model.precisionReport).toMatchObject({ accepted: true, fp32Products: [], rowProducts });
  });
});

describe('where int8 loses too much in one product', () => {
  let outcome: Outcome;
  const bad = 'visual.transformer.resblocks.1.mlp.c_proj';
  beforeAll(async () => {
    outcome = await compile(
      changed((change) => makeHopeless(change, 'visual.transformer.resblocks.1', 20)),
      'auto',
    );
  });

  test('auto leaves it in fp32, and few others', () => {
    const report = outcome.model.precisionReport;
    expect(outcome.model.precision).toBe('int8');
    expect(report).toMatchObject({ accepted: true, reasons: [] });
    expect(report?.fp32Products).toContain(bad);
    expect(report?.fp32Products.length).toBeLessThanOrEqual(2);
  });

  test('the report has the own error of each block, and of each product of the bad one', () => {
    const errors = new Map(outcome.comparison?.measured.map(({ name, meanError }) => [name, meanError]));
    const block = 'visual.transformer.resblocks.1';
    const worstOf = (names: readonly string[]) =>
      names.toSorted((one, other) => errors.get(other)! - errors.get(one)!)[0];
    expect(worstOf(['visual.conv1', ...blocks('visual.')])).toBe(block);
    const measured = [...errors.keys()].filter((name) => name.startsWith(`${block}.`));
    const products = measured.filter((name) => !name.endsWith(', row by row'));
    expect(products).toHaveLength(6);
    expect(worstOf(products)).toStartWith(`${block}.mlp.`);
  });

  test('leaves no other files', () => {
    expect(outcome.files).toEqual(['model.json', REPORT_FILE, ...graphs].toSorted());
  });

  test('progress goes on', () => {
    expect(outcome.shares).toEqual(outcome.shares.toSorted((one, other) => one - other));
    expect(outcome.shares.at(-1)).toBe(1);
  });
});

describe('where int8 would answer differently', () => {
  test('auto keeps fp32, and says why', async () => {
    const { model, files, comparison } = await compile(hopelessCheckpoint(), 'auto');
    expect(model.precision).toBe('fp32');
    expect(model.precisionReport?.accepted).toBe(false);
    expect(model.precisionReport?.reasons.join()).toContain('the mean cosine of pictures is ');
    expect(files).toEqual(['model.json', REPORT_FILE, ...graphs].toSorted());
    const { clear = 0, agreeing = 0 } = model.precisionReport?.bestLabels ?? {};
    expect(comparison?.disagreements).toHaveLength(clear - agreeing);
  });

  test('int8 is what it is if it was asked for, with the figures', async () => {
    const { model } = await compile(hopelessCheckpoint(), 'int8');
    expect(model.precision).toBe('int8');
    expect(model.precisionReport?.accepted).toBe(false);
  });
});

test('fp32 is compared with nothing', async () => {
  const { model, files } = await compileGolden('fp32');
  expect(model.precision).toBe('fp32');
  expect(model.precisionReport).toBeUndefined();
  expect(files).toEqual(['model.json', ...graphs].toSorted());
});
