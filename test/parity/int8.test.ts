import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Checkpoint, WeightTensor } from '../../src/clip/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../src/clip/checkpoint/open-checkpoint.ts';
import type { Calibration } from '../../src/clip/graph/calibration.ts';
import { type CompileTarget, compileModel } from '../../src/clip/graph/compile-model.ts';
import { observedGraphFiles } from '../../src/clip/graph/compiled-model.ts';
import { observedInputs } from '../../src/clip/graph/transformer.ts';
import { encodeProbePictures, encodeProbeTexts } from '../../src/clip/precision/encode-probes.ts';
import { calibrationFor } from '../../src/clip/precision/probes.ts';
import { createTokenizer } from '../../src/clip/tokenizer/tokenizer.ts';
import { compileAndOpen, identity, temporaryDirectory } from '../clip/graph/compiled.ts';
import { cosine, goldenAnswers, goldenPicture, unpackGoldenCheckpoint } from '../fixtures/golden.ts';

// Some hundred runs of a model, and others may be running.
setDefaultTimeout(120_000);

interface Embeddings {
  readonly pictures: readonly ArrayLike<number>[];
  readonly labels: readonly ArrayLike<number>[];
}

/** How far off the worst embedding is, as 1 − cosine. */
interface Errors {
  readonly pictures: number;
  readonly labels: number;
}

const reference: Embeddings = {
  pictures: goldenAnswers.images.map(({ imageEmbedding }) => imageEmbedding),
  labels: goldenAnswers.textEmbeddings,
};
const tokenizer = createTokenizer();

async function embed(checkpoint: Checkpoint, target: CompileTarget): Promise<Embeddings> {
  await using encoders = await compileAndOpen(checkpoint, 2, target);
  const pictures: Float32Array[] = [];
  for (const { file } of goldenAnswers.images) {
    pictures.push(...(await encoders.encodeImages([await goldenPicture(`${file}.rgb`)])));
  }
  const labels: Float32Array[] = [];
  for (const label of goldenAnswers.labels) {
    labels.push(...(await encoders.encodeTexts([[...tokenizer.tokenize(label, 77)]])));
  }
  return { pictures, labels };
}

function errors(actual: Embeddings, expected: Embeddings): Errors {
  const worst = (kind: keyof Embeddings) =>
    Math.max(...actual[kind].map((embedding, index) => 1 - cosine(embedding, expected[kind][index] ?? [])));
  return { pictures: worst('pictures'), labels: worst('labels') };
}

/** What pictures and texts put into products, as the service finds it out. */
async function calibrated(checkpoint: Checkpoint): Promise<Calibration> {
  await using directory = await temporaryDirectory();
  const { architecture } = checkpoint;
  const target = { precision: 'fp32', observed: true } as const;
  await compileModel({ checkpoint, identity, target, directory: directory.path });
  const calibrating = calibrationFor({ family: 'clip', architecture });
  const sets = { probes: { ...calibrating, pictures: [], texts: [] }, calibrating };
  const tower = (name: 'vision' | 'text') => ({
    graphPath: `${directory.path}/${observedGraphFiles[name]}`,
    embeddingDimension: architecture.embeddingDimension,
    observed: observedInputs(name, architecture),
    threads: 2,
    weights: 'mapped' as const,
  });
  const pictures = await encodeProbePictures(tower('vision'), sets, () => {});
  const texts = await encodeProbeTexts(tower('text'), sets, () => {});
  return new Map([...pictures.calibration, ...texts.calibration]);
}

/** As published for CLIP: a few channels 20 to 100 times as loud as the median one. */
const LOUDNESS = [20, 35, 60, 100];

/**
 * The same weights, but for four loud channels in everything that is multiplied with weights; what hears them
 * is made quieter, so that the others count as much as before.
 */
