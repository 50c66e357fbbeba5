import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import * as v from 'valibot';
import { clientActions, errorMeanings, statusOf } from '../../src/contract/codes.ts';
import { imageOptionsSchema, optionsSchema, videoOptionsSchema } from '../../src/contract/options.ts';
import * as schemas from '../../src/contract/schemas.ts';
import { errorCodes } from '../../src/errors.ts';
import { form, start, type TestServer } from './harness.ts';

interface Schema {
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly [key: string]: unknown;
}

interface Media {
  readonly schema?: Schema;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}

interface Operation {
  readonly summary?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly description?: string;
    readonly example?: unknown;
    readonly schema: Readonly<Record<string, unknown>>;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content: Readonly<Record<string, Media>> }>
  >;
  readonly security?: readonly object[];
}

interface Document {
  readonly info: { readonly description: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly servers: readonly { readonly url: string }[];
  readonly security: readonly object[];
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes?: object;
  };
}

async function documentOf({ address }: TestServer): Promise<Document> {
  return (await (await fetch(address('/swagger/json'))).json()) as Document;
}

let server: TestServer;
let document: Document;
beforeAll(async () => {
  server = start();
  document = await documentOf(server);
});
afterAll(() => server[Symbol.asyncDispose]());

const sse = v.pipe(v.string(), v.regex(/^(?:event: \w+\ndata: \{.*\}\n\n)+$/));

