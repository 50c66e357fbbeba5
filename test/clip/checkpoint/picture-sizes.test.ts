import { expect, test } from 'bun:test';
import { manifest } from '../../../models/manifest.ts';
import type { ClipArchitecture } from '../../../src/clip/architecture.ts';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import { compileAndOpen } from '../graph/compiled.ts';
import { randomCheckpoint, randomNumbers } from '../graph/random-checkpoint.ts';
import { referenceForward } from '../graph/reference-forward.ts';
import { safetensors } from './safetensors-writer.ts';
import { TemporaryFolder } from './temporary-folder.ts';

/** The pictures and patches of a model of the manifest, in thin towers of one layer. */
function thin(name: string, imageResolution: number, patchSize: number): ClipArchitecture {
  const model = manifest.find((candidate) => candidate.name === name)!;
  return {
    embeddingDimension: 16,
    activation: model.activation,
    vision: { imageResolution, patchSize, width: 64, layers: 1, heads: 1 },
    text: { contextLength: 4, vocabularySize: 11, width: 64, layers: 1, heads: 1 },
  };
}

test.each([
  ['laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K', 256, 32, 65],
  ['laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K', 224, 32, 50],
  ['laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K', 224, 16, 197],
  ['laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K', 224, 14, 257],
])('a file of %s has pictures of %i pixels in patches of %i: %i positions', async (...row) => {
  const [name, side, patchSize, positions] = row;
  const architecture = thin(name, side, patchSize);
  const made = randomCheckpoint(architecture, side);
  expect(made.weights.get('visual.positional_embedding')?.shape).toEqual([positions, 64]);
  const tensors = new Map(
    [...made.weights].map(([weight, { shape, read }]) => [weight, { shape, values: [...read()] }]),
  );
  using folder = new TemporaryFolder();
  // A file that is published under this name needs no config.
  const { sources } = manifest.find((model) => model.name === name)!;
  const path = folder.write(sources[0]!.fileName, safetensors(tensors));
  using checkpoint = await openCheckpoint(path);
  expect(checkpoint.architecture).toEqual(architecture);

  const next = randomNumbers(1);
  const picture = Uint8Array.from({ length: side * side * 3 }, () => (next() + 1) * 127.99);
  await using encoders = await compileAndOpen(checkpoint);
  const [embedding] = await encoders.encodeImages([picture]);
  const expected = referenceForward(made).encodeImage(picture);
  expected.forEach((value, index) => {
    expect(embedding?.[index]).toBeCloseTo(value, 5);
  });
});
