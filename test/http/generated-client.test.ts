import { afterAll, beforeAll, expect, mock, test } from 'bun:test';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript-5';
import { start, type TestServer } from './harness.ts';

// The generator needs the compiler's API, which TypeScript 7 does not have.
mock.module('typescript', () => ({ default: ts, ...ts }));
const { default: generate, astToString } = await import('openapi-typescript');

/** A client as its users write it. It prints what it has read. */
const program = `
import createClient from 'openapi-fetch';
import type { components, paths } from './api.ts';

type Schemas = components['schemas'];
const baseUrl = process.argv[2] ?? '';
const client = createClient<paths>({ baseUrl });
type Field = string | Blob | readonly (string | Blob)[];
const bodySerializer = (body: object) => {
  const form = new FormData();
  const fields = Object.entries(body as Record<string, Field>);
  for (const [name, value] of fields) for (const item of [value].flat()) form.append(name, item);
  return form;
};
const found: Record<string, unknown> = {};

const categories = 'cat,dog';
const files = [new File(['cat'], 'a.jpg'), new File(['dog'], 'b.jpg')];
const broken = new File(['broken:image_broken'], 'c.jpg');
const pictures = { body: { files, categories }, bodySerializer };
const faulty = { body: { files: [...files, broken], categories }, bodySerializer };
const query = { details: true, top_k: 1, threshold: 0.5, template: ['a {}'], on_error: 'skip' as const };

const plain = await client.POST('/categorize', pictures);
found.categorize = (plain.data as Schemas['CategorizeAnswer'])['a.jpg'];
const { data: categorized } = await client.POST('/categorize', { ...faulty, params: { query } });
{
  const { results, errors, model } = categorized as Schemas['CategorizeDetails'];
  const [first] = results;
  found.categorized = [first?.file, first?.category, first?.score?.toFixed(1), first?.scores[0]?.category];
  found.errors = [errors[0]?.file, errors[0]?.code, model.embedding_dimension.toFixed()];
}

const several = await client.POST('/categorize', { ...pictures, params: { query: { several: true, threshold: 0.1 } } });
found.several = (several.data as Schemas['CategorizeSeveralAnswer'])['a.jpg'];
const both = { ...query, others: true, several: true };
const { data: compared } = await client.POST('/categorize', { ...pictures, params: { query: both } });
const [one] = (compared as Schemas['CategorizeDetails']).results;
found.compared = [one?.categories, one?.background?.phrase, one?.background?.similarity.toFixed(1)];

const jsonOf = (body: object) => ({ body: body as never, headers: { 'content-type': 'application/json' } });
const labels = await client.POST('/categorize', jsonOf({ inputs: btoa('cat'), parameters: { candidate_labels: ['cat', 'dog'] } }));
found.labels = (labels.data as Schemas['LabelScore'][]).map(({ label, score }) => [label, score.toFixed(1)]);
const lines = await client.POST('/categorize', { ...pictures, headers: { accept: 'application/x-ndjson' }, parseAs: 'text' });
for (const line of String(lines.data).trim().split('\\n')) {
  const event = JSON.parse(line) as Schemas['CategorizeEvent'];
  if (event.event === 'answer') found[event.data.file] = [event.data.index.toFixed(), event.data.category];
  if (event.event === 'end') found.end = [event.data.files.toFixed(), event.data.broken.toFixed(), event.data.model.name];
}

const embedded = await client.POST('/embeddings', { body: { files, texts: ['cat'], ids: ['1', '2'] }, bodySerializer });
const answer = embedded.data as Schemas['EmbeddingsAnswer'];
found.embeddings = [answer.model, answer.precision, answer.dimension.toFixed(), answer.errors.length];
found.embedded = answer.embeddings.map(({ file, id, text, embedding }) => [file ?? text, id ?? '', embedding.length]);
const list = await client.POST('/v1/embeddings', jsonOf({ input: ['cat'], encoding_format: 'base64' }));
const { data, usage } = list.data as Schemas['EmbeddingList'];
found.list = [data[0]?.index.toFixed(), typeof data[0]?.embedding, usage.prompt_tokens.toFixed()];
const stored = new File([JSON.stringify(answer).replace(/,{"text".*?}/, '')], 'stored.json');
const again = await client.POST('/image', { body: { embeddings: [stored], categories }, bodySerializer });
found.again = (again.data as Schemas['ImageAnswer'])['dog'];

const { data: image } = await client.POST('/image', { ...pictures, params: { query } });
if (image && Array.isArray(image.results)) {
  found.image = [image.results[0]?.file, image.results[0]?.similarity?.toFixed(1)];
}

const { error, response } = await client.POST('/image', faulty);
found.failed = [response.status, error?.code, error?.errors?.[0]?.error];
const { error: empty } = await client.POST('/categorize', { ...pictures, params: { query: { top_k: 0 } } });
found.refused = [empty?.code, empty?.limit?.toFixed(), empty?.retry_after_seconds?.toFixed(), empty?.request_id];

const film = { body: { video: new File(['cat@1.5 dog@3'], 'film.mp4'), categories }, bodySerializer };
const { data: named } = await client.POST('/video', { ...film, params: { query: { images: false } } });
found.video = (named as Schemas['VideoAnswer'])['cat'];
const { data: video } = await client.POST('/video', { ...film, params: { query: { details: true } } });
const details = video as Schemas['VideoDetails'];
const [cat] = details.results;
found.details = [details.video.frames_considered.toFixed(), cat?.timestamp?.toFixed(1), cat?.image?.length, details.warnings];

const events = await client.POST('/video', {
  ...film,
  params: { query: { images: false } },
  headers: { accept: 'application/x-ndjson' },
  parseAs: 'text',
});
for (const line of String(events.data).trim().split('\\n')) {
  const event = JSON.parse(line) as Schemas['VideoEvent'];
  if (event.event === 'progress') found.stage ??= [event.data.stage, event.data.frames?.toFixed() ?? ''];
  else if (event.event === 'error') found.failure = event.data.code;
  else found.result = Object.keys(event.data);
}

const { data: health } = await client.GET('/health');
found.health = [health?.state, health?.model?.name, health?.precision_report?.texts.count.toFixed()];
found.loading = health?.progress?.seconds_left ?? null;
const { data: ready } = await client.GET('/ready');
found.ready = [ready?.ready, ready?.model.precision];
found.welcome = (await client.GET('/', { parseAs: 'text' })).data?.slice(0, 15);
found.metrics = (await client.GET('/metrics', { parseAs: 'text' })).data?.slice(0, 6);
console.log(JSON.stringify(found));
`;

