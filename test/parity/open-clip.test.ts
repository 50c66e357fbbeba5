import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { ClipArchitecture } from '../../src/clip/architecture.ts';
import type { Checkpoint } from '../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../src/clip/checkpoint/open-checkpoint.ts';
import { compileAndOpen, type Encoders, temporaryDirectory } from '../clip/graph/compiled.ts';
import { cosine } from '../fixtures/golden.ts';
import {
  type LibraryAnswers,
  type LibraryVariant,
  libraryAnswers,
  unpackLibraryCheckpoint,
} from '../fixtures/open-clip.ts';

/** Furthest measured: 1 − 4e-13. The other activation is 2e-5 away and more. */
const COSINE = 1 - 1e-11;
/** Of embeddings that are not the library's. */
const OTHER_COSINE = 1 - 1e-6;

/** The settings with which the libraries made the checkpoints. */
const architectures: Readonly<Record<LibraryVariant, ClipArchitecture>> = {
  'open-clip-gelu': {
    embeddingDimension: 48,
    activation: 'gelu',
    vision: { imageResolution: 24, patchSize: 8, width: 160, layers: 2, heads: 2 },
    text: { contextLength: 16, vocabularySize: 64, width: 64, layers: 2, heads: 4 },
  },
  'open-clip-custom-text': {
    embeddingDimension: 40,
    activation: 'quick_gelu',
    vision: { imageResolution: 20, patchSize: 4, width: 64, layers: 2, heads: 4 },
    text: { contextLength: 12, vocabularySize: 80, width: 48, layers: 3, heads: 3 },
  },
  'open-clip-other-pixels': {
    embeddingDimension: 24,
    activation: 'gelu',
    vision: {
      imageResolution: 21,
      patchSize: 7,
      width: 80,
      layers: 2,
      heads: 2,
      normalisation: { mean: [0.5, 0.4, 0.3], deviation: [0.5, 0.25, 0.2] },
    },
    text: { contextLength: 11, vocabularySize: 50, width: 32, layers: 2, heads: 2 },
  },
  'transformers-gelu': {
    embeddingDimension: 56,
    activation: 'gelu',
    vision: { imageResolution: 18, patchSize: 6, width: 72, layers: 2, heads: 3 },
    text: { contextLength: 14, vocabularySize: 70, width: 48, layers: 3, heads: 2 },
  },
  'transformers-quick-gelu': {
    embeddingDimension: 32,
    activation: 'quick_gelu',
    vision: { imageResolution: 32, patchSize: 16, width: 64, layers: 2, heads: 2 },
    text: { contextLength: 10, vocabularySize: 60, width: 56, layers: 2, heads: 4 },
  },
};
const variants = Object.entries(architectures) as [LibraryVariant, ClipArchitecture][];

interface Distances {
  /** The smallest cosine of an embedding with the library's. */
  readonly image: number;
  readonly text: number;
}

async function compare(encoders: Encoders, answers: LibraryAnswers): Promise<Distances> {
  const images = await encoders.encodeImages(answers.pixels);
  const cosines = images.map((embedding, index) => cosine(embedding, answers.imageEmbeddings[index] ?? []));
  const textCosines: number[] = [];
  for (const [index, ids] of answers.inputIds.entries()) {
    const [embedding = []] = await encoders.encodeTexts([ids]);
    textCosines.push(cosine(embedding, answers.textEmbeddings[index] ?? []));
  }
  return { image: Math.min(...cosines), text: Math.min(...textCosines) };
}

describe.each(variants)('a checkpoint and its config as %s', (variant, architecture) => {
  let answers: LibraryAnswers;
  let checkpoint: Checkpoint;
  const cleanup = new AsyncDisposableStack();
  beforeAll(async () => {
    answers = await libraryAnswers(variant);
    const directory = cleanup.use(await temporaryDirectory());
    checkpoint = cleanup.use(await openCheckpoint(await unpackLibraryCheckpoint(variant, directory.path)));
  });
  afterAll(() => cleanup.disposeAsync());

  test('are read as what they were made as', () => {
    expect(checkpoint.layout).toBe(variant.startsWith('open-clip') ? 'state_dict' : 'huggingface');
    expect(checkpoint.architecture).toEqual(architecture);
    expect(checkpoint.assumption).toBeUndefined();
  });

  test("give the library's embeddings and logit scale", async () => {
    await using encoders = await compileAndOpen(checkpoint);
    const { image, text } = await compare(encoders, answers);
    expect(Math.min(answers.pixels.length, answers.inputIds.length)).toBe(3);
    expect(image).toBeGreaterThan(COSINE);
    expect(text).toBeGreaterThan(COSINE);
    expect(encoders.model.logitScale).toBeCloseTo(answers.logitScale, 4);
  });

  test('would give others with the other activation, or with other heads', async () => {
    const { vision, text } = architecture;
    const activation = architecture.activation === 'gelu' ? 'quick_gelu' : 'gelu';
    const others: ClipArchitecture[] = [
      { ...architecture, activation },
      { ...architecture, vision: { ...vision, heads: 1 }, text: { ...text, heads: 1 } },
    ];
    for (const other of others) {
      await using encoders = await compileAndOpen({ ...checkpoint, architecture: other });
      const { image, text } = await compare(encoders, answers);
      expect(image).toBeLessThan(OTHER_COSINE);
      expect(text).toBeLessThan(OTHER_COSINE);
    }
  });
});

test('pixels that are normalised in another way give other embeddings', async () => {
  const answers = await libraryAnswers('open-clip-other-pixels');
  await using directory = await temporaryDirectory();
  const path = await unpackLibraryCheckpoint('open-clip-other-pixels', directory.path);
  using checkpoint = await openCheckpoint(path);
  const { normalisation: _, ...vision } = checkpoint.architecture.vision;
  const architecture = { ...checkpoint.architecture, vision };
  await using encoders = await compileAndOpen({ ...checkpoint, architecture });
  expect((await compare(encoders, answers)).image).toBeLessThan(OTHER_COSINE);
});
