import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceClient } from '@huggingface/inference';
import OpenAI, { APIError } from 'openai';
import * as v from 'valibot';
import {
  categorizeDetailsSchema,
  embeddingsAnswerSchema,
  labelScoresSchema,
} from '../../src/contract/schemas.ts';
import { colourPicture } from '../fixtures/colour-pictures.ts';
import { cosine, goldenAnswers, goldenPicture, unpackGoldenCheckpoint } from '../fixtures/golden.ts';
import { tiff } from '../media/sample-pictures.ts';
import { type Service, startService } from './service.ts';

let folder: string;
let demo: Service;
let golden: Service;
let pictures: readonly File[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  const checkpoint = await unpackGoldenCheckpoint('clip-tiny.pt', folder);
  demo = await startService({ CLIP_MODEL: 'demo', CLIP_CACHE: join(folder, 'demo') });
  golden = await startService({
    CLIP_MODEL: checkpoint,
    CLIP_CACHE: join(folder, 'golden'),
    CLIP_PRECISION: 'fp32',
  });
  await Promise.all([demo.ready(), golden.ready()]);
  const yellow = await colourPicture([245, 215, 40], 'jpeg');
  const blue = await colourPicture([35, 70, 200], 'png');
  pictures = [
    new File([yellow], 'yellow.jpg'),
    new File([blue], 'blue.png'),
    new File([await tiff(300, 200)], 'scene.tif'),
  ];
});

afterAll(async () => {
  await Promise.all([demo[Symbol.asyncDispose](), golden[Symbol.asyncDispose]()]);
  await rm(folder, { recursive: true, force: true });
});

const formOf = (fields: Readonly<Record<string, string | readonly File[]>>) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const item of [value].flat()) form.append(name, item);
  }
  return form;
};

async function post(service: Service, path: string, fields: Parameters<typeof formOf>[0], accept = '*/*') {
  const init = { method: 'POST', body: formOf(fields), headers: { accept } };
  const response = await fetch(`${service.url}${path}`, init);
  expect(response.status).toBe(200);
  return await response.text();
}

/** A picture as a data URL. */
const urlOf = async (file: File) =>
  `data:image/png;base64,${Buffer.from(await file.bytes()).toString('base64')}`;

