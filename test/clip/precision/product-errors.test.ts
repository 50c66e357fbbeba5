import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Calibration, ObservedInput } from '../../../src/clip/graph/calibration.ts';
import { compileModel, compileSwitchedTower } from '../../../src/clip/graph/compile-model.ts';
import { graphFiles, observedGraphFiles } from '../../../src/clip/graph/compiled-model.ts';
import { observedInputs } from '../../../src/clip/graph/transformer.ts';
import { dot } from '../../../src/clip/precision/compare-precisions.ts';
import { encodeProbePictures } from '../../../src/clip/precision/encode-probes.ts';
import { calibrationFor, probesFor } from '../../../src/clip/precision/probes.ts';
import { findWorstProducts, someProbes } from '../../../src/clip/precision/product-errors.ts';
import { identity, temporaryDirectory } from '../graph/compiled.ts';
import { randomCheckpoint } from '../graph/random-checkpoint.ts';

setDefaultTimeout(120_000);

const architecture = {
  embeddingDimension: 64,
  activation: 'quick_gelu',
  vision: { imageResolution: 32, patchSize: 8, width: 128, layers: 2, heads: 2 },
  text: { contextLength: 77, vocabularySize: 49_408, width: 128, layers: 1, heads: 2 },
} as const;

const block = 'visual.transformer.resblocks.0';

/** As if only much quieter pictures had been seen: a fixed scale cuts the values of others. */
function quieter({ lowest, highest, rows }: ObservedInput): ObservedInput {
  const divide = (value: number) => value / 30;
  return { lowest: lowest.map(divide), highest: highest.map(divide), rows: rows.map(divide) };
}

test('a product whose fixed scale cuts values gets a scale for each row, and the others stay', async () => {
  await using directory = await temporaryDirectory();
  const checkpoint = randomCheckpoint(architecture, 1);
  const model = { checkpoint, identity };
  const folder = async (name: string) => {
    const path = join(directory.path, name);
    await mkdir(path);
    return path;
  };
  const tower = {
    embeddingDimension: architecture.embeddingDimension,
    observed: [],
    threads: 2,
    weights: 'packed',
  } as const;
  const [probes, calibrating] = [probesFor(checkpoint), calibrationFor(checkpoint)];

  const fp32Folder = await folder('fp32');
  await compileModel({ ...model, target: { precision: 'fp32', observed: true }, directory: fp32Folder });
  const observed = observedInputs('vision', architecture);
  const fp32 = await encodeProbePictures(
    { ...tower, graphPath: join(fp32Folder, observedGraphFiles.vision), observed },
    { probes, calibrating },
    () => {},
  );
  const name = `${block}.mlp.gelu`;
  const calibration: Calibration = new Map(fp32.calibration).set(name, quieter(fp32.calibration.get(name)!));

  const int8Folder = await folder('int8');
  const target = { precision: 'int8', calibration } as const;
  const { rowProducts } = await compileModel({ ...model, target, directory: int8Folder });
  expect(rowProducts.filter((product) => product.startsWith('visual.'))).toEqual([]);
  const int8 = await encodeProbePictures(
    { ...tower, graphPath: join(int8Folder, graphFiles.vision.graph) },
    { probes },
    () => {},
  );

  const directoryOfSwitched = await folder('switched');
  const request = { checkpoint, directory: directoryOfSwitched };
  const { graphPath, products } = await compileSwitchedTower(request, 'vision', calibration);
  const cosines = fp32.embeddings.map((embedding, index) => dot(embedding, int8.embeddings[index]));
  const { worst, measured } = await findWorstProducts(
    { tower: { ...tower, graphPath }, products, exceptions: new Map() },
    someProbes('vision', { probes, fp32: fp32.embeddings, cosines }),
    0.85,
    () => {},
  );
  expect([...worst].map(([product, exception]) => [product.name, exception])).toEqual([
    [`${block}.mlp.c_proj`, 'rows'],
  ]);
  const errors = measured.filter((part) => part.name === `${block}.mlp.c_proj`);
  expect(errors.map(({ byRows }) => byRows)).toEqual([false, true]);
});
