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
  readonly comparison: { readonly disagreements: readonly unknown[] } | undefined;
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

/**
 * Weights that no quantisation can do justice to: pairs of hidden channels that are loud, nearly the same and
 * subtracted from each other, so that what is left is less than a step.
 */
function hopelessCheckpoint(): Checkpoint {
  const architecture = {
    embeddingDimension: 32,
    activation: 'quick_gelu',
    vision: { imageResolution: 32, patchSize: 16, width: 64, layers: 1, heads: 1 },
    text: { contextLength: 77, vocabularySize: 49_408, width: 64, layers: 1, heads: 1 },
  } as const;
  const checkpoint = randomCheckpoint(architecture, 1);
  const weights = new Map(checkpoint.weights);
  const next = randomNumbers(2);
  const change = (name: string, edit: (values: Float32Array) => void) => {
    const shape = expectedShapes(architecture).get(name) ?? [];
    const values = (weights.get(name) as WeightTensor).read().slice();
    edit(values);
    weights.set(name, tensor(shape, values));
  };
  for (const prefix of ['visual.transformer.resblocks.0', 'transformer.resblocks.0']) {
    change(`${prefix}.mlp.c_fc.weight`, (values) => {
      // [256, 64]: each second row is the one before, but for a thousandth.
      for (let index = 0; index < values.length; index++) {
        const isSecond = Math.floor(index / 64) % 2 === 1;
        values[index] = isSecond ? (values[index - 64] ?? 0) + 0.1 * next() : 100 * (values[index] ?? 0);
      }
    });
    change(`${prefix}.mlp.c_fc.bias`, (values) => values.fill(0));
    change(`${prefix}.mlp.c_proj.weight`, (values) => {
      // [64, 256]: and each second column is the one before, negated.
      for (let index = 0; index < values.length; index++) {
        values[index] = index % 2 === 1 ? -(values[index - 1] ?? 0) : 10 * (values[index] ?? 0);
      }
    });
  }
  return { ...checkpoint, weights };
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
    expect(report?.texts.count).toBeGreaterThanOrEqual(200);
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
