import { describe, expect, test } from 'bun:test';
import { open } from 'node:fs/promises';
import type { SpoolFile } from '../../../src/http/spool.ts';
import {
  categoriesPart,
  closing,
  filePart,
  metricOf,
  openSocket,
  postRaw,
  until,
  untilQueued,
  untilUploading,
} from '../harness.ts';
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

describe('turns of videos', () => {
  test('so many complete videos wait on the disk, newcomers are told to come back', async () => {
    const gates: (() => void)[] = [];
    await using server = await startVideos(
      { onSearch: () => new Promise((resolve) => gates.push(resolve)), places: 2 },
      { tuning: { videoAdmission: { waiting: 1, waitingAtMost: 4, waitMs: 60_000 } } },
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
    expect(await server.left()).toHaveLength(3);

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

  test('videos are taken while the queue for pictures is full', async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await startVideos(
      { onAdd: () => gate.promise },
      { tuning: { admission: { waiting: 1, waitingAtMost: 1, waitMs: 60_000 } } },
    );
    const pictures = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);
    const held = postRaw(server, '/categorize', pictures);
    await until(() => server.added.length === 1);
    const video = await postRaw(server, '/video?images=false', videoBody());
    expect(await video.text()).toBe(filmAnswer);
    gate.resolve();
    await held;
  });

  test('a request that fails gives back what it held', async () => {
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

describe('slow uploads', () => {
  const begin = async (server: VideoServer, bytes: number) => {
    const socket = await openSocket(server);
    socket.write(videoHead(10 * MEBI));
    socket.write(videoPart('x'.repeat(bytes + 300)).subarray(0, bytes));
    return socket;
  };
  const stored = (server: VideoServer) =>
    metricOf(server, 'classify_images_upload_bytes{place="temporary_folder"}');

  test('hold no turn: a fast client is served beside 40 of them', async () => {
    await using server = await startVideos({ places: 1 }, { tuning: oneByOne });
    const slow = await Promise.all(Array.from({ length: 40 }, () => begin(server, 2000)));
    await untilUploading(server, 40, 'videos');
    for (let turn = 0; turn < 3; turn++) {
      expect(await (await postRaw(server, '/video?images=false', videoBody())).text()).toBe(filmAnswer);
    }
    for (const socket of slow) socket.destroy();
    await expectSound(server);
  });

  test('the one that is silent longest makes room on the disk; its video is gone', async () => {
    await using server = await startVideos({}, { tuning: { resources: { temporaryBytes: MEBI } } });
    const slow = await begin(server, 700_000);
    while ((await stored(server)) < 600_000) await Bun.sleep(5);
    const large = videoBody(film.padEnd(600_000));
    let response = await postRaw(server, '/video?images=false', large);
    while (response.status === 503) {
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      await Bun.sleep(20);
      response = await postRaw(server, '/video?images=false', large);
    }
    expect(await response.text()).toBe(filmAnswer);
    await until(() => slow.received().includes('upload_stalled'));
    expect(slow.received()).toStartWith('HTTP/1.1 408');
    slow.destroy();
    await expectSound(server);
  });

  test('a video for which there is no room at all is a 507', async () => {
    await using server = await startVideos({}, { tuning: { resources: { temporaryBytes: MEBI } } });
    const response = await postRaw(server, '/video', videoBody(film.padEnd(2 * MEBI)));
    expect(response.status).toBe(507);
    expect(await response.json()).toMatchObject({ code: 'storage_full' });
    await expectSound(server);
  });

  test('a complete video does not wait for its turn without end', async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await startVideos(
      { onSearch: () => gate.promise, places: 1 },
      { tuning: { videoAdmission: { waiting: 4, waitingAtMost: 4, waitMs: 300 } } },
    );
    const running = postRaw(server, '/video?images=false', videoBody());
    await untilQueued(server, 'running', 1, 'videos');
    const [json, events] = await Promise.all([
      postRaw(server, '/video?images=false', videoBody()),
      (async () => {
        const socket = await openSocket(server);
        const body = videoBody();
        socket.write(videoHead(body.length, 'application/x-ndjson'));
        socket.write(body);
        await until(() => socket.received().includes('"event":"error"'));
        socket.destroy();
        return socket.received();
      })(),
    ]);
    expect(json.status).toBe(503);
    expect(await json.json()).toMatchObject({ code: 'overloaded' });
    expect(events).toContain('"code":"overloaded"');
    gate.resolve();
    expect(await (await running).text()).toBe(filmAnswer);
    await expectSound(server);
  });
});

test('an answer whose words alone would be enormous is refused before the search', async () => {
  await using server = await startVideos({ longestLabel: 4000 });
  const labels = Array.from({ length: 1000 }, (_, index) => `${index}${'\u0001'.repeat(3000)}`).join(',');
  const fine = await postRaw(server, '/video?images=false', videoBody('x@1', labels));
  expect(fine.status).toBe(200);
  const refused = await postRaw(server, '/video?details=true&top_k=250', videoBody('x@1', labels));
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({
    code: 'option_invalid',
    error: expect.stringMatching(/top_k than 250.*takes 18\d\d\d bytes in JSON/),
  });
  expect(server.videos.paths).toHaveLength(1);
});
