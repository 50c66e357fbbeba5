import { beforeAll, describe, expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EngineState } from '../../src/classify/classifier.ts';
import { serveFile } from '../clip/store/file-server.ts';
import { makeVideo, manyScenes } from '../fixtures/videos.ts';
import { createFakeEngine, type FakeBehaviour } from '../http/fake-engine.ts';
import {
  categoriesPart,
  closing,
  filePart,
  openSocket,
  part,
  postRaw,
  requestHead,
  type StartOptions,
  start,
  type TestServer,
  until,
  untilQueued,
} from '../http/harness.ts';
import { videoHead, videoPart } from '../http/video/video-server.ts';
import { jpeg } from '../media/sample-pictures.ts';
import { mortal } from '../robustness/target.ts';
import { useDemoService } from './demo-service.ts';
import { startService } from './service.ts';

/** The examples of the API document, compared with what the service answers. */

type Json = Readonly<Record<string, unknown>>;

const demo = useDemoService(mortal);
/** The bodies of the document's failing answers, by their codes. */
let documented: ReadonlyMap<string, Json>;
let document: {
  readonly paths: Json;
  readonly components: { readonly schemas: Readonly<Record<string, { readonly properties?: Json }>> };
};

beforeAll(async () => {
  document = (await (await fetch(`${demo.service.url}/swagger/json`)).json()) as typeof document;
  documented = errorExamples(document);
});

/** Finds the examples of failing answers at any depth. One code has one example. */
function errorExamples(value: unknown, found = new Map<string, Json>()): ReadonlyMap<string, Json> {
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, child] of Object.entries(value)) {
    if (key === 'examples' && typeof child === 'object' && child !== null) {
      for (const [code, { value: body }] of Object.entries(child as Record<string, { value: Json }>)) {
        if (body.code !== code) continue;
        expect(found.get(code) ?? body).toEqual(body);
        found.set(code, body);
      }
    }
    errorExamples(child, found);
  }
  return found;
}

const real = { address: (path: string) => `${demo.service.url}${path}` };
const jsonOf = async (response: Response): Promise<Json> => (await response.json()) as Json;
const picture = async () => filePart('photo.jpg', await jpeg(64, 48));
const categories = categoriesPart('cat,dog');

async function post(path: string, parts: readonly Uint8Array[], server = real): Promise<Json> {
  return await jsonOf(await postRaw(server, path, Buffer.concat([...parts, closing])));
}

/** What a service with a fake engine answers, for faults of the engine, the queue and the disk. */
async function fake(
  ask: (server: TestServer) => Promise<Json>,
  { behaviour = {}, ...options }: StartOptions & { readonly behaviour?: FakeBehaviour } = {},
): Promise<Json> {
  const engine: EngineState = { state: 'ready', classifier: createFakeEngine(behaviour).classifier };
  await using server = start({ engine, ...options });
  return await ask(server);
}

const postCats = (server: TestServer) => post('/categorize', [filePart('a', 'cat'), categories], server);

/** The body of the only answer on a connection. */
async function bodyOn(socket: Awaited<ReturnType<typeof openSocket>>): Promise<Json> {
  await until(() => socket.received().endsWith('}'));
  const text = socket.received();
  socket.destroy();
  return JSON.parse(text.slice(text.indexOf('\r\n\r\n'))) as Json;
}

/** Checksum of the demo model. */
const demoModel = '292e8c9e3ef20ea0740849b89d49302aa36a87f9ba00bec7e85b6cd3d2dbe559';

/** An embedding of two numbers. */
const embeddingsPart = (sha256: string) =>
  part(
    'form-data; name="embeddings"; filename="e"',
    JSON.stringify({ sha256, file: 'IMG_0001.jpg', embedding: [0.6, 0.8] }),
  );

/** The model of the document's examples. */
const documentedModel = () => (successes('/ready').example as { readonly model: Json }).model;

async function film(): Promise<Buffer> {
  const { path } = makeVideo({ scenes: manyScenes(2, 1), width: 320, height: 180 });
  return await readFile(path);
}

