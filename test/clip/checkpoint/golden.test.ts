import { expect, test } from 'bun:test';
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { CheckpointError } from '../../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import { TemporaryFolder } from './temporary-folder.ts';

const golden = join(import.meta.dir, '../../golden');

function unpacked(folder: TemporaryFolder, name: string): string {
  return folder.write(name, gunzipSync(readFileSync(join(golden, `${name}.gz`))));
}

test('the golden TorchScript checkpoint has the architecture its weights were made with', async () => {
  using folder = new TemporaryFolder();
  using checkpoint = await openCheckpoint(unpacked(folder, 'clip-tiny.pt'));
  expect(checkpoint.layout).toBe('torchscript');
  expect(checkpoint.architecture).toEqual({
    embeddingDimension: 64,
    activation: 'quick_gelu',
    vision: { imageResolution: 224, patchSize: 32, width: 128, layers: 2, heads: 2 },
    text: { contextLength: 77, vocabularySize: 49408, width: 64, layers: 2, heads: 1 },
  });
  // The reference's model.py: 8 outside of the vision layers, 6 outside of the text layers, 12 in each layer.
  expect(checkpoint.weights.size).toBe(8 + 6 + 4 * 12);
  expect(checkpoint.weights.get('visual.proj')?.shape).toEqual([128, 64]);
  expect(checkpoint.weights.get('logit_scale')?.shape).toEqual([]);
  expect(checkpoint.weights.has('input_resolution')).toBe(false);
});

test('both golden layouts give the same weights under the same names', async () => {
  using folder = new TemporaryFolder();
  using torchscript = await openCheckpoint(unpacked(folder, 'clip-tiny.pt'));
  using huggingFace = await openCheckpoint(unpacked(folder, 'clip-tiny.safetensors'));
  expect(huggingFace.layout).toBe('huggingface');
  expect(huggingFace.architecture).toEqual(torchscript.architecture);
  expect([...huggingFace.weights.keys()]).toEqual([...torchscript.weights.keys()]);
  for (const [name, weight] of torchscript.weights) {
    const other = huggingFace.weights.get(name)!;
    expect(other.shape).toEqual(weight.shape);
    const values = weight.read();
    expect(values.length).toBe(weight.shape.reduce((count, size) => count * size, 1));
    expect(values.some((value) => value !== 0)).toBe(true);
    expect(Buffer.from(other.read().buffer).equals(Buffer.from(values.buffer)), name).toBe(true);
  }
});

test('a weight is read again each time, and not after disposal', async () => {
  using folder = new TemporaryFolder();
  const checkpoint = await openCheckpoint(unpacked(folder, 'clip-tiny.pt'));
  const weight = checkpoint.weights.get('ln_final.weight')!;
  const first = weight.read();
  first.fill(0);
  expect(weight.read().some((value) => value !== 0)).toBe(true);
  checkpoint[Symbol.dispose]();
  checkpoint[Symbol.dispose]();
  expect(() => weight.read()).toThrow('already closed');
});

test('a file that shrinks while it is open is an error of the checkpoint', async () => {
  using folder = new TemporaryFolder();
  const path = unpacked(folder, 'clip-tiny.pt');
  using checkpoint = await openCheckpoint(path);
  truncateSync(path, 1000);
  const read = () => checkpoint.weights.get('token_embedding.weight')!.read();
  expect(read).toThrow(CheckpointError);
  expect(read).toThrow('it ends before byte');
});
