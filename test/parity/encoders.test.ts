import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Encoders, loadEncoders } from '../../src/clip/encoders.ts';
import type { CompiledModel } from '../../src/clip/graph/compiled-model.ts';
import { resizeAndCrop } from '../../src/clip/preprocessing.ts';
import { prepareModel } from '../../src/clip/store/prepare-model.ts';
import { createLog } from '../../src/log.ts';
import { createPictureLoader } from '../../src/media/picture/picture.ts';
import { createPictureProcesses } from '../../src/media/picture/picture-process.ts';
import {
  cosine,
  type GoldenPicture,
  goldenAnswers,
  goldenPicture,
  unpackGoldenCheckpoint,
} from '../fixtures/golden.ts';

/** The reference's answers are rounded to six digits: no cosine can be proven closer to 1 than some 1e-9. */
const textCosine = 0.999999;

/** How close a picture's answer must come, and why not closer. */
interface Tolerance {
  readonly cosine: number;
  readonly logit: number;
}
/** Decoded whole. */
const whole: Tolerance = { cosine: 0.99999, logit: 0.01 };
/** Over 4 times the target size libjpeg shrinks while it decodes, which saves most of the time. */
const shrunk: Tolerance = { cosine: 0.9999, logit: 0.1 };
/** Pillow has its own way with alpha. */
const alpha: Tolerance = { cosine: 0.999, logit: 0.5 };

function toleranceOf({ file, width, height }: GoldenPicture): Tolerance {
  if (/alpha|rgba/.test(file)) return alpha;
  return file.endsWith('.jpg') && Math.min(width, height) > 4 * 224 ? shrunk : whole;
}

/** The reference resizes a palette picture's indices, which makes no sense. */
const pictures = goldenAnswers.images.filter(({ file }) => file !== 'palette.png');

async function compile(
  file: 'clip-tiny.pt' | 'clip-tiny.safetensors',
  folder: string,
): Promise<CompiledModel> {
  const name = await unpackGoldenCheckpoint(file, folder);
  const model = {
    name,
    cacheDirectory: folder,
    url: undefined,
    precision: 'fp32',
    demoFallback: false,
  } as const;
  const options = { model, log: createLog('silent'), terminal: null };
  return await prepareModel(options, () => undefined, new AbortController().signal);
}

const loadPicture = createPictureLoader({
  geometry: (width, height) => resizeAndCrop(width, height, 224),
  limits: { imageBytes: 64 * 1024 ** 2, imagePixels: 100_000_000 },
  isolated: createPictureProcesses({ processes: 1, memoryBytes: 800 * 1024 ** 2 }),
});

let folder: string;
let encoders: Encoders;
let compiled: CompiledModel;

async function encodeFile(file: string): Promise<Float32Array> {
  using slot = await encoders.imageEncoder.acquireSlot();
  await loadPicture(await goldenPicture(file), slot.pixels);
  return await slot.encode();
}

for (const checkpoint of ['clip-tiny.pt', 'clip-tiny.safetensors'] as const) {
  describe(`${checkpoint} against the reference`, () => {
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
      compiled = await compile(checkpoint, folder);
      encoders = await loadEncoders(compiled, { threads: 2 });
    });

    afterAll(async () => {
      await encoders[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });

    test('label embeddings', async () => {
      const embeddings = await encoders.labelEncoder.encode(goldenAnswers.labels, ['{}']);
      embeddings.forEach((embedding, index) => {
        expect(cosine(embedding, goldenAnswers.textEmbeddings[index] as number[])).toBeGreaterThan(
          textCosine,
        );
      });
    });

    test.each(pictures)('$file', async (picture) => {
      const tolerance = toleranceOf(picture);
      const labels = await encoders.labelEncoder.encode(goldenAnswers.labels, ['{}']);
      const embedding = await encodeFile(picture.file);
      expect(cosine(embedding, picture.imageEmbedding)).toBeGreaterThanOrEqual(tolerance.cosine);
      const logits = labels.map((label) => compiled.logitScale * cosine(embedding, label));
      const distances = logits.map((logit, index) => Math.abs(logit - (picture.logits[index] as number)));
      expect(Math.max(...distances)).toBeLessThanOrEqual(tolerance.logit);
      expect(logits.indexOf(Math.max(...logits))).toBe(picture.logits.indexOf(Math.max(...picture.logits)));
    });

    test('a picture among others has the digits it has alone', async () => {
      const alone: Float32Array[] = [];
      for (const { file } of pictures.slice(0, 9)) alone.push(await encodeFile(file));
      const together = await Promise.all(pictures.slice(0, 9).map(({ file }) => encodeFile(file)));
      expect(together).toEqual(alone);
    });

    test('a picture in a queue for copies of the tower has the digits it has alone', async () => {
      await using copied = await loadEncoders(compiled, { threads: 3, copiesBytes: 1024 ** 3 });
      await copied.loadCopies();
      const encode = async (file: string) => {
        using slot = await copied.imageEncoder.acquireSlot();
        await loadPicture(await goldenPicture(file), slot.pixels);
        return await slot.encode();
      };
      for (const { file } of pictures.slice(0, 2)) expect(await encode(file)).toEqual(await encodeFile(file));
      const queue = Array.from({ length: 24 }, (_, index) => pictures[index % 9]?.file as string);
      const alone = new Map<string, Float32Array>();
      for (const file of new Set(queue)) alone.set(file, await encodeFile(file));
      expect(await Promise.all(queue.map(encode))).toEqual(
        queue.map((file) => alone.get(file) as Float32Array),
      );
    });

    test('a label among others has the digits it has alone', async () => {
      const labels = ['one cat', 'two dogs', 'a photo of a red apple on a wooden table', 'three birds'];
      const together = await encoders.labelEncoder.encode(labels, ['{}']);
      await using fresh = await loadEncoders(compiled, { threads: 2 });
      for (const [index, label] of labels.entries()) {
        const [alone] = await fresh.labelEncoder.encode([label], ['{}']);
        expect(alone).toEqual(together[index] as Float32Array);
      }
    });
  });
}