/** One way to each documented failure. */
const provocations: Readonly<Record<string, () => Promise<Json>>> = {
  option_invalid: () => post('/categorize?top_k=0', []),
  multipart_malformed: async () => jsonOf(await postRaw(real, '/categorize', await picture())),
  part_unexpected: async () =>
    post('/categorize', [part('form-data; name="image"; filename="photo.jpg"', await jpeg(64, 48))]),
  categories_missing: async () => post('/categorize', [await picture()]),
  categories_malformed: () => post('/categorize', [categoriesPart('{"categories":')]),
  categories_too_many: () =>
    post('/categorize', [categoriesPart(Array.from({ length: 1001 }, (_, index) => `c${index}`).join())]),
  label_too_long: () => post('/categorize', [categoriesPart(`${'a very '.repeat(40)}long category`)]),
  file_name_invalid: () => post('/categorize', [part('form-data; name="files"', 'text')]),
  unauthorized: () => fake(postCats, { environment: { API_KEY: 'long enough' } }),
  upload_stalled: () =>
    fake(
      async (server) => {
        const socket = await openSocket(server);
        socket.write(requestHead('/categorize', 1_000_000));
        return await bodyOn(socket);
      },
      { tuning: { patience: { waitMs: 500, msPerKibibyte: 1000 } } },
    ),
  multipart_too_large: () => post('/categorize', [categoriesPart('a'.repeat(5 * 1024 ** 2))]),
  content_type_unsupported: async () => jsonOf(await postRaw(real, '/categorize', '{}', 'text/plain')),
  json_invalid: async () => jsonOf(await postRaw(real, '/embeddings', '{"input":"a"', 'application/json')),
  embeddings_invalid: () => post('/categorize', [embeddingsPart(demoModel), categories]),
  embeddings_mismatch: () =>
    post('/categorize', [embeddingsPart(String(documentedModel().sha256)), categories]),
  ids_invalid: async () =>
    post('/categorize', [part('form-data; name="ids"', '["1","2"]'), await picture(), categories]),
  internal: () =>
    fake(
      async (server) => {
        const id = documented.get('internal')?.request_id;
        const body = Buffer.concat([filePart('a', 'cat'), categories, closing]);
        const init = { method: 'POST', body, headers: { 'x-request-id': String(id) } };
        const headers = { ...init.headers, 'content-type': 'multipart/form-data; boundary=test-boundary' };
        return await jsonOf(await fetch(server.address('/categorize'), { ...init, headers }));
      },
      { behaviour: { onRank: () => Promise.reject(new Error('a bug')) } },
    ),
  overloaded: async () => {
    const free = Promise.withResolvers<void>();
    return await fake(
      async (server) => {
        const waiting = Array.from({ length: 48 }, () => postCats(server));
        await untilQueued(server, 'waiting', 48);
        const refused = await postCats(server);
        free.resolve();
        await Promise.all(waiting);
        return refused;
      },
      { behaviour: { onAdd: () => free.promise } },
    );
  },
  engine_restarting: async () => {
    for (let round = 0; ; round += 1) {
      const labels = Array.from({ length: 1000 }, (_, index) => `new in round ${round}: ${index}`).join();
      let isAnswered = false;
      const answering = post('/categorize', [await picture(), categoriesPart(labels)]).finally(() => {
        isAnswered = true;
      });
      while (!isAnswered) {
        // The work is tried again, so that one breakdown is not enough.
        process.kill(demo.service.pid, 'SIGUSR2');
        await Bun.sleep(10);
      }
      const answer = await answering;
      if ('code' in answer) return answer;
    }
  },
  model_loading: async () => {
    // As large as the real file, and slow.
    await using server = await serveFile(new Uint8Array(1024 ** 2), (megabyte, _, response) => {
      response.writeHead(200, { 'content-length': '353976522' });
      const sending = setInterval(() => response.write(megabyte), 20);
      response.on('close', () => clearInterval(sending));
    });
    await using loading = await startService({
      CLIP_CACHE: join(demo.folder, 'none'),
      CLIP_MODEL_URL: server.url,
    });
    for (;;) {
      const answer = await jsonOf(await fetch(`${loading.url}/ready`));
      const { bytes_done, seconds_left } = (answer.progress ?? {}) as Json;
      if (bytes_done && seconds_left) {
        const health = await jsonOf(await fetch(`${loading.url}/health`));
        expectSameFields(successes('/health').loading, health);
        await loading.stop();
        return answer;
      }
      await Bun.sleep(20);
    }
  },
  model_missing: async () => {
    const path = '/models/ViT-L-14.pt';
    await using missing = await startService({ CLIP_MODEL: path, CLIP_CACHE: join(demo.folder, 'none') });
    const answer = await jsonOf(await fetch(`${missing.url}/ready`));
    await missing.stop();
    return answer;
  },
  shutting_down: () =>
    fake(async (server) => {
      const stopped = server.server.drain(200);
      const answer = await jsonOf(await fetch(server.address('/ready')));
      await stopped;
      return answer;
    }),
  files_missing: () => post('/categorize', [categories]),
  files_too_many: () =>
    post('/categorize', [
      ...Array.from({ length: 10_001 }, (_, index) => filePart(`${index}`, '')),
      categories,
    ]),
  image_unsupported: () => post('/categorize', [filePart('photo.jxl', '\0\0\0\x0cJXL \r\n'), categories]),
  files_broken: async () =>
    post('/categorize', [filePart('broken.jpg', (await jpeg(640, 480)).subarray(0, 85_000)), categories]),
  image_too_large: async () => {
    const socket = await openSocket({ port: Number(new URL(demo.service.url).port) });
    socket.write(requestHead('/categorize?on_error=skip', 10 ** 9));
    socket.write(filePart('raw.jpg', '').subarray(0, -2));
    const megabyte = Buffer.alloc(1024 ** 2);
    while (socket.received() === '') if (!socket.write(megabyte)) await Bun.sleep(1);
    return await bodyOn(socket);
  },
  video_missing: () => post('/video', [categories]),
  video_unsupported: () => post('/video', [videoPart('FLV\x01\x05\0\0\0\x09', 'film.flv'), categories]),
  video_too_large: async () => {
    const socket = await openSocket({ port: Number(new URL(demo.service.url).port) });
    socket.write(videoHead(5 * 1024 ** 3));
    return await bodyOn(socket);
  },
  video_broken: async () => post('/video', [videoPart((await film()).subarray(0, 1000)), categories]),
  storage_full: () =>
    fake((server) => post('/video', [videoPart('cat@1'), categories], server), {
      tuning: {
        spool: { createFile: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) },
      },
    }),
};

