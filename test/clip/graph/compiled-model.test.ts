import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compileModel } from '../../../src/clip/graph/compile-model.ts';
import {
  addPrecisionReport,
  BUILDER_VERSION,
  CompiledModelError,
  readCompiledModel,
} from '../../../src/clip/graph/compiled-model.ts';
import { tinyArchitecture } from './architectures.ts';
import { identity, temporaryDirectory } from './compiled.ts';
import { randomCheckpoint } from './random-checkpoint.ts';

describe('readCompiledModel', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  const inside = (name: string) => join(directory.path, name);
  beforeEach(async () => {
    directory = await temporaryDirectory();
    await compileModel({
      checkpoint: randomCheckpoint(tinyArchitecture, 1),
      identity,
      target: { precision: 'fp32' },
      directory: directory.path,
    });
  });
  afterEach(() => directory[Symbol.asyncDispose]());

  async function expectFault(message: string | RegExp): Promise<void> {
    const reading = readCompiledModel(directory.path);
    await expect(reading).rejects.toThrow(CompiledModelError);
    await expect(reading).rejects.toThrow(message);
    await reading.catch(() => {});
  }

  async function editDescription(changes: Record<string, unknown>): Promise<void> {
    const description = JSON.parse(await readFile(inside('model.json'), 'utf8'));
    await writeFile(inside('model.json'), JSON.stringify({ ...description, ...changes }));
  }

  test('gives back what was compiled, and where the graphs lie', async () => {
    expect(await readCompiledModel(directory.path)).toEqual({
      name: identity.name,
      sha256: identity.sha256,
      precision: 'fp32',
      builderVersion: BUILDER_VERSION,
      family: 'clip',
      architecture: tinyArchitecture,
      logitScale: expect.closeTo(100, 4),
      visionGraphPath: inside('vision.onnx'),
      textGraphPath: inside('text.onnx'),
    });
  });

  test('gives back how int8 compared, once that was added', async () => {
    const before = await readCompiledModel(directory.path);
    const precisionReport = {
      pictures: { count: 2, meanCosine: 1, minCosine: 0.99 },
      texts: { count: 1, meanCosine: 1, minCosine: 1 },
      bestLabels: { clear: 0, agreeing: 0 },
      fp32Products: ['visual.conv1'],
      rowProducts: ['visual.transformer.resblocks.0.attn.query'],
      accepted: true,
      reasons: [],
    };
    await addPrecisionReport(directory.path, precisionReport);
    expect(await readCompiledModel(directory.path)).toEqual({ ...before, precisionReport });
  });

  test('refuses a report that is none', async () => {
    await editDescription({ precisionReport: { accepted: true } });
    await expectFault(/does not describe a compiled model: precisionReport\.pictures: /);
  });

  test.each(['vision.onnx', 'vision.weights', 'text.onnx', 'text.weights'])(
    'notices that %s was cut short',
    async (name) => {
      await truncate(inside(name), 1000);
      await expectFault(`${inside(name)} has 1000 bytes, expected `);
    },
  );

  test.each(['vision.onnx', 'vision.weights', 'text.onnx', 'text.weights'])(
    'notices that %s has one bit that is not what was written',
    async (name) => {
      const content = await readFile(inside(name));
      const middle = content.length >> 1;
      content[middle] = (content[middle] as number) ^ 1;
      await writeFile(inside(name), content);
      await expectFault(`${inside(name)} is damaged`);
    },
  );

  test.each(['model.json', 'vision.onnx', 'vision.weights', 'text.onnx', 'text.weights'])(
    'notices that %s is not there',
    async (name) => {
      await rm(inside(name));
      await expectFault(`${inside(name)} cannot be read`);
    },
  );

  test('notices a description that is not JSON', async () => {
    await writeFile(inside('model.json'), '{"name": "tes');
    await expectFault(`${inside('model.json')} cannot be read`);
  });

  test('refuses a model of another builder version', async () => {
    await editDescription({ builderVersion: BUILDER_VERSION + 1 });
    await expectFault(/does not describe a compiled model: builderVersion: /);
  });

  test('takes a model from before families were named for a CLIP', async () => {
    await editDescription({ family: undefined });
    expect(await readCompiledModel(directory.path)).toMatchObject({ family: 'clip' });
  });

  test('names every field that is missing or wrong', async () => {
    await editDescription({ precision: 'fp16', logitScale: null, architecture: undefined });
    await expectFault(/precision: .*; architecture: .*; logitScale: /);
  });
});
