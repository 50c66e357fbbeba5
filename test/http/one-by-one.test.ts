import { describe, expect, test } from 'bun:test';
import * as v from 'valibot';
import { categorizeEventSchema, embeddingsEventSchema } from '../../src/contract/schemas.ts';
import { createFakeEngine, type FakeBehaviour, fakeModel } from './fake-engine.ts';
import {
  boundary,
  categoriesPart,
  closing,
  filePart,
  metricOf,
  openSocket,
  part,
  postRaw,
  requestHead,
  type StartOptions,
  start,
  type TestServer,
  until,
  untilIdle,
  untilUploading,
} from './harness.ts';

const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';
const progress = { paceMs: 0, quietMs: 60_000 };

interface PictureEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

function eventsOf(text: string): PictureEvent[] {
  if (!text.startsWith('event:'))
    return text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  const blocks = text.split('\n\n').filter((block) => block.startsWith('event:'));
  return blocks.map((block) => {
    const [, event = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
    return { event, data: JSON.parse(data) };
  });
}

function startFake(behaviour: FakeBehaviour = {}, tuning: StartOptions['tuning'] = {}) {
  const { classifier, signals } = createFakeEngine(behaviour);
  const server = start({ engine: { state: 'ready', classifier }, tuning: { progress, ...tuning } });
  return Object.assign(server, { signals });
}

async function ask(server: TestServer, path: string, parts: readonly Uint8Array[], accept = NDJSON) {
  const response = await fetch(server.address(path), {
    method: 'POST',
    body: Buffer.concat([...parts, closing]),
    headers: { accept, 'content-type': `multipart/form-data; boundary=${boundary}` },
  });
  const text = await response.text();
  await untilIdle(server);
  return { response, text, events: eventsOf(text) };
}

const named = (events: readonly PictureEvent[], name: string) =>
  events.filter(({ event }) => event === name).map(({ data }) => data);

const headOf = (path: string, length: number) =>
  requestHead(path, length).replace('Host:', `Accept: ${NDJSON}\r\nHost:`);

const categories = categoriesPart('dog,cat');
const ids = (text: string) => part('form-data; name="ids"', text);
const texts = (text: string) => part('form-data; name="texts"', text);
const form = [categories, filePart('a', 'cat'), filePart('b', 'dog'), filePart('a', 'fish')];

describe.each([NDJSON, SSE])('%s', (accept) => {
  test('/categorize answers each picture, then ends', async () => {
    await using server = startFake();
    const { response, events } = await ask(server, '/categorize', form, accept);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe(`${accept}; charset=utf-8`);
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    expect(named(events, 'answer')).toEqual([
      { index: 0, file: 'a', category: 'cat' },
      { index: 1, file: 'b', category: 'dog' },
      { index: 2, file: 'a (2)', category: 'dog' },
    ]);
    const { name, sha256 } = fakeModel;
    expect(events.at(-1)).toMatchObject({
      event: 'end',
      data: { model: { name, sha256 }, files: 3, broken: 0 },
    });
    for (const event of events) expect(v.parse(categorizeEventSchema, event) as unknown).toEqual(event);
    expect(server.lines.at(-1)?.fields).toMatchObject({ path: '/categorize', status: 200, files: 3 });
  });

  test('/embeddings sends each embedding, of pictures and of texts', async () => {
    await using server = startFake();
    const parts = [texts('cat'), filePart('a', 'cat'), filePart('b', 'broken:image_broken')];
    const { events } = await ask(server, '/embeddings?on_error=skip', parts, accept);
    const { sha256 } = fakeModel;
    const origin = {
      model: 'fake',
      sha256,
      precision: 'fp32',
      dimension: 2,
      logit_scale: 100,
      embedding: expect.any(Array),
    };
    expect(named(events, 'embedding')).toEqual([
      { index: 0, file: 'a', ...origin },
      { index: 2, text: 'cat', ...origin },
    ]);
    expect(named(events, 'broken')).toEqual([
      { index: 1, file: 'b', code: 'image_broken', error: 'It is broken.' },
    ]);
    expect(named(events, 'end')).toMatchObject([{ files: 2, broken: 1 }]);
    for (const event of events) expect(v.parse(embeddingsEventSchema, event) as unknown).toEqual(event);
  });
});

describe('answers one by one', () => {
  test('may be none or several, as in one document', async () => {
    await using server = startFake();
    const { events } = await ask(server, '/categorize?several=true', form);
    expect(named(events, 'answer')).toEqual([
      { index: 0, file: 'a', category: 'cat', categories: ['cat'] },
      { index: 1, file: 'b', category: 'dog', categories: ['dog'] },
      { index: 2, file: 'a (2)', category: null, categories: [] },
    ]);
    const query = '/categorize?details=true&several=true&threshold=0.1&top_k=1';
    const detailed = (await ask(server, query, form)).events;
    const whole = await postRaw(server, query, Buffer.concat([...form, closing]));
    const { results } = (await whole.json()) as { results: object[] };
    expect(results[0]).toMatchObject({ categories: ['cat', 'dog'], background: { phrase: 'object' } });
    expect(named(detailed, 'answer')).toEqual(results.map((result, index) => ({ index, ...result })));
    for (const event of detailed) expect(v.parse(categorizeEventSchema, event) as unknown).toEqual(event);
  });

  test('have what the detailed answer has', async () => {
    await using server = startFake();
    const parts = [ids('["1","2","3"]'), ...form];
    const { events } = await ask(server, '/categorize?details=true&top_k=1&threshold=0.5', parts);
    const whole = await postRaw(
      server,
      '/categorize?details=true&top_k=1&threshold=0.5',
      Buffer.concat([...parts, closing]),
    );
    const { results } = (await whole.json()) as { results: object[] };
    expect(named(events, 'answer')).toEqual(results.map((result, index) => ({ index, ...result })));
    expect(named(events, 'answer').map(({ id }) => id)).toEqual(['1', '2', '3']);
  });

  test('come while the rest is still being sent, with the progress', async () => {
    await using server = startFake();
    const body = Buffer.concat([...form, closing]);
    const socket = await openSocket(server);
    socket.write(headOf('/categorize', body.length));
    const first = Buffer.concat([categories, filePart('a', 'cat'), Buffer.from(`--${boundary}`)]);
    socket.write(body.subarray(0, first.length));
    await until(() => socket.received().includes('"category":"cat"'));
    const begun = `{"stage":"uploading","bytes_done":${first.length},"bytes_total":${body.length},"files_received":1,"files_done":1}`;
    await until(() => socket.received().includes(begun));
    expect(socket.received()).not.toContain('"event":"end"');
    socket.write(body.subarray(first.length));
    await until(() => socket.received().includes('"event":"end"'));
    socket.destroy();
  });

  test('come in the order in which pictures are known', async () => {
    const slow = Promise.withResolvers<void>();
    let pictures = 0;
    await using server = startFake({
      onWork: () => {
        pictures += 1;
        return pictures === 1 ? slow.promise : Promise.resolve();
      },
    });
    const socket = await openSocket(server);
    const body = Buffer.concat([...form, closing]);
    socket.write(headOf('/categorize', body.length));
    socket.write(body);
    await until(() => socket.received().includes('"index":2'));
    expect(socket.received()).not.toContain('"index":0');
    slow.resolve();
    await until(() => socket.received().includes('"event":"end"'));
    expect(socket.received()).toContain('"index":0');
    socket.destroy();
  });

  test('wait for categories that come last', async () => {
    await using server = startFake();
    const { events } = await ask(server, '/categorize', [...form.slice(1), categories]);
    expect(named(events, 'answer').map(({ category }) => category)).toEqual(['cat', 'dog', 'dog']);
  });

  test('of embeddings instead of pictures', async () => {
    await using server = startFake();
    const { text } = await ask(server, '/embeddings', form.slice(1));
    const stored = part('form-data; name="embeddings"; filename="e"', text);
    const { events } = await ask(server, '/categorize', [categories, stored]);
    expect(named(events, 'answer')).toEqual(named((await ask(server, '/categorize', form)).events, 'answer'));
  });

  test('a client may send everything before it reads, however long that takes', async () => {
    await using server = startFake({}, { patience: { waitMs: 500, msPerKibibyte: 500 } });
    // More than the sockets of both sides hold.
    const count = 6000;
    const parts = Array.from({ length: count }, (_, index) => filePart(`${index}${'x'.repeat(1000)}`, 'cat'));
    const body = Buffer.concat([categories, ...parts, closing]);
    const socket = await openSocket(server);
    socket.pause();
    socket.write(headOf('/categorize', body.length));
    // The last pieces take longer than it may wait for its answer.
    const pieces = 60;
    const pieceBytes = 2048;
    socket.write(body.subarray(0, -pieces * pieceBytes));
    for (let left = pieces; left > 0; left -= 1) {
      await Bun.sleep(20);
      socket.write(body.subarray(-left * pieceBytes, -(left - 1) * pieceBytes || undefined));
    }
    socket.resume();
    await until(() => socket.received().includes('"event":"end"'));
    expect(socket.received().match(/"event":"answer"/g)).toHaveLength(count);
    socket.destroy();
  });

  test('a client that does not read its answer afterwards is left', async () => {
    await using server = startFake({}, { patience: { waitMs: 500, msPerKibibyte: 0 } });
    const parts = Array.from({ length: 6000 }, (_, index) => filePart(`${index}${'x'.repeat(1000)}`, 'cat'));
    const body = Buffer.concat([categories, ...parts, closing]);
    const socket = await openSocket(server);
    socket.pause();
    socket.write(headOf('/categorize', body.length));
    socket.write(body);
    await until(() => server.lines.length > 0);
    expect(server.lines.at(-1)?.fields).toMatchObject({ lateFault: 'client_gone' });
    await untilIdle(server);
    socket.destroy();
  });

  test('a client that leaves ends the work', async () => {
    const work = Promise.withResolvers<void>();
    await using server = startFake({ onWork: () => work.promise });
    const socket = await openSocket(server);
    const body = Buffer.concat(form);
    socket.write(headOf('/categorize', body.length + 1000));
    socket.write(body);
    await untilUploading(server, 1);
    await until(() => socket.received().includes('"files_received":2'));
    socket.destroy();
    await until(() => server.signals[0]?.aborted === true);
    work.resolve();
    await untilIdle(server);
  });

  test('a sign of life repeats the last progress', async () => {
    const work = Promise.withResolvers<void>();
    await using server = startFake({ onWork: () => work.promise }, { progress: { paceMs: 0, quietMs: 5 } });
    const socket = await openSocket(server);
    const body = Buffer.concat([...form, closing]);
    socket.write(headOf('/categorize', body.length));
    socket.write(body);
    const last = '"files_received":3,"files_done":0}}\n';
    await until(() => socket.received().split(last).length > 3);
    work.resolve();
    await until(() => socket.received().includes('"event":"end"'));
    socket.destroy();
  });
});

describe('faults', () => {
  test('a broken picture is named at once, and fails the request at its end', async () => {
    await using server = startFake();
    const parts = [ids('["1","2"]'), categories, filePart('a', 'broken:image_broken'), filePart('b', 'dog')];
    const { events } = await ask(server, '/categorize', parts);
    const fault = { file: 'a', id: '1', code: 'image_broken', error: 'It is broken.' };
    expect(named(events, 'broken')).toEqual([{ index: 0, ...fault }]);
    expect(named(events, 'answer')).toMatchObject([{ index: 1, category: 'dog' }]);
    expect(events.at(-1)).toEqual({
      event: 'error',
      data: { error: '"a" cannot be used: It is broken.', code: 'files_broken', errors: [fault] },
    });
    expect(server.lines.at(-1)?.fields).toMatchObject({ status: 200, lateFault: 'files_broken' });
    expect(await metricOf(server, 'classify_images_request_failures_total{code="files_broken"}')).toBe(1);
    const skipped = await ask(server, '/categorize?on_error=skip', parts);
    expect(named(skipped.events, 'end')).toMatchObject([{ files: 2, broken: 1 }]);
  });

  test('a picture with too many bytes is named, and the others are answered', async () => {
    await using server = start({ environment: { MAX_IMAGE_BYTES: '10' }, tuning: { progress } });
    const parts = [categories, filePart('a', 'x'.repeat(100)), filePart('b', 'dog')];
    const { events } = await ask(server, '/categorize?on_error=skip', parts);
    expect(named(events, 'broken')).toMatchObject([{ index: 0, code: 'image_too_large' }]);
    expect(named(events, 'answer')).toMatchObject([{ index: 1 }]);
    const failed = await ask(server, '/categorize', parts);
    expect(failed.events.at(-1)).toMatchObject({ event: 'error', data: { code: 'files_broken' } });
  });

  test.each<[string, string, readonly Uint8Array[], string]>([
    ['no categories', '/categorize', [filePart('a', 'cat')], 'categories_missing'],
    ['no picture', '/categorize', [categories], 'files_missing'],
    ['ids behind their files', '/categorize', [categories, filePart('a', 'x'), ids('1')], 'ids_invalid'],
    [
      'a file without an id',
      '/embeddings',
      [ids('1'), filePart('a', 'x'), filePart('b', 'x')],
      'ids_invalid',
    ],
    ['a long category', '/categorize', [categoriesPart('x'.repeat(301))], 'label_too_long'],
    ['nothing', '/embeddings', [], 'files_missing'],
  ])('%s is the last event', async (_, path, parts, code) => {
    await using server = startFake();
    const { response, events } = await ask(server, path, parts);
    expect(response.status).toBe(200);
    expect(events.at(-1)).toMatchObject({ event: 'error', data: { code } });
  });

  test('labels that the engine fails at end it', async () => {
    await using server = startFake({ onRank: () => Promise.reject(new Error('a bug')) });
    const { events } = await ask(server, '/categorize', form);
    expect(events.at(-1)).toMatchObject({ event: 'error', data: { code: 'internal' } });
  });

  test('in the head of the request have their own status', async () => {
    await using server = startFake();
    expect((await ask(server, '/categorize?top_k=0', form)).response.status).toBe(400);
    const headers = { accept: NDJSON, 'content-type': 'text/plain' };
    const init = { method: 'POST', body: 'x', headers };
    expect((await fetch(server.address('/embeddings'), init)).status).toBe(415);
  });

  test('/image answers as ever', async () => {
    await using server = startFake();
    const { response, text } = await ask(server, '/image', form);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(text).toBe('{"dog":"b","cat":"a"}');
  });
});
