import { describe, expect, test } from 'bun:test';
import { open } from 'node:fs/promises';
import type { SpoolFile } from '../../../src/http/video/spool.ts';
import { categoriesPart, closing, filePart, openSocket, postRaw, requestHead, until } from '../harness.ts';
import { film, startVideos, type VideoServer, videoBody, videoPart } from './video-server.ts';

const MEBI = 1024 ** 2;
const answer = '{"dog":["film-3.000.jpg"],"cat":["film-1.500.jpg"]}';
/** The end of a body that was streamed. Only then may a client send its next request. */
const lastChunk = '\r\n0\r\n\r\n';
const formats = ['application/json', 'application/x-ndjson', 'text/event-stream'];

const headOf = (length: number, accept = 'application/json', query = '') =>
  requestHead(`/video${query}`, length).replace('Host:', `Accept: ${accept}\r\nHost:`);

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

const isEmpty = async (server: VideoServer) => (await server.left()).length === 0;

/** Nothing lies on the disk, nobody holds a place, a request is answered, and nothing was a bug. */
async function expectSound(server: VideoServer) {
  for (;;) if (await isEmpty(server)) break;
  const response = await postRaw(server, '/video?images=false', videoBody());
  expect(await response.text()).toBe(answer);
  expect(await server.left()).toEqual([]);
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
}

const oneByOne = { videoAdmission: { running: 1, waiting: 0, silent: 100 } };

describe.each(formats)('a client that leaves (%s)', (accept) => {
  test('in the middle of its upload', async () => {
    await using server = await startVideos({}, { tuning: oneByOne });
    const socket = await openSocket(server);
    socket.write(headOf(10 * MEBI, accept));
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
    socket.write(headOf(body.length, accept));
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
    socket.write(headOf(body.length, accept));
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
    socket.write(headOf(body.length, accept));
    socket.write(body);
    await until(() => server.videos.closed === 1);
    await Bun.sleep(100);
    // The video is gone, and its place is free; the pictures are there until they are sent.
    const other = await postRaw(server, '/video?images=false', videoBody());
    expect(await other.text()).toBe(answer);
    expect(await server.left()).toHaveLength(1);
    socket.destroy();
    await until(() => server.lines.length === 2);
    expect(server.lines[1]?.fields).toMatchObject({ status: 499 });
    await expectSound(server);
  });

  test('without a word: it takes nothing more of its answer', async () => {
    const tuning = { stall: { waitMs: 100, contendedWaitMs: 100, stretchBytes: 1000 } };
    await using server = await startVideos({ jpegBytes: 40 * MEBI }, { tuning });
    const socket = await openSocket(server);
    socket.pause();
    const body = videoBody();
    socket.write(headOf(body.length, accept));
    socket.write(body);
    await until(() => server.lines.length === 1);
    expect(server.lines[0]?.fields).toMatchObject({ lateFault: 'client_gone' });
    expect(await server.left()).toEqual([]);
    socket.destroy();
  });
});

describe('a client that stalls', () => {
  test('in its upload loses its place, and its video', async () => {
    const tuning = { ...oneByOne, stall: { waitMs: 100, contendedWaitMs: 100, stretchBytes: 1000 } };
    await using server = await startVideos({}, { tuning });
    const socket = await openSocket(server);
    socket.write(headOf(MEBI));
    socket.write(videoPart('x').subarray(0, -10));
    await until(() => socket.received().includes('upload_stalled'));
    expect(socket.received()).toStartWith('HTTP/1.1 408');
    socket.destroy();
    await expectSound(server);
  });

  test('is not one that reads slowly', async () => {
    const jpegBytes = 12 * MEBI;
    const tuning = { stall: { waitMs: 200, contendedWaitMs: 200, stretchBytes: 1000 } };
    await using server = await startVideos({ jpegBytes }, { tuning });
    const response = await postRaw(server, '/video', videoBody(film, 'cat'));
    let length = 0;
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      length += chunk.byteLength;
      await Bun.sleep(1);
    }
    expect(length).toBeGreaterThan((jpegBytes * 4) / 3);
    await expectSound(server);
  });
});

describe('back-pressure', () => {
  test('a client cannot send more than the disk takes', async () => {
    const gate = Promise.withResolvers<void>();
    let written = 0;
    const createFile = async (): Promise<SpoolFile> => ({
      async write({ byteLength }) {
        written += byteLength;
        await gate.promise;
        return { bytesWritten: byteLength };
      },
      close: async () => {},
    });
    await using server = await startVideos({}, { spool: { createFile } });
    const socket = await openSocket(server);
    const body = videoBody(film.padEnd(64 * MEBI));
    socket.write(headOf(body.length));
    let accepted = 0;
    for (let at = 0; at < body.length; at += MEBI)
      socket.write(body.subarray(at, at + MEBI), () => accepted++);
    await until(() => written > 0);
    await Bun.sleep(300);
    expect(written).toBeLessThan(4 * MEBI);
    // The rest of what left the client lies in the kernel's socket buffers.
    expect(accepted).toBeLessThan(32);
    socket.destroy();
    gate.resolve();
    await until(() => server.lines.length === 1);
    for (;;) if (await isEmpty(server)) break;
  });

  test('an answer is made no faster than it is taken', async () => {
    await using server = await startVideos({ jpegBytes: 40 * MEBI });
    const before = process.memoryUsage.rss();
    const socket = await openSocket(server);
    socket.pause();
    const labels = Array.from({ length: 20 }, (_, index) => `l${index}`).join(',');
    const body = videoBody('x@1', labels);
    socket.write(headOf(body.length));
    socket.write(body);
    await until(() => server.videos.closed === 1);
    await Bun.sleep(500);
    // A gigabyte of base64.
    expect(process.memoryUsage.rss() - before).toBeLessThan(300 * MEBI);
    socket.destroy();
    await until(() => server.lines.length === 1);
  });
});