const compilerOptions = {
  target: 'ESNext',
  module: 'Preserve',
  lib: ['ESNext', 'DOM', 'DOM.Iterable'],
  types: ['bun-types'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  noEmit: true,
};

interface Schema {
  readonly properties?: Record<string, unknown>;
  readonly required?: readonly string[];
}
interface Document {
  readonly components: { readonly schemas: Record<string, Schema> };
}

const root = join(import.meta.dir, '../..');
let folder: string;
let server: TestServer;
let document: Document;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  server = start();
  document = (await (await fetch(server.address('/swagger/json'))).json()) as Document;
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Generates the types of a document and checks the program with them. @returns the compiler's faults */
async function check(name: string, described: Document): Promise<string> {
  const place = join(folder, name);
  await mkdir(place);
  const types = await generate(JSON.stringify(described), {
    transform: ({ format }) => (format === 'binary' ? ts.factory.createTypeReferenceNode('Blob') : undefined),
  });
  await Bun.write(join(place, 'api.ts'), astToString(types));
  await Bun.write(join(place, 'client.ts'), program);
  await Bun.write(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['client.ts'] }));
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const compiling = Bun.spawn([process.execPath, compiler, '--project', place], { stdout: 'pipe' });
  return await compiling.stdout.text();
}

test('a generated client of TypeScript compiles, and reads every answer', async () => {
  expect(await check('whole', document)).toBe('');
  const client = Bun.spawn([process.execPath, join(folder, 'whole/client.ts'), server.address('')], {
    stdout: 'pipe',
  });
  expect(JSON.parse(await client.stdout.text())).toEqual({
    categorize: 'cat',
    categorized: ['a.jpg', 'cat', '0.8', 'cat'],
    errors: ['c.jpg', 'image_broken', '2'],
    several: ['cat', 'dog'],
    compared: [['cat'], 'object', '0.1'],
    labels: [
      ['cat', '0.8'],
      ['dog', '0.2'],
    ],
    'a.jpg': ['0', 'cat'],
    'b.jpg': ['1', 'dog'],
    end: ['2', '0', 'fake'],
    embeddings: ['fake', 'fp32', '2', 0],
    embedded: [
      ['a.jpg', '1', 2],
      ['b.jpg', '2', 2],
      ['cat', '', 2],
    ],
    list: ['0', 'string', '3'],
    again: 'b.jpg',
    image: ['a.jpg', '0.2'],
    failed: [422, 'files_broken', 'It is broken.'],
    refused: ['option_invalid', null, null, null],
    video: ['film-1.500.jpg'],
    details: ['2', '1.5', 28, []],
    stage: ['waiting', ''],
    result: ['cat', 'dog'],
    health: ['ready', 'fake', '1000'],
    loading: null,
    ready: [true, 'fp32'],
    welcome: 'classify-images',
    metrics: '# HELP',
  });
});

test.each([
  ['Error', 'errors'],
  ['Error', 'retry_after_seconds'],
  ['Error', 'request_id'],
  ['Error', 'limit'],
  ['FileError', 'code'],
  ['CategorizeResult', 'category'],
  ['CategorizeResult', 'categories'],
  ['CategorizeResult', 'background'],
  ['ImageResult', 'similarity'],
  ['LabelScore', 'label'],
  ['EmbeddingsAnswer', 'dimension'],
  ['EmbeddingResult', 'embedding'],
  ['EmbeddingList', 'usage'],
  ['VideoResult', 'timestamp'],
  ['VideoProgress', 'frames'],
  ['Model', 'embedding_dimension'],
  ['Health', 'precision_report'],
  ['Ready', 'ready'],
  ['LoadingProgress', 'seconds_left'],
])('a document without %s.%s breaks it', async (schema, field) => {
  const less = structuredClone(document);
  const { properties, required = [] } = less.components.schemas[schema] ?? {};
  expect(delete properties?.[field]).toBe(true);
  Object.assign(less.components.schemas[schema] ?? {}, {
    required: required.filter((name) => name !== field),
  });
  expect(await check(`${schema}.${field}`, less)).toContain(`Property '${field}' does not exist`);
});
