import { describe, expect, test } from 'bun:test';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint, WeightTensor } from '../../../src/clip/checkpoint/checkpoint.ts';
import { compileModel } from '../../../src/clip/graph/compile-model.ts';
import { BUILDER_VERSION } from '../../../src/clip/graph/compiled-model.ts';
import { UnusableWeightError } from '../../../src/clip/graph/named-weights.ts';
import { tinyArchitecture } from './architectures.ts';
import { compileAndOpen, identity, temporaryDirectory } from './compiled.ts';
import { parameterShapes, randomCheckpoint, tensor } from './random-checkpoint.ts';

async function compile(checkpoint: Checkpoint, onShare?: (share: number) => void) {
  await using directory = await temporaryDirectory();
  const target = { precision: 'fp32' } as const;
  return await compileModel({
    checkpoint,
    identity,
    target,
    directory: directory.path,
    ...(onShare && { onShare }),
  });
}

/** The tiny checkpoint with one weight put in the place of another, or taken away. */
function withWeight(name: string, weight: WeightTensor | undefined): Checkpoint {
  const checkpoint = randomCheckpoint(tinyArchitecture, 1);
  const weights = new Map(checkpoint.weights);
  if (weight) weights.set(name, weight);
  else weights.delete(name);
  return { ...checkpoint, weights };
}

describe('compileModel', () => {
  test('writes two graphs, their weights and a description', async () => {
    await using directory = await temporaryDirectory();
    const { description } = await compileModel({
      checkpoint: randomCheckpoint(tinyArchitecture, 1),
      identity,
      target: { precision: 'fp32' },
      directory: directory.path,
    });
    expect((await readdir(directory.path)).sort()).toEqual([
      'model.json',
      'text.onnx',
      'text.weights',
      'vision.onnx',
      'vision.weights',
    ]);
    expect(description).toEqual({
      name: identity.name,
      sha256: identity.sha256,
      precision: 'fp32',
      builderVersion: BUILDER_VERSION,
      family: 'clip',
      architecture: tinyArchitecture,
      logitScale: expect.closeTo(100, 4),
    });
  });

  test('keeps weights out of the ONNX files, which stay small', async () => {
    await using directory = await temporaryDirectory();
    await compileModel({
      checkpoint: randomCheckpoint(tinyArchitecture, 1),
      identity,
      target: { precision: 'fp32' },
      directory: directory.path,
    });
    expect((await stat(join(directory.path, 'vision.onnx'))).size).toBeLessThan(20_000);
    expect((await stat(join(directory.path, 'text.onnx'))).size).toBeLessThan(20_000);
  });

  test('reads every weight exactly once, and reports the share of bytes up to 1', async () => {
    const checkpoint = randomCheckpoint(tinyArchitecture, 1);
    const reads: string[] = [];
    const counted = new Map(
      [...checkpoint.weights].map(([name, weight]): [string, WeightTensor] => [
        name,
        {
          shape: weight.shape,
          read: () => {
            reads.push(name);
            return weight.read();
          },
        },
      ]),
    );
    const shares: number[] = [];
    await compile({ ...checkpoint, weights: counted }, (share) => shares.push(share));

    expect(reads.toSorted()).toEqual([...parameterShapes(tinyArchitecture).keys()].toSorted());
    expect(shares).toHaveLength(reads.length);
    expect(shares.at(-1)).toBe(1);
    shares.reduce((before, share) => {
      expect(share).toBeGreaterThan(before);
      return share;
    }, 0);
  });

  test('does not change the weights it reads', async () => {
    const checkpoint = randomCheckpoint(tinyArchitecture, 1);
    const before = [...checkpoint.weights.values()].map((weight) => weight.read().slice());
    await compile(checkpoint);
    expect([...checkpoint.weights.values()].map((weight) => weight.read())).toEqual(before);
  });

  test('names a weight that is not there', async () => {
    const compiling = compile(withWeight('visual.transformer.resblocks.1.ln_2.bias', undefined));
    await expect(compiling).rejects.toThrow(UnusableWeightError);
    await expect(compiling).rejects.toThrow(
      'the checkpoint has no weight visual.transformer.resblocks.1.ln_2.bias',
    );
  });

  test('names a weight of another shape', async () => {
    const transposed = tensor([32, 64], new Float32Array(2048));
    await expect(compile(withWeight('text_projection', transposed))).rejects.toThrow(
      'text_projection has shape [32,64], expected [64,32]',
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'names a weight that holds %d',
    async (value) => {
      const values = new Float32Array(64);
      values[63] = value;
      await expect(compile(withWeight('ln_final.bias', tensor([64], values)))).rejects.toThrow(
        'ln_final.bias has values that are not finite',
      );
    },
  );

  test('accepts the largest finite values, whose sum float32 cannot hold', async () => {
    const values = new Float32Array(64).fill(3.4e38);
    const { description } = await compile(withWeight('ln_final.bias', tensor([64], values)));
    expect(description.name).toBe(identity.name);
  });

  test('in int8 writes matrices of bytes and the words in half precision', async () => {
    await using directory = await temporaryDirectory();
    const checkpoint = randomCheckpoint(tinyArchitecture, 1);
    const { description } = await compileModel({
      checkpoint,
      identity,
      target: { precision: 'int8', calibration: new Map() },
      directory: directory.path,
    });
    expect(description.precision).toBe('int8');
    const written = await stat(join(directory.path, 'text.weights'));
    const { width, layers, vocabularySize } = tinyArchitecture.text;
    const floats = 4 * (width * tinyArchitecture.embeddingDimension);
    const bytes = 2 * vocabularySize * width + 12 * layers * width * width + floats;
    // Vectors, and what is left of each weight's last page.
    expect(written.size).toBeGreaterThan(bytes);
    expect(written.size).toBeLessThan(bytes + layers * 24 * 4096 + 10 * 4096);
  });

  test('keeps words that half precision cannot hold in float32', async () => {
    const { vocabularySize, width } = tinyArchitecture.text;
    const values = new Float32Array(vocabularySize * width);
    values[5] = 70_000;
    const loud = withWeight('token_embedding.weight', tensor([vocabularySize, width], values));
    await using encoders = await compileAndOpen(loud, 1, { precision: 'int8', calibration: new Map() });
    const [embedding = new Float32Array()] = await encoders.encodeTexts([[0, 63]]);
    expect(embedding.every(Number.isFinite)).toBe(true);
  });
});