/** Whether the document has every field of a failing answer. */
function expectDescribed(answer: Json, fields: Json = {}): void {
  expect(answer).toMatchObject(fields);
  const { Error: error } = document.components.schemas;
  expect(Object.keys(error?.properties ?? {})).toEqual(expect.arrayContaining(Object.keys(answer)));
}

/** A body without what differs from run to run: numbers where they measure something. */
function withoutMeasures(body: Json): Json {
  return body.code === 'model_loading'
    ? (JSON.parse(JSON.stringify(body).replace(/\d+/g, '0')) as Json)
    : body;
}

describe('the document’s example of', () => {
  for (const [code, provoke] of Object.entries(provocations)) {
    test(code, async () => {
      const answer = await provoke();
      expect(withoutMeasures(answer)).toEqual(withoutMeasures(documented.get(code) ?? {}));
      expectDescribed(answer);
    });
  }

  test('each failure is compared', () => {
    expect([...documented.keys()].sort()).toEqual(Object.keys(provocations).sort());
  });
});

describe('failures have no fields that the document does not describe', () => {
  const templates = Array.from({ length: 11 }, () => 'template={}').join('&');
  const many = categoriesPart(Array.from({ length: 1000 }, (_, index) => `c${index}`).join());
  test.each<[string, string, readonly Uint8Array[], Json]>([
    [
      'too many texts',
      `/categorize?${templates}`,
      [many],
      { categories: 1000, templates: 11, limit: 10_000 },
    ],
    [
      'not UTF-8',
      '/categorize',
      [part('form-data; name="categories"', Uint8Array.of(97, 0xff))],
      { byte: 1 },
    ],
    ['not a string', '/categorize', [categoriesPart('["a",1]')], { element: '[1]' }],
    ['a quote', '/categorize', [categoriesPart('a,"b')], { line: 1 }],
    ['a long label', '/categorize', [categoriesPart('x'.repeat(100_000))], { limit: 77 }],
  ])('%s', async (_, path, parts, fields) => expectDescribed(await post(path, parts), fields));

  test('videos', async () => {
    const environment = {
      CLIP_MODEL: 'demo',
      CLIP_CACHE: join(demo.folder, 'cache'),
      MAX_VIDEO_SECONDS: '1',
    };
    await using strict = await startService(environment);
    await strict.ready();
    const server = { address: (path: string) => `${strict.url}${path}` };
    const mpeg2 = { encoder: 'mpeg2video', options: { strict: 'experimental' } } as const;
    const other = await readFile(makeVideo({ scenes: manyScenes(1, 0.5), ...mpeg2 }).path);
    expectDescribed(await post('/video', [videoPart(await film()), categories], server), { limit: 1 });
    expectDescribed(await post('/video', [videoPart(other), categories], server), { codec: 'mpeg2video' });
    await strict.stop();
  });
});

