import { describe, expect, test } from 'bun:test';
import { categoriesPart, closing, openSocket, postRaw, until, untilQueued } from '../harness.ts';
import {
  expectSound,
  film,
  filmAnswer,
  oneByOne,
  startVideos,
  type VideoServer,
  videoBody,
  videoHead,
  videoPart,
} from './video-server.ts';

const MEBI = 1024 ** 2;
/** The end of a body that was streamed. Only then may a client send its next request. */
const lastChunk = '\r\n0\r\n\r\n';
const formats = ['application/json', 'application/x-ndjson', 'text/event-stream'];

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

const isEmpty = async (server: VideoServer) => (await server.left()).length === 0;

describe.each(formats)('a client that leaves (%s)', (accept) => {
  test('in the middle of its upload', async () => {
    await using server = await startVideos({}, { tuning: oneByOne });
    const socket = await openSocket(server);
    socket.write(videoHead(10 * MEBI, accept));
    socket.write(videoPart(new Uint8Array(MEBI)).subarray(0, -10));
    while (await isEmpty(server)) await Bun.sleep(2);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(server.lines[0]).toMatchObject({ level: 'info', fields: { status: 499, path: '/video' } });
    expect(server.videos.paths).toEqual([]);
    await expectSound(server);
  });

  test('while its video is looked through', async () => {
    let searches = 0;
    await using server = await startVideos(
      { onSearch: (signal) => (searches++ === 0 ? aborted(signal) : Promise.resolve()) },
      { tuning: oneByOne },
    );
    const socket = await openSocket(server);
    const body = videoBody();
    socket.write(videoHead(body.length, accept));
    socket.write(body);
    await until(() => searches === 1);
    expect(await server.left()).toHaveLength(1);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(server.videos.signals[0]?.aborted).toBe(true);
    expect(server.lines[0]?.fields).toMatchObject({ status: 499 });
    await expectSound(server);
  });

  test('while its pictures are made', async () => {
    let pictures = 0;
    await using server = await startVideos(
      { onJpeg: (_, signal) => (pictures++ === 1 ? aborted(signal) : Promise.resolve()) },
      { tuning: oneByOne },
    );
    const socket = await openSocket(server);
    const body = videoBody();
    socket.write(videoHead(body.length, accept));
    socket.write(body);
    await until(() => pictures === 2);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(server.videos.closed).toBe(1);
    await expectSound(server);
  });

  test('while it takes its answer', async () => {
    await using server = await startVideos({ jpegBytes: 40 * MEBI }, { tuning: oneByOne });
    const socket = await openSocket(server);
    socket.pause();
    const body = videoBody();
    socket.write(videoHead(body.length, accept));
    socket.write(body);
    await until(() => server.videos.closed === 1);
    await untilQueued(server, 'running', 0, 'videos');
    // The video is gone, and its place is free; the pictures are there until they are sent.
    const other = await postRaw(server, '/video?images=false', videoBody());
    expect(await other.text()).toBe(filmAnswer);
    expect(await server.left()).toHaveLength(1);
    socket.destroy();
    await until(() => server.lines.length === 2);
    expect(server.lines[1]?.fields).toMatchObject({ status: 499 });
    await expectSound(server);
  });

  test('without a word: it takes nothing more of its answer', async () => {
    const tuning = { patience: { waitMs: 1000, msPerKibibyte: 1000 } };
    await using server = await startVideos({ jpegBytes: 40 * MEBI }, { tuning });
    const socket = await openSocket(server);
    socket.pause();
    const body = videoBody();
    socket.write(videoHead(body.length, accept));
    socket.write(body);
    await until(() => server.lines.length === 1);
    expect(server.lines[0]?.fields).toMatchObject({ lateFault: 'client_gone' });
    expect(await server.left()).toEqual([]);
    socket.destroy();
  });
});

