import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { openCheckpoint } from '../../src/clip/checkpoint/open-checkpoint.ts';
import { createTokenizer } from '../../src/clip/tokenizer/tokenizer.ts';
import { compileAndOpen, type Encoders, temporaryDirectory } from '../clip/graph/compiled.ts';
import { cosine, goldenAnswers, goldenPicture, unpackGoldenCheckpoint } from '../fixtures/golden.ts';

/**
 * Furthest measured, of pictures and labels: 1 − 3.4e-12, most of which is that the golden embeddings are
 * rounded to six digits.
 */
const COSINE = 1 - 1e-10;
/** Furthest measured: 0.00006, where the golden logits are rounded to four digits. */
const LOGIT = 2e-4;

const tokenizer = createTokenizer();

// The reference's own pixels go in, so that nothing but the graphs is compared.
describe.each(['clip-tiny.pt', 'clip-tiny.safetensors'] as const)('the graphs of %s', (file) => {
  let encoders: Encoders;
  let textEmbeddings: Float32Array[];
  beforeAll(async () => {
    await using directory = await temporaryDirectory();
    using checkpoint = await openCheckpoint(await unpackGoldenCheckpoint(file, directory.path));
    encoders = await compileAndOpen(checkpoint);
    textEmbeddings = [];
    for (const label of goldenAnswers.labels) {
      const ids = [...tokenizer.tokenize(label, encoders.model.architecture.text.contextLength)];
      textEmbeddings.push(...(await encoders.encodeTexts([ids])));
    }
  });
  afterAll(() => encoders[Symbol.asyncDispose]());

  test("give the reference's embeddings of the labels", () => {
    textEmbeddings.forEach((embedding, index) => {
      expect(cosine(embedding, goldenAnswers.textEmbeddings[index] ?? [])).toBeGreaterThan(COSINE);
    });
  });

  test.each(goldenAnswers.images)("give the reference's embedding and logits of $file", async (picture) => {
    const [embedding = new Float32Array()] = await encoders.encodeImages([
      await goldenPicture(`${picture.file}.rgb`),
    ]);
    expect(cosine(embedding, picture.imageEmbedding)).toBeGreaterThan(COSINE);
    const logits = textEmbeddings.map((text) => encoders.model.logitScale * cosine(embedding, text));
    const distances = logits.map((logit, index) => Math.abs(logit - (picture.logits[index] ?? Number.NaN)));
    expect(Math.max(...distances)).toBeLessThan(LOGIT);
  });
});