/** The shapes of each endpoint's success. */
const answers: Readonly<Record<string, readonly v.GenericSchema[]>> = {
  '/': [v.pipe(v.string(), v.startsWith('classify-images'))],
  '/health': [schemas.healthSchema],
  '/ready': [schemas.readySchema],
  '/metrics': [v.pipe(v.string(), v.regex(/^# HELP classify_images_/))],
  '/categorize': [
    schemas.categorizeAnswerSchema,
    schemas.categorizeDetailsSchema,
    schemas.labelScoresSchema,
    schemas.categorizeEventSchema,
    sse,
  ],
  '/embeddings': [
    schemas.embeddingsAnswerSchema,
    schemas.embeddingListSchema,
    schemas.embeddingsEventSchema,
    sse,
  ],
  '/v1/embeddings': [
    schemas.embeddingsAnswerSchema,
    schemas.embeddingListSchema,
    schemas.embeddingsEventSchema,
    sse,
  ],
  '/image': [schemas.imageAnswerSchema, schemas.imageDetailsSchema],
  '/video': [schemas.videoAnswerSchema, schemas.videoDetailsSchema, schemas.videoEventSchema, sse],
};

/** The schema at an address such as `#/components/schemas/Model`. */
function named(address: unknown): Schema | undefined {
  return document.components.schemas[String(address).split('/').at(-1) ?? ''];
}

const pictureUploads = ['/categorize', '/image'] as const;
const uploads = [...pictureUploads, '/video'] as const;

describe('the OpenAPI document', () => {
  test('is valid', async () => {
    const { valid, errors } = await new Validator().validate(JSON.parse(JSON.stringify(document)));
    expect(errors ?? []).toEqual([]);
    expect(valid).toBe(true);
  });

  test('has every endpoint and no other', () => {
    expect(Object.entries(document.paths).map(([path, methods]) => [path, Object.keys(methods)])).toEqual([
      ['/', ['get']],
      ['/health', ['get']],
      ['/ready', ['get']],
      ['/metrics', ['get']],
      ['/categorize', ['post']],
      ['/image', ['post']],
      ['/embeddings', ['post']],
      ['/v1/embeddings', ['post']],
      ['/video', ['post']],
    ]);
  });

  test('lists the typed detailed answer first: generated clients use the first schema that fits', () => {
    for (const path of uploads) {
      const schema = document.paths[path]?.post?.responses['200']?.content['application/json']?.schema;
      const shapes = (schema?.oneOf ?? []).map(({ $ref }) => named($ref));
      const [details, answer] = [shapes[0], shapes.at(-1)];
      expect(details?.required).toEqual(expect.arrayContaining(['model', 'results']));
      expect(answer?.additionalProperties).toBeObject();
    }
  });

  test('names its schemas, and every failure has the same one', () => {
    expect(Object.keys(document.components.schemas)).toEqual(Object.keys(schemas.namedSchemas));
    const text = JSON.stringify(document);
    for (const [address] of text.matchAll(/#\/components\/[^"]+/g)) expect(named(address)).toBeObject();
    for (const { responses } of Object.values(document.paths).flatMap(Object.values<Operation>)) {
      for (const [status, { content }] of Object.entries(responses)) {
        if (status === '200') continue;
        expect(content['application/json']?.schema).toEqual({ $ref: '#/components/schemas/Error' });
      }
    }
  });

  test('every schema has a type, and every count is a whole number', () => {
    const untyped: string[] = [];
    const visit = (place: string, { properties, ...schema }: Schema) => {
      if (!schema.type && !schema.$ref && !schema.oneOf && !schema.anyOf) untyped.push(place);
      for (const [name, child] of Object.entries(properties ?? {})) visit(`${place}.${name}`, child);
    };
    for (const [name, schema] of Object.entries(document.components.schemas)) visit(name, schema);
    expect(untyped).toEqual([]);
    const { Error: error, Model: model, VideoProgress: progress } = document.components.schemas;
    for (const count of [
      error?.properties?.retry_after_seconds,
      error?.properties?.limit,
      model?.properties?.embedding_dimension,
      progress?.properties?.frames,
    ]) {
      expect(count).toMatchObject({ type: 'integer', minimum: 0 });
    }
    expect(document.components.schemas.Ready?.properties?.ready?.type).toBe('boolean');
    // OpenAPI 3.0 ignores what stands beside a reference.
    for (const [reference] of JSON.stringify(document).matchAll(/.{2}"\$ref":"[^"]+"./g)) {
      expect(reference).toMatch(/^[:[,]\{"\$ref":"[^"]+"\}$/);
    }
  });

  test('lets later versions add codes', () => {
    const { ErrorCode: code } = document.components.schemas;
    expect(code?.type).toBe('string');
    expect(code?.enum).toBeUndefined();
    expect(code?.['x-extensible-enum']).toEqual([...errorCodes]);
  });

  test.each(['/', '/clip/'])('is about the service that serves it, also below %s', (base) => {
    const [server] = document.servers;
    expect(document.servers).toHaveLength(1);
    const url = new URL(server?.url ?? '', `http://proxy.test${base}swagger/json`);
    expect(url.href).toBe(`http://proxy.test${base}`);
  });

  test.each(['/swagger', '/swagger/'])('the page at %s finds its files below a path prefix', async (path) => {
    const html = await (await fetch(server.address(path))).text();
    const links = [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link = '']) => link);
    expect(links.length).toBe(4);
    for (const link of links) {
      const { pathname } = new URL(link, `http://proxy.test/clip${path}`);
      expect(pathname).toStartWith('/clip/swagger/assets/');
      expect((await fetch(server.address(pathname.slice('/clip'.length)))).status).toBe(200);
    }
    const script = await (await fetch(server.address('/swagger/assets/start.js'))).text();
    expect(script).not.toContain("'/swagger");
  });

  test('every answer has an example, and every example is an answer', () => {
    let examined = 0;
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const { responses, summary } of Object.values(methods)) {
        expect(summary).toBeString();
        for (const [status, { content }] of Object.entries(responses)) {
          for (const { example, examples } of Object.values(content)) {
            const values = examples ? Object.values(examples).map(({ value }) => value) : [example];
            const shapes = status === '200' ? (answers[path] ?? []) : [schemas.errorSchema];
            for (const value of values) {
              const fits = shapes.some((shape) => Bun.deepEquals(v.safeParse(shape, value).output, value));
              expect({ path, status, value, fits }).toMatchObject({ fits: true });
              examined += 1;
            }
          }
        }
      }
    }
    expect(examined).toBeGreaterThan(50);
  });

  test('lists every error code with its status, and what a client should do', () => {
    const advice = String(document.components.schemas.ErrorCode?.description).split('\n\n');
    for (const code of errorCodes) {
      const { status, client } = errorMeanings[code];
      expect(document.info.description).toContain(`| \`${code}\` | ${status} | \`${client}\` |`);
      const lines = advice.filter((line) => line.includes(`\`${code}\``));
      expect(lines).toHaveLength(1);
      expect(lines[0]).toEndWith(`: ${clientActions[client]}`);
    }
    for (const [client, action] of Object.entries(clientActions)) {
      expect(document.info.description).toContain(`| \`${client}\` | ${action} |`);
    }
  });

  test.each(uploads)('%s has an example for each of its errors, under the right status', (path) => {
    const responses = document.paths[path]?.post?.responses ?? {};
    const seen: string[] = [];
    for (const [status, { description, content }] of Object.entries(responses)) {
      if (status === '200') continue;
      for (const [code, { value }] of Object.entries(content['application/json']?.examples ?? {})) {
        const known = v.parse(v.picklist(errorCodes), code);
        expect(String(statusOf(known))).toBe(status);
        expect(v.parse(schemas.errorSchema, value).code).toBe(known);
        const { client } = errorMeanings[known];
        const [line] = description.split('\n\n').filter((line) => line.startsWith(`\`${code}\`:`));
        expect(line).toEndWith(`(\`${client}\`: ${clientActions[client]})`);
        seen.push(code);
      }
    }
    expect(seen).toContain(path === '/video' ? 'storage_full' : 'files_broken');
    expect(seen).toContain('overloaded');
    expect(seen).toContain('label_too_long');
  });

  const common = {
    details: { type: 'boolean', default: false },
    top_k: { type: 'integer', minimum: 1, maximum: 1000, default: 5 },
    template: {
      type: 'array',
      items: {
        type: 'string',
        maxLength: 1000,
        pattern: '^(?:photo|ensemble|(?:[^{]|\\{+[^{}])*\\{+\\}(?:[^{]|\\{+[^{}])*\\{*)$',
      },
      maxItems: 100,
    },
    threshold: { type: 'number', minimum: 0, maximum: 1 },
    others: { type: 'boolean' },
    fit: { type: 'string', enum: ['crop', 'whole', 'tiles'], default: 'crop' },
  };
  test.each(uploads)('%s has every option, with its type, its description and an example', (path) => {
    const isVideo = path === '/video';
    const isCategorize = path === '/categorize';
    const parameters = document.paths[path]?.post?.parameters ?? [];
    const pictureOptions = isCategorize ? optionsSchema : imageOptionsSchema;
    const { entries } = isVideo ? videoOptionsSchema : pictureOptions;
    expect(parameters.map(({ name }) => name)).toEqual(Object.keys(entries));
    for (const parameter of parameters) {
      expect(parameter).toMatchObject({
        in: 'query',
        description: expect.stringMatching(/.{20}/),
        example: expect.anything(),
      });
    }
    expect(Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]))).toEqual({
      ...common,
      ...(isVideo
        ? {
            images: { type: 'boolean', default: true },
            thorough: { type: 'boolean', default: false },
            moments: { type: 'boolean', default: false },
          }
        : {
            background: { type: 'string' },
            thumbnails: { type: 'boolean', default: false },
            on_error: { type: 'string', enum: ['fail', 'skip'] },
            ...(isCategorize && { several: { type: 'boolean' } }),
          }),
    });
  });

  test.each(pictureUploads)('%s takes several files and the categories', (path) => {
    const body = document.paths[path]?.post?.requestBody?.content['multipart/form-data']?.schema;
    expect(body).toMatchObject({
      // Embeddings may replace files.
      required: ['categories'],
      properties: {
        embeddings: { type: 'array', items: { type: 'string', format: 'binary' } },
        ids: { type: 'array', items: { type: 'string' } },
        files: { type: 'array', items: { type: 'string', format: 'binary' }, maxItems: 10_000 },
        categories: { type: 'string' },
      },
    });
  });

  test('/video takes one video and the categories, and answers in three ways', () => {
    const { requestBody, responses } = document.paths['/video']?.post ?? {};
    expect(requestBody?.content['multipart/form-data']?.schema).toMatchObject({
      required: ['video', 'categories'],
      properties: { video: { type: 'string', format: 'binary' }, categories: { type: 'string' } },
    });
    expect(Object.keys(responses?.['200']?.content ?? {})).toEqual([
      'application/json',
      'application/x-ndjson',
      'text/event-stream',
    ]);
  });

  test('speaks of a key where one is needed, and nowhere else', async () => {
    await using guarded = start({ environment: { API_KEY: 'long enough' } });
    const { paths, components } = await documentOf(guarded);
    for (const path of ['/categorize', '/image', '/embeddings', '/v1/embeddings', '/video']) {
      expect(paths[path]?.post?.security).toEqual([{ bearer: [] }, { key: [] }]);
    }
    expect(paths['/health']?.get?.security).toBeUndefined();
    expect(Object.keys(components.securitySchemes ?? {})).toEqual(['bearer', 'key']);
    // Nothing needs a key unless it says so.
    expect(document.security).toEqual([]);
    expect(document.components.securitySchemes).toBeUndefined();
    expect(JSON.stringify(document.paths)).not.toContain('"security"');
  });
});