describe('the client of OpenAI', () => {
  const client = (path: string) =>
    new OpenAI({ baseURL: `${demo.url}${path}`, apiKey: 'any', maxRetries: 0 });

  test.each(['', '/v1'])('reads embeddings at the address of the service + %p', async (path) => {
    const [yellow, blue] = await Promise.all(pictures.map(urlOf));
    const input = ['something yellow', yellow ?? '', 'something blue', blue ?? ''];
    const request = { model: 'any', input };
    // By default it asks for base64, which it decodes.
    const { data, model, usage } = await client(path).embeddings.create(request);
    expect(model).toBe('demo');
    expect(usage).toEqual({ prompt_tokens: 8, total_tokens: 8 });
    expect(data.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    const floats = await client(path).embeddings.create({ ...request, encoding_format: 'float' });
    const asFloat32 = (found: typeof data) => found.map(({ embedding }) => [...Float32Array.from(embedding)]);
    expect(asFloat32(floats.data)).toEqual(asFloat32(data));
    const similarity = (a: number, b: number) => cosine(data[a]?.embedding ?? [], data[b]?.embedding ?? []);
    expect(similarity(0, 1)).toBeGreaterThan(similarity(0, 3));
    expect(similarity(2, 3)).toBeGreaterThan(similarity(2, 1));
    const form = await post(demo, '/embeddings', { files: pictures.slice(0, 2) });
    const { embeddings } = v.parse(embeddingsAnswerSchema, JSON.parse(form));
    expect([...Float32Array.from(embeddings[1]?.embedding as number[])]).toEqual(
      asFloat32(data)[3] as number[],
    );
  });

  test('says why a request is refused', async () => {
    const fault = await client('/v1')
      .embeddings.create({ model: 'any', input: 'data:image/png;base64,AAAA' })
      .catch((thrown: unknown) => thrown);
    expect(fault).toBeInstanceOf(APIError);
    expect(String(fault)).toContain('cannot be used');
  });
});

test('the client of Hugging Face reads zero-shot image classification', async () => {
  const client = new InferenceClient().endpoint(`${demo.url}/categorize`);
  for (const [picture, best] of [
    [pictures[0], 'yellow'],
    [pictures[1], 'blue'],
  ] as const) {
    const answer = await client.zeroShotImageClassification({
      inputs: { image: picture as Blob },
      parameters: { candidate_labels: ['blue', 'yellow', 'red'], hypothesis_template: 'something {}' },
    });
    expect(answer[0]?.label).toBe(best);
    const details = await post(demo, '/categorize?details=true&template=something {}', {
      files: [picture as File],
      categories: 'blue,yellow,red',
    });
    const { scores = [] } = v.parse(categorizeDetailsSchema, JSON.parse(details)).results[0] ?? {};
    expect(answer).toEqual(scores.map(({ category, score }) => ({ label: category, score })));
  }
  // With several pictures, which the client cannot send.
  const inputs = await Promise.all(pictures.map(urlOf));
  const response = await fetch(`${demo.url}/categorize`, {
    method: 'POST',
    body: JSON.stringify({ inputs, parameters: { candidate_labels: ['blue', 'yellow'] } }),
    headers: { 'content-type': 'application/json' },
  });
  const lists = v.parse(labelScoresSchema, await response.json());
  expect(lists).toHaveLength(3);
});

describe('embeddings of the reference checkpoint', () => {
  test('are those of the reference', async () => {
    // Those that are neither shrunk while they are decoded nor have alpha, where decoders differ.
    const sound = goldenAnswers.images.filter(
      ({ file, width, height }) => Math.min(width, height) <= 4 * 224 && !/alpha|rgba|palette/.test(file),
    );
    const files = await Promise.all(
      sound.map(async ({ file }) => new File([await goldenPicture(file)], file)),
    );
    const texts = [new File([JSON.stringify(goldenAnswers.labels)], 'labels.json')];
    const answer = await post(golden, '/embeddings', { files, texts });
    const { embeddings, precision, dimension } = v.parse(embeddingsAnswerSchema, JSON.parse(answer));
    expect(precision).toBe('fp32');
    expect(embeddings).toHaveLength(sound.length + goldenAnswers.labels.length);
    const known = [...sound.map(({ imageEmbedding }) => imageEmbedding), ...goldenAnswers.textEmbeddings];
    for (const [index, { embedding }] of embeddings.entries()) {
      expect(embedding).toHaveLength(dimension);
      expect(Math.hypot(...(embedding as number[]))).toBeCloseTo(1, 6);
      expect(cosine(embedding as number[], known[index] as number[])).toBeGreaterThanOrEqual(0.99999);
    }
  });

  test.each(['/categorize', '/image', '/categorize?details=true', '/image?details=true&top_k=2'])(
    'give %s the answer of the pictures, to the bit',
    async (path) => {
      for (const service of [demo, golden]) {
        const categories = 'something yellow,something blue,a dog,a cat';
        const answer = await post(service, path, { files: pictures, categories });
        const json = await post(service, '/embeddings', { files: pictures });
        const base64 = await post(service, '/embeddings?encoding_format=base64', { files: pictures });
        for (const document of [json, base64]) {
          const embeddings = [new File([document], 'embeddings')];
          expect(await post(service, path, { embeddings, categories })).toBe(answer);
        }
      }
    },
  );

  test('of another model are refused', async () => {
    const document = await post(golden, '/embeddings', { files: pictures });
    const body = formOf({ embeddings: [new File([document], 'embeddings')], categories: 'a,b' });
    const response = await fetch(`${demo.url}/categorize`, { method: 'POST', body });
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code: 'embeddings_mismatch' });
  });

  test('may be kept as the lines in which they arrive, where one is not L2-normalised any more', async () => {
    const lines = await post(demo, '/embeddings', { files: pictures }, 'application/x-ndjson');
    const categories = 'yellow,blue';
    const ask = async (document: string) => {
      const body = formOf({ embeddings: [new File([document], 'embeddings.jsonl')], categories });
      const response = await fetch(`${demo.url}/categorize`, { method: 'POST', body });
      return (await response.json()) as Record<string, string>;
    };
    const sorted = (answer: string) => Object.entries(JSON.parse(answer) as object).toSorted();
    const answer = await post(demo, '/categorize', { files: pictures, categories });
    expect(sorted(JSON.stringify(await ask(lines)))).toEqual(sorted(answer));
    const longer = lines.replace(/"embedding":\[[^,]+,/, '"embedding":[2,');
    const { code, error } = await ask(longer);
    expect(code).toBe('embeddings_invalid');
    expect(error).toMatch(/^The embedding of "\w+\.\w+" has the length 2\.\d+;/);
  });
});
