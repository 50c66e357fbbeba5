import { describe, expect, test } from 'bun:test';
import { open } from 'node:fs/promises';
import type { SpoolFile } from '../../../src/http/video/spool.ts';
import { categoriesPart, closing, filePart, openSocket, postRaw, until, untilQueued } from '../harness.ts';
import {
  expectSound,
  film,
  filmAnswer,
  oneByOne,
  startVideos,
  type VideoServer,
  videoBody,
  videoHead,
} from './video-server.ts';

const MEBI = 1024 ** 2;

const isEmpty = async (server: VideoServer) => (await server.left()).length === 0;

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
    socket.write(videoHead(body.length));
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
    while (!(await isEmpty(server))) await Bun.sleep(2);
  });

  test('an answer is made no faster than it is taken', async () => {
    await using server = await startVideos({ jpegBytes: 40 * MEBI });
    const before = process.memoryUsage.rss();
    const socket = await openSocket(server);
    socket.pause();
    const labels = Array.from({ length: 20 }, (_, index) => `l${index}`).join(',');
    const body = videoBody('x@1', labels);
    socket.write(videoHead(body.length));
    socket.write(body);
    await until(() => server.videos.closed === 1);
    await Bun.sleep(500);
    // A gigabyte of base64.
    expect(process.memoryUsage.rss() - before).toBeLessThan(600 * MEBI);
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
    await untilQueued(server, 'waiting', 1, 'videos');
    const refused = await send();
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'overloaded' });
    // Who asks for events is told by the status, too, since nothing has happened yet.
    const events = await openSocket(server);
    events.write(videoHead(1000, 'text/event-stream'));
    await until(() => events.received().includes('"code":"overloaded"'));
    expect(events.received()).toStartWith('HTTP/1.1 503');
    events.destroy();
    expect(await server.left()).toHaveLength(2);

    // Photos are served meanwhile.
    const pictures = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);
    expect(await (await postRaw(server, '/categorize', pictures)).text()).toBe('{"a":"cat"}');

    gates[0]?.();
    await until(() => gates.length === 3);
    for (const open of gates) open();
    for (const response of await Promise.all([...running, waiting])) {
      expect(await response.text()).toBe(filmAnswer);
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