function withLoudChannels(checkpoint: Checkpoint): Checkpoint {
  const { vision, text } = checkpoint.architecture;
  const weights = new Map(checkpoint.weights);
  /** Multiplies (or divides) four rows or columns, from `first` on. */
  const scale = (name: string, axis: 0 | 1, first: number, power: 1 | -1) => {
    const weight = weights.get(name) as WeightTensor;
    const [, columns = 1] = weight.shape;
    const values = weight.read().map((value, index) => {
      const channel = axis === 0 ? Math.floor(index / columns) : index % columns;
      return value * (LOUDNESS[channel - first] ?? 1) ** power;
    });
    weights.set(name, { shape: weight.shape, read: () => values });
  };
  for (const [tower, { width, layers }] of [
    ['visual.transformer', vision],
    ['transformer', text],
  ] as const) {
    for (let layer = 0; layer < layers; layer++) {
      const prefix = `${tower}.resblocks.${layer}`;
      for (const part of ['weight', 'bias']) {
        scale(`${prefix}.ln_1.${part}`, 0, 3, 1);
        scale(`${prefix}.ln_2.${part}`, 0, 9, 1);
        scale(`${prefix}.attn.in_proj_${part}`, 0, 2 * width + 5, 1);
        scale(`${prefix}.mlp.c_fc.${part}`, 0, 17, 1);
      }
      scale(`${prefix}.attn.in_proj_weight`, 1, 3, -1);
      scale(`${prefix}.attn.out_proj.weight`, 1, 5, -1);
      scale(`${prefix}.mlp.c_fc.weight`, 1, 9, -1);
      scale(`${prefix}.mlp.c_proj.weight`, 1, 17, -1);
    }
  }
  return { ...checkpoint, weights };
}

async function withGoldenCheckpoint<T>(use: (checkpoint: Checkpoint) => Promise<T>): Promise<T> {
  await using directory = await temporaryDirectory();
  using checkpoint = await openCheckpoint(await unpackGoldenCheckpoint('clip-tiny.pt', directory.path));
  return await use(checkpoint);
}

describe('clip-tiny in int8', () => {
  let smoothed: Errors;
  let plain: Errors;
  beforeAll(async () => {
    [smoothed, plain] = await withGoldenCheckpoint(async (checkpoint) => {
      const calibration = await calibrated(checkpoint);
      return [
        errors(await embed(checkpoint, { precision: 'int8', calibration }), reference),
        errors(await embed(checkpoint, { precision: 'int8', calibration: new Map() }), reference),
      ];
    });
  });

  test("gives the reference's embeddings", () => {
    // Measured: 2.3e-5 and 9.9e-4.
    expect(smoothed.pictures).toBeLessThan(5e-5);
    expect(smoothed.labels).toBeLessThan(1.6e-3);
  });

  test('gains by quieter channels, although none is very loud', () => {
    // Measured without: 8.3e-5.
    expect(smoothed.pictures).toBeLessThan(plain.pictures / 2);
  });
});

describe('clip-tiny with loud channels in int8', () => {
  let smoothed: Errors;
  let plain: Errors;
  beforeAll(async () => {
    [smoothed, plain] = await withGoldenCheckpoint(async (golden) => {
      const checkpoint = withLoudChannels(golden);
      const fp32 = await embed(checkpoint, { precision: 'fp32' });
      const calibration = await calibrated(checkpoint);
      return [
        errors(await embed(checkpoint, { precision: 'int8', calibration }), fp32),
        errors(await embed(checkpoint, { precision: 'int8', calibration: new Map() }), fp32),
      ];
    });
  });

  test("gives fp32's embeddings", () => {
    // Measured: 2.4e-5 and 4.7e-4.
    expect(smoothed.pictures).toBeLessThan(5e-5);
    expect(smoothed.labels).toBeLessThan(1.2e-3);
  });

  test('would not, were the channels not made quieter', () => {
    // Measured: 0.016 and 0.19.
    expect(plain.pictures).toBeGreaterThan(100 * smoothed.pictures);
    expect(plain.labels).toBeGreaterThan(100 * smoothed.labels);
  });
});