describe('a client that stalls', () => {
  test('in its upload is told so, and its video is gone', async () => {
    const tuning = { ...oneByOne, patience: { waitMs: 1000, msPerKibibyte: 1000 } };
    await using server = await startVideos({}, { tuning });
    const socket = await openSocket(server);
    socket.write(videoHead(MEBI));
    socket.write(videoPart('x').subarray(0, -10));
    await until(() => socket.received().includes('upload_stalled'));
    expect(socket.received()).toStartWith('HTTP/1.1 408');
    socket.destroy();
    await expectSound(server);
  });

  test.each(formats.slice(1))('is told so by an event where it asks for those: %s', async (accept) => {
    await using server = await startVideos(
      {},
      { tuning: { patience: { waitMs: 1000, msPerKibibyte: 1000 } } },
    );
    const socket = await openSocket(server);
    socket.write(videoHead(MEBI, accept));
    socket.write(videoPart('x').subarray(0, -10));
    await until(() => socket.received().includes('upload_stalled') && socket.received().endsWith(lastChunk));
    expect(socket.received()).toContain('"retry_after_seconds":');
    socket.destroy();
    expect(server.lines[0]?.fields).toMatchObject({ status: 200, lateFault: 'upload_stalled' });
    await expectSound(server);
  });

  test('is not one that reads slowly', async () => {
    const jpegBytes = 12 * MEBI;
    const tuning = { patience: { waitMs: 1000, msPerKibibyte: 1000 } };
    await using server = await startVideos({ jpegBytes }, { tuning });
    const response = await postRaw(server, '/video', videoBody(film, 'cat'));
    let length = 0;
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      length += chunk.byteLength;
      await Bun.sleep(50);
    }
    expect(length).toBeGreaterThan((jpegBytes * 4) / 3);
    await expectSound(server);
  });
});

describe('an error in the middle of an upload', () => {
  test.each(formats)('reaches a client that sends on: %s', async (accept) => {
    await using server = await startVideos();
    const rest = 20 * MEBI;
    const body = Buffer.concat([categoriesPart('{'), videoPart(Buffer.alloc(rest)), closing]);
    const socket = await openSocket(server);
    socket.write(videoHead(body.length, accept));
    socket.write(body);
    await until(() => socket.received().includes('categories_malformed'));
    if (accept !== 'application/json') await until(() => socket.received().endsWith(lastChunk));
    socket.write('GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(() => socket.received().includes('"ready":true'));
    socket.destroy();
    expect(server.lines[0]?.fields.bytes).toBeLessThan(rest);
    await expectSound(server);
  });
});

describe('the connection of an answer that was streamed', () => {
  test('serves on, and is closed when it idles', async () => {
    await using server = await startVideos({}, { tuning: { idleTimeoutSeconds: 3 } });
    const socket = await openSocket(server);
    const body = videoBody();
    socket.write(videoHead(body.length, 'application/json', '?images=false'));
    socket.write(body);
    await until(() => socket.received().endsWith(lastChunk));
    socket.write(videoHead(body.length, 'text/event-stream', '?images=false'));
    socket.write(body);
    await until(() => socket.received().includes('event: result'));
    await until(() => socket.readyState !== 'open');
    expect(server.lines.map(({ fields }) => fields.status)).toEqual([200, 200]);
  });

  test('is not closed while a search goes on', async () => {
    await using server = await startVideos(
      { onSearch: () => Bun.sleep(6000) },
      { tuning: { idleTimeoutSeconds: 1, progress: { paceMs: 100, quietMs: 60_000 } } },
    );
    const texts = await Promise.all(
      formats.map(async (accept) => {
        const socket = await openSocket(server);
        const body = videoBody();
        socket.write(videoHead(body.length, accept, '?images=false'));
        socket.write(body);
        await until(() => socket.received().includes('film-1.500.jpg') || socket.readyState !== 'open');
        socket.destroy();
        return socket.received();
      }),
    );
    for (const text of texts) expect(text).toContain('film-1.500.jpg');
  });
});

describe('draining', () => {
  test.each(formats)('finishes a search and sends its answer: %s', async (accept) => {
    const gate = Promise.withResolvers<void>();
    const server = await startVideos({ onSearch: () => gate.promise, jpegBytes: 8 * MEBI });
    await using _ = server;
    const socket = await openSocket(server);
    const body = videoBody();
    socket.write(videoHead(body.length, accept));
    socket.write(body);
    await until(() => server.videos.paths.length === 1);
    let isDrained = false;
    const drained = server.server.drain().then(() => {
      isDrained = true;
    });
    await Bun.sleep(20);
    expect(isDrained).toBe(false);
    gate.resolve();
    await drained;
    await until(() => socket.received().endsWith(lastChunk));
    expect(socket.received().length).toBeGreaterThan((2 * 8 * MEBI * 4) / 3);
    expect(await server.left()).toEqual([]);
    socket.destroy();
  });

  test('lets those have their turn who wait for a place', async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await startVideos({ onSearch: () => gate.promise, places: 1 });
    const running = postRaw(server, '/video?images=false', videoBody());
    await until(() => server.videos.paths.length === 1);
    const waiting = postRaw(server, '/video?images=false', videoBody());
    await untilQueued(server, 'waiting', 1, 'videos');
    const drained = server.server.drain();
    gate.resolve();
    expect(await (await running).text()).toBe(filmAnswer);
    expect(await (await waiting).text()).toBe(filmAnswer);
    await drained;
  });
});