describe('places for videos', () => {
  test('so many lie on the disk, so many wait unread, the rest is told to come back', async () => {
    const gates: (() => void)[] = [];
    await using server = await startVideos(
      { onSearch: () => new Promise((resolve) => gates.push(resolve)) },
      { tuning: { videoAdmission: { running: 2, waiting: 1, silent: 100 } } },
    );
    const send = () => postRaw(server, '/video?images=false', videoBody());
    const running = [send(), send()];
    await until(() => gates.length === 2);
    const waiting = send();
    await Bun.sleep(50);
    const refused = await send();
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'overloaded' });
    expect(await server.left()).toHaveLength(2);

    // Photos are served meanwhile.
    const pictures = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);
    expect(await (await postRaw(server, '/categorize', pictures)).text()).toBe('{"a":"cat"}');

    gates[0]?.();
    await until(() => gates.length === 3);
    for (const open of gates) open();
    for (const response of await Promise.all([...running, waiting])) {
      expect(await response.text()).toBe(answer);
    }
    expect(await server.left()).toEqual([]);
  });

  test('videos are taken while all places for pictures are', async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await startVideos(
      { onAdd: () => gate.promise },
      { tuning: { admission: { running: 1, waiting: 0, silent: 100 } } },
    );
    const pictures = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);
    const held = postRaw(server, '/categorize', pictures);
    await until(() => server.added.length === 1);
    await expectSound(server);
    gate.resolve();
    await held;
  });

  test('a request that fails gives its place back', async () => {
    await using server = await startVideos({}, { tuning: oneByOne });
    for (const body of [videoBody('broken:video_broken'), videoBody().subarray(0, 60), videoBody('')]) {
      expect((await postRaw(server, '/video', body)).status).toBeLessThan(500);
    }
    await expectSound(server);
  });
});

describe('a full disk', () => {
  const fullAfter = (bytes: number) => async (): Promise<SpoolFile> => {
    let written = 0;
    return {
      async write({ byteLength }) {
        written += byteLength;
        if (written > bytes) throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
        return { bytesWritten: byteLength };
      },
      close: async () => {},
    };
  };

  test('is a 507 with a sentence, and leaves nothing behind', async () => {
    await using server = await startVideos({}, { spool: { createFile: fullAfter(MEBI) } });
    const response = await postRaw(server, '/video', videoBody(film.padEnd(8 * MEBI)));
    expect(response.status).toBe(507);
    expect(await response.json()).toEqual({
      error: expect.stringContaining('no room for the video'),
      code: 'storage_full',
    });
    expect(await server.left()).toEqual([]);
    expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('also when it is the pictures that do not fit', async () => {
    const full = fullAfter(MEBI);
    const createFile = (path: string) => (path.endsWith('.jpg') ? full() : open(path, 'wx'));
    await using server = await startVideos({ jpegBytes: 2 * MEBI }, { spool: { createFile } });
    const response = await postRaw(server, '/video', videoBody());
    expect(response.status).toBe(507);
    expect(server.videos.rendered).toEqual([1.5]);
    expect(server.videos.closed).toBe(1);
    expect(await server.left()).toEqual([]);
  });
});

describe('an error in the middle of an upload', () => {
  test.each(formats)('reaches a client that sends on: %s', async (accept) => {
    await using server = await startVideos();
    const rest = 20 * MEBI;
    const body = Buffer.concat([categoriesPart('{'), videoPart(Buffer.alloc(rest)), closing]);
    const socket = await openSocket(server);
    socket.write(headOf(body.length, accept));
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
    await using server = await startVideos({}, { tuning: { idleTimeoutSeconds: 1 } });
    const socket = await openSocket(server);
    const body = videoBody();
    socket.write(headOf(body.length, 'application/json', '?images=false'));
    socket.write(body);
    await until(() => socket.received().endsWith(lastChunk));
    socket.write(headOf(body.length, 'text/event-stream', '?images=false'));
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
        socket.write(headOf(body.length, accept, '?images=false'));
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
    socket.write(headOf(body.length, accept));
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
    await using server = await startVideos(
      { onSearch: () => gate.promise },
      { tuning: { videoAdmission: { running: 1, waiting: 1, silent: 100 } } },
    );
    const running = postRaw(server, '/video?images=false', videoBody());
    await until(() => server.videos.paths.length === 1);
    const waiting = postRaw(server, '/video?images=false', videoBody());
    await Bun.sleep(50);
    const drained = server.server.drain();
    gate.resolve();
    expect(await (await running).text()).toBe(answer);
    expect(await (await waiting).text()).toBe(answer);
    await drained;
  });
});