/** Whether two answers have the same fields, with values of the same types. */
function expectSameFields(example: unknown, answer: unknown, place = ''): void {
  if (example === null || answer === null) return;
  expect(`${place}: ${typeof answer}`).toBe(`${place}: ${typeof example}`);
  if (typeof example !== 'object' || typeof answer !== 'object') return;
  if (Array.isArray(example) && Array.isArray(answer)) {
    if (example.length > 0 && answer.length > 0) expectSameFields(example[0], answer[0], `${place}[0]`);
    return;
  }
  expect({ place, keys: Object.keys(answer) }).toEqual({ place, keys: Object.keys(example) });
  for (const [key, child] of Object.entries(example)) {
    expectSameFields(child, (answer as Record<string, unknown>)[key], `${place}.${key}`);
  }
}

interface Media {
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}

/** The examples of an operation's success. */
function successes(path: string, mediaType = 'application/json'): Readonly<Record<string, unknown>> {
  const operations = document.paths[path] as Record<
    string,
    { responses: { 200: { content: Record<string, Media> } } }
  >;
  const media = Object.values(operations)[0]?.responses[200].content[mediaType];
  const all = Object.entries(media?.examples ?? {}).map(([name, { value }]) => [name, value]);
  return { example: media?.example, ...Object.fromEntries(all) };
}

/** To the demo model, a cat and a dog are the same. */
function withoutSynonyms(answer: unknown): unknown {
  const { category_warnings: synonyms, ...others } = answer as { readonly category_warnings?: unknown };
  expect(synonyms).toEqual([
    {
      categories: ['cat', 'dog'],
      similarity: expect.closeTo(1, 6),
      warning: expect.stringMatching(/^"cat" and "dog" mean almost the same to the model \(cosine 1\.000\)/),
    },
  ]);
  return others;
}

