import { describe, expect, test } from 'bun:test';
import * as v from 'valibot';
import { videoEventSchema } from '../../../src/contract/schemas.ts';
import { ServiceError } from '../../../src/errors.ts';
import type { FakeBehaviour } from '../fake-engine.ts';
import { boundary, categoriesPart, closing, openSocket, requestHead, until } from '../harness.ts';
import { film, startVideos, type VideoServer, videoBody, videoPart } from './video-server.ts';

const NDJSON = 'application/x-ndjson';
const SSE = 'text/event-stream';
const pace = { paceMs: 0, quietMs: 60_000 };

interface VideoEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const readers: Readonly<Record<string, (text: string) => VideoEvent[]>> = {
  [NDJSON](text) {
    expect(text).toEndWith('}\n');
    return text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  },
  [SSE](text) {
    expect(text).toEndWith('\n\n');
    return text
      .split('\n\n')
      .filter((block) => block !== '' && !block.startsWith(':'))
      .map((block) => {
        const [, event = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
        return { event, data: JSON.parse(data) };
      });
  },
};

const ask = (server: VideoServer, accept: string, body: Uint8Array, query = '') =>
  fetch(server.address(`/video${query}`), {
    method: 'POST',
    body,
    headers: { accept, 'content-type': `multipart/form-data; boundary=${boundary}` },
  });

/** @param behaviour of the engine, which may look at what the client has received */
async function post(
  accept: string,
  body: Uint8Array,
  behaviour: FakeBehaviour | ((received: () => string) => FakeBehaviour) = {},
  query = '',
) {
  let text = '';
  const told = typeof behaviour === 'function' ? behaviour(() => text) : behaviour;
  await using server = await startVideos(told, { tuning: { progress: pace } });
  const response = await ask(server, accept, body, query);
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
  const { status, headers } = response;
  const events = headers.get('content-type')?.startsWith(accept) ? (readers[accept]?.(text) ?? []) : [];
  return { status, headers, text, events, lines: server.lines, left: await server.left(), server };
}

/** A search that tells each step when the last one has been read. */
const steps = (received: () => string): FakeBehaviour => ({
  async onSearch(_, report) {
    for (const secondsDone of [0, 1, 2]) {
      report({ stage: 'searching', secondsDone, secondsTotal: 9, frames: secondsDone * 2 });
      await until(() => received().includes(`"seconds_done":${secondsDone},`));
    }
  },
});

describe.each([NDJSON, SSE])('%s', (accept) => {
  test('tells how it goes, then the result', async () => {
    const { status, headers, events, left, lines } = await post(accept, videoBody(), steps);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe(`${accept}; charset=utf-8`);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-accel-buffering')).toBe('no');
    expect(events.slice(0, -1).map(({ event }) => event)).not.toContain('result');
    expect(events[0]).toEqual({ event: 'progress', data: { stage: 'waiting' } });
    expect(events).toContainEqual({
      event: 'progress',
      data: { stage: 'searching', seconds_done: 1, seconds_total: 9, frames: 2 },
    });
    const { text } = await post('application/json', videoBody());
    expect(events.at(-1)).toEqual({ event: 'result', data: JSON.parse(text) });
    for (const event of events) expect(v.parse(videoEventSchema, event) as unknown).toEqual(event);
    expect(left).toEqual([]);
    expect(lines.map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ path: '/video', status: 200, files: 1 }),
    ]);
  });

  test('the detailed result, too', async () => {
    const { events } = await post(accept, videoBody(), {}, '?details=true');
    const { text } = await post('application/json', videoBody(), {}, '?details=true');
    expect(events.at(-1)).toEqual({ event: 'result', data: JSON.parse(text) });
  });

  test('tells how many bytes have arrived, and of how many', async () => {
    await using server = await startVideos({}, { tuning: { progress: pace } });
    const socket = await openSocket(server);
    const body = Buffer.concat([videoPart(film.padEnd(200_000)), categoriesPart('cat'), closing]);
    socket.write(requestHead('/video', body.length).replace('Host:', `Accept: ${accept}\r\nHost:`));
    socket.write(body.subarray(0, 100_000));
    await until(() => socket.received().includes('"bytes_done":100000'));
    expect(socket.received()).toContain(
      `{"stage":"uploading","bytes_done":100000,"bytes_total":${body.length}}`,
    );
    socket.write(body.subarray(100_000));
    await until(() => socket.received().includes('result'));
    socket.destroy();
  });

  test('tells how many pictures are made', async () => {
    let images = 0;
    const { text } = await post(accept, videoBody(), (received) => ({
      onJpeg: () => until(() => received().includes(`"images_done":${images}`)).finally(() => images++),
    }));
    expect(text).toContain('{"stage":"rendering","images_done":0,"images_total":2}');
    expect(text).toContain('{"stage":"rendering","images_done":1,"images_total":2}');
  });

  test.each<[string, Uint8Array, FakeBehaviour]>([
    ['video_broken', videoBody('broken:video_broken'), {}],
    ['part_unexpected', Buffer.concat([videoPart(film), videoPart(film), closing]), {}],
    ['multipart_malformed', videoBody().subarray(0, -30), {}],
    ['categories_malformed', Buffer.concat([categoriesPart('{'), videoPart(film), closing]), {}],
    [
      'storage_full',
      videoBody(),
      { onJpeg: () => Promise.reject(new ServiceError('storage_full', 'It is full.')) },
    ],
  ])('an error is the last event, with the body of its own answer: %s', async (code, body, behaviour) => {
    const { status, events, left, lines } = await post(accept, body, behaviour);
    expect(status).toBe(200);
    const { text } = await post('application/json', body, behaviour);
    expect(JSON.parse(text)).toMatchObject({ code });
    expect(events.at(-1)).toEqual({ event: 'error', data: JSON.parse(text) });
    expect(events.filter(({ event }) => event === 'error')).toHaveLength(1);
    expect(left).toEqual([]);
    expect(lines.at(-1)?.fields).toMatchObject({ status: 200, lateFault: code });
  });

  test('a bug is told without its inside', async () => {
    const onSearch = () => Promise.reject(new Error('secret inside'));
    const { events, text, headers, lines } = await post(accept, videoBody(), { onSearch });
    expect(events.at(-1)).toMatchObject({ event: 'error', data: { code: 'internal' } });
    expect(text).toContain(headers.get('x-request-id') ?? 'no id');
    expect(text).not.toContain('secret');
    expect(lines.some(({ level }) => level === 'error')).toBe(true);
  });

  test('what is wrong with the query keeps its status', async () => {
    const { status, text } = await post(accept, videoBody(), {}, '?top_k=0');
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({ code: 'option_invalid' });
  });

  test('comes at a pace, however much is told', async () => {
    const onSearch: FakeBehaviour['onSearch'] = async (_, report) => {
      for (let frames = 0; frames < 2000; frames += 1) {
        report({ stage: 'searching', secondsDone: 1, secondsTotal: 9, frames });
        if (frames % 20 === 0) await Bun.sleep(1);
      }
    };
    await using server = await startVideos({ onSearch }, { tuning: { progress: { ...pace, paceMs: 50 } } });
    const startedAt = performance.now();
    const events = readers[accept]?.(await (await ask(server, accept, videoBody())).text()) ?? [];
    expect(events.length).toBeLessThanOrEqual((performance.now() - startedAt) / 50 + 2);
  });

  test('tells nothing twice in a row', async () => {
    const onSearch = () => Bun.sleep(150);
    await using server = await startVideos({ onSearch }, { tuning: { progress: { ...pace, paceMs: 50 } } });
    const events = readers[accept]?.(await (await ask(server, accept, videoBody())).text()) ?? [];
    expect(events[0]).toEqual({ event: 'progress', data: { stage: 'waiting' } });
    expect(events.filter((event, index) => Bun.deepEquals(event, events[index - 1]))).toEqual([]);
  });

  test('shows that it is alive while there is nothing to tell', async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await startVideos(
      { onSearch: () => gate.promise },
      { tuning: { progress: { paceMs: 0, quietMs: 5 } } },
    );
    const { body } = await ask(server, accept, videoBody());
    const decoder = new TextDecoder();
    const sign = accept === SSE ? ': still at work\n\n' : '{"event":"progress","data":{"stage":"waiting"}}\n';
    let text = '';
    for await (const chunk of body as ReadableStream<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      if (text.split(sign).length > 5) gate.resolve();
    }
    expect(readers[accept]?.(text).at(-1)?.event).toBe('result');
  });

  test('a large result comes whole', async () => {
    const jpegBytes = 5_000_001;
    const { events } = await post(accept, videoBody(film, 'cat'), { jpegBytes });
    const { cat: [name, picture = ''] = [] } = events.at(-1)!.data as { cat: string[] };
    expect(name).toBe('film-1.500.jpg');
    expect(Buffer.from(picture, 'base64').byteLength).toBe(jpegBytes);
  });
});