describe('the answers are what the document says', () => {
  const json = (body: object) => ({
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  const upload = () => ({
    method: 'POST',
    body: form(
      [
        ['a', 'cat'],
        ['b', 'broken:image_broken'],
      ],
      'cat,dog',
    ),
  });
  const embeddingsUpload = () => {
    const { method, body } = upload();
    body.delete('categories');
    body.append('texts', 'a cat');
    return { method, body };
  };
  const videoUpload = () => {
    const data = new FormData();
    data.append('video', new File(['cat@1 dog@2'], 'film.mp4'));
    data.append('categories', 'cat,fish');
    return { method: 'POST', body: data };
  };
  test.each<[string, v.GenericSchema, RequestInit]>([
    ['/categorize?on_error=skip', schemas.categorizeAnswerSchema, upload()],
    ['/image?on_error=skip', schemas.imageAnswerSchema, upload()],
    ['/categorize?details=true', schemas.categorizeDetailsSchema, upload()],
    ['/image?details=true', schemas.imageDetailsSchema, upload()],
    ['/categorize', schemas.errorSchema, upload()],
    [
      '/categorize',
      schemas.labelScoresSchema,
      json({ inputs: btoa('cat'), parameters: { candidate_labels: ['a'] } }),
    ],
    ['/embeddings?on_error=skip', schemas.embeddingsAnswerSchema, embeddingsUpload()],
    ['/embeddings?on_error=skip&encoding_format=base64', schemas.embeddingsAnswerSchema, embeddingsUpload()],
    ['/embeddings', schemas.errorSchema, embeddingsUpload()],
    ['/embeddings', schemas.embeddingListSchema, json({ input: 'cat' })],
    ['/v1/embeddings', schemas.embeddingListSchema, json({ input: ['cat'], encoding_format: 'base64' })],
    ['/video?images=false', schemas.videoAnswerSchema, videoUpload()],
    ['/video?threshold=0.5', schemas.videoAnswerSchema, videoUpload()],
    ['/video?details=true', schemas.videoDetailsSchema, videoUpload()],
    ['/video?details=true&moments=true&images=false', schemas.videoDetailsSchema, videoUpload()],
    ['/video?details=true&images=false&threshold=0.5', schemas.videoDetailsSchema, videoUpload()],
    ['/video', schemas.errorSchema, upload()],
    ['/health', schemas.healthSchema, {}],
    ['/ready', schemas.readySchema, {}],
    ['/nothing', schemas.errorSchema, {}],
  ])('%s', async (path, schema, init) => {
    const answer: unknown = await (await fetch(server.address(path), init)).json();
    // Parsing drops what the schema does not know.
    expect(v.parse(schema, answer)).toEqual(answer);
  });
});

describe('a picture that cannot be used is answered as the document says', () => {
  const large: [string, string] = ['large', 'catcat'];
  const heic: [string, string] = ['heic', 'broken:image_unsupported'];
  test.each<[string, [string, string][], number, string]>([
    ['too large', [['a', 'cat'], large], 422, 'files_broken'],
    ['too large, and not a picture', [large, heic], 422, 'files_broken'],
    ['not pictures', [heic, heic], 415, 'image_unsupported'],
  ])('%s', async (_, files, status, code) => {
    await using small = start({ environment: { MAX_IMAGE_BYTES: '3' } });
    // The fake engine refuses by the picture's text, which is too long here.
    const service = files.includes(large) ? small : server;
    const response = await fetch(service.address('/categorize'), {
      method: 'POST',
      body: form(files, 'cat,dog'),
    });
    const answer = (await response.json()) as { code: string; errors: { code: string }[] };
    expect([response.status, answer.code]).toEqual([status, code]);
    const described = document.paths['/categorize']?.post?.responses[status]?.description;
    for (const fault of [answer, ...answer.errors]) expect(described).toContain(`\`${fault.code}\``);
    expect(document.paths['/categorize']?.post?.responses[413]?.description).toContain('answered with 422');
  });
});

describe('the documentation page', () => {
  test('is this server’s alone: nothing in it refers elsewhere, and its policy forbids it', async () => {
    const response = await fetch(server.address('/swagger'));
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const html = await response.text();
    expect(html).not.toMatch(/(?:https?:)?\/\/[a-z]/i);
    const policy = response.headers.get('content-security-policy');
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("connect-src 'self'");
    expect(policy).not.toMatch(/https?:/);
  });

  test('all that it refers to is served, with the right type', async () => {
    const html = await (await fetch(server.address('/swagger'))).text();
    const references = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, reference = '']) => reference);
    expect(references).toHaveLength(4);
    for (const reference of references) {
      const response = await fetch(server.address(`/${reference}`));
      expect(response.status).toBe(200);
      const type = reference.endsWith('.js')
        ? 'text/javascript'
        : reference.endsWith('.css')
          ? 'text/css'
          : 'image/png';
      expect(response.headers.get('content-type')).toStartWith(type);
      expect((await response.bytes()).byteLength).toBeGreaterThan(100);
    }
  });

  test('its start script asks no public validator, and reads the document here', async () => {
    const script = await (await fetch(server.address('/swagger/assets/start.js'))).text();
    expect(script).toContain('validatorUrl: null');
    expect(script).toContain("url: new URL('../json', document.currentScript.src).href");
  });

  test.each(['index.html', 'swagger-ui.js', 'package.json', '..%2fpackage.json', '../../package.json', ''])(
    'nothing else of the package is served: %s',
    async (name) => {
      expect((await fetch(server.address(`/swagger/assets/${name}`))).status).toBe(404);
    },
  );
});