describe('the document’s examples of success have the fields of real answers', () => {
  const photos = async () => [
    filePart('IMG_0001.jpg', await jpeg(64, 48)),
    filePart('IMG_0002.jpg', await jpeg(48, 64)),
  ];
  const broken = filePart('broken.jpg', '\xff\xd8\xff');

  for (const path of ['/categorize', '/image']) {
    test(path, async () => {
      const { plain, details } = successes(path);
      expectSameFields(plain, await post(path, [...(await photos()), categories]));
      const all = [...(await photos()), broken, categories];
      const answer = await post(`${path}?details=true&top_k=2`, all);
      expectSameFields(details, withoutSynonyms(answer));
    });
  }

  test('/categorize with the background', async () => {
    const { several, others } = successes('/categorize');
    const red = [filePart('IMG_0001.jpg', await jpeg(64, 48)), filePart('IMG_0002.jpg', await jpeg(48, 64))];
    expectSameFields(several, await post('/categorize?several=true&threshold=0', [...red, categories]));
    const asked = part('form-data; name="categories"', 'cat,kitten,dog');
    const query = 'details=true&others=true&several=true&threshold=0';
    expectSameFields(others, await post(`/categorize?${query}`, [...red, asked]));
  });

  test('/categorize and /embeddings, to JSON bodies', async () => {
    const base64 = Buffer.from(await jpeg(64, 48)).toString('base64');
    const ask = async (path: string, body: object) =>
      jsonOf(await postRaw(real, path, JSON.stringify(body), 'application/json'));
    const parameters = { candidate_labels: ['cat', 'dog'] };
    const { labels, lists } = successes('/categorize');
    expectSameFields(labels, await ask('/categorize', { inputs: base64, parameters }));
    expectSameFields(lists, await ask('/categorize', { inputs: [base64], parameters }));
    for (const path of ['/embeddings', '/v1/embeddings']) {
      const { form, json } = successes(path);
      expectSameFields(form, await post(path, [...(await photos()), part('form-data; name="texts"', 'a')]));
      expectSameFields(json, await ask(path, { input: 'a', encoding_format: 'base64' }));
    }
  });

  test.each(['/categorize', '/embeddings'])('%s, events', async (path) => {
    const parts = [...(await photos()), broken, ...(path === '/categorize' ? [categories] : [])];
    const ask = async (accept: string, query = '') => {
      const headers = { accept, 'content-type': 'multipart/form-data; boundary=test-boundary' };
      const init = { method: 'POST', body: Buffer.concat([...parts, closing]), headers };
      return await (await fetch(real.address(path + query), init)).text();
    };
    const examples = successes(path, 'application/x-ndjson');
    const seen = new Set<string>();
    const lines = `${await ask('application/x-ndjson')}${await ask('application/x-ndjson', '?on_error=skip')}`;
    for (const line of lines.trim().split('\n')) {
      const event = JSON.parse(line) as { readonly event: string };
      seen.add(event.event);
      expectSameFields(examples[event.event], event);
    }
    const { example, ...known } = examples;
    expect(example).toBeUndefined();
    expect([...seen].toSorted()).toEqual(Object.keys(known).toSorted());
    for (const text of [
      String(successes(path, 'text/event-stream').example),
      await ask('text/event-stream'),
    ]) {
      for (const event of text.trim().split('\n\n')) expect(event).toMatch(/^event: \w+\ndata: \{.*\}$/);
    }
  });

  test('/video', async () => {
    const { plain, named, details } = successes('/video');
    const form = [videoPart(await film(), 'holiday.mp4'), categories];
    expectSameFields(plain, await post('/video', form));
    expectSameFields(named, await post('/video?images=false', form));
    expectSameFields(details, withoutSynonyms(await post('/video?details=true&moments=true', form)));
  });

  test('/video, a warning', async () => {
    const bytes = await film();
    const { details } = successes('/video') as { readonly details: { readonly warnings: readonly string[] } };
    const numberless = (text?: string) => text?.replace(/\d+/g, '0') ?? 'none';
    // Where the frames lie differs with the encoder: damage is tried until some is found that leaves others whole.
    for (let at = bytes.length - 1000; at > 0; at -= 500) {
      const damaged = Buffer.from(bytes);
      damaged.fill(0xa5, at, at + 400);
      const answer = await post('/video?details=true&images=false', [videoPart(damaged), categories]);
      const warning = (answer.warnings as readonly string[] | undefined)?.[0];
      if (warning) return expect(numberless(warning)).toBe(numberless(details.warnings[0]));
    }
    expect.unreachable();
  });

  test('/video, events', async () => {
    const body = Buffer.concat([videoPart(await film(), 'holiday.mp4'), categories, closing]);
    const contentType = 'multipart/form-data; boundary=test-boundary';
    const ask = async (accept: string) => {
      const headers = { accept, 'content-type': contentType };
      return await (await fetch(real.address('/video'), { method: 'POST', body, headers })).text();
    };
    const lines = (await ask('application/x-ndjson')).trim().split('\n');
    const { progress, result } = successes('/video', 'application/x-ndjson');
    expectSameFields(result, JSON.parse(lines.at(-1) ?? ''));
    const searching = lines.find((line) => line.includes('"searching"'));
    if (searching) expectSameFields(progress, JSON.parse(searching));
    const { example } = successes('/video', 'text/event-stream');
    const shape = /^event: \w+\ndata: \{.*\}$/;
    for (const text of [String(example), await ask('text/event-stream')]) {
      for (const event of text.trim().split('\n\n')) expect(event).toMatch(shape);
    }
  });

  test('/health and /ready', async () => {
    await using server = start();
    const { ready } = successes('/health');
    expectSameFields(ready, await jsonOf(await fetch(server.address('/health'))));
    expectSameFields(successes('/ready').example, await jsonOf(await fetch(real.address('/ready'))));
    expect((ready as Json).version).toBe((await jsonOf(await fetch(real.address('/health')))).version);
  });

  test('/ and /metrics', async () => {
    const textOf = async (path: string) => await (await fetch(real.address(path))).text();
    expect(await textOf('/')).toBe(String(successes('/', 'text/plain').example));
    const numberless = (text: string) => text.replace(/ \d+$/gm, ' 0');
    const { example } = successes('/metrics', 'text/plain');
    expect(numberless(await textOf('/metrics'))).toContain(numberless(String(example)));
  });
});
