import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFakeEngine, type FakeBehaviour } from './fake-engine.ts';
import {
  categoriesPart,
  closing,
  filePart,
  metricOf,
  openSocket,
  postRaw,
  requestHead,
  type StartOptions,
  start,
  type TestServer,
  until,
  untilIdle,
  untilQueued,
  untilUploading,
} from './harness.ts';

const KIBI = 1024;
const body = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'classify-images-test-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function startWith(behaviour: FakeBehaviour, tuning: StartOptions['tuning'] = {}, environment = {}) {
  const engine = createFakeEngine(behaviour);
  const server = start({
    engine: { state: 'ready', classifier: engine.classifier },
    environment,
    tuning: { spool: { directory }, ...tuning },
  });
  return { ...engine, server };
}

async function expectAnswered(server: TestServer) {
  const response = await postRaw(server, '/categorize', body);
  expect([response.status, await response.text()]).toEqual([200, '{"a":"cat"}']);
}

/** Sends again while the answer says to retry. */
async function untilAnswered(server: TestServer) {
  for (;;) {
    const response = await postRaw(server, '/categorize', body);
    if (response.status === 200) return await response.text();
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: 'overloaded' });
    await Bun.sleep(20);
  }
}

/** Starts an upload and sends this much of its picture. */
async function beginUpload(server: TestServer, bytes: number) {
  const socket = await openSocket(server);
  socket.write(requestHead('/categorize', 10_000_000));
  socket.write(filePart('slow.jpg', 'x'.repeat(bytes + 300)).subarray(0, bytes));
  return socket;
}

const inMemory = (server: TestServer) => metricOf(server, 'classify_images_upload_bytes{place="memory"}');
const inFolder = (server: TestServer) =>
  metricOf(server, 'classify_images_upload_bytes{place="temporary_folder"}');
async function untilHeld(read: () => Promise<number>, least: number) {
  while ((await read()) < least) await Bun.sleep(5);
}

describe('slow clients beside a fast one', () => {
  test('300 silent ones and 60 in the middle of a picture hold up nobody, in front of a queue of one', async () => {
    const { server } = startWith(
      {},
      {
        admission: { waiting: 1, waitingAtMost: 1, waitMs: 60_000 },
        // As many as a machine with more memory accepts.
        resources: { pictureUploads: 512 },
      },
    );
    await using _ = server;
    const silent = await Promise.all(
      Array.from({ length: 300 }, async () => {
        const socket = await openSocket(server);
        socket.write(requestHead('/categorize', 1000));
        return socket;
      }),
    );
    const slow = await Promise.all(Array.from({ length: 60 }, () => beginUpload(server, 20 * KIBI)));
    await untilUploading(server, 360);
    for (let turn = 0; turn < 5; turn++) await expectAnswered(server);
    expect(server.lines.filter(({ fields }) => fields.status !== 200)).toEqual([]);
    for (const socket of [...silent, ...slow]) socket.destroy();
    await untilIdle(server);
  });

  test('200 whose uploads end in the same moment are all answered', async () => {
    const { server } = startWith({ onAdd: () => Bun.sleep(1) });
    await using _ = server;
    const sockets = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const socket = await openSocket(server);
        socket.write(requestHead('/categorize', body.length));
        socket.write(body.subarray(0, 60));
        return socket;
      }),
    );
    await untilUploading(server, 200);
    for (const socket of sockets) socket.write(body.subarray(60));
    for (const socket of sockets) await until(() => socket.received().includes('{"a":"cat"}'));
    for (const socket of sockets) socket.destroy();
  });
});

describe('where room for uploads is short', () => {
  test('the upload that was silent longest is ended with 408 and Retry-After, and the newcomer served', async () => {
    const { server } = startWith({}, { resources: { pictureUploads: 2 } });
    await using _ = server;
    const first = await beginUpload(server, 100);
    await untilUploading(server, 1);
    await Bun.sleep(50);
    const second = await beginUpload(server, 100);
    await untilUploading(server, 2);
    expect(await untilAnswered(server)).toBe('{"a":"cat"}');
    await until(() => first.received().includes('upload_stalled'));
    expect(first.received()).toStartWith('HTTP/1.1 408');
    expect(first.received()).toMatch(/^retry-after: [1-9]/im);
    expect(second.received()).toBe('');
    for (const socket of [first, second]) socket.destroy();
    await untilIdle(server);
  });

  test('who sends steadily is left alone, and the newcomer told to come back', async () => {
    const { server } = startWith({}, { resources: { pictureUploads: 1 } });
    await using _ = server;
    const steady = await beginUpload(server, 100);
    await untilUploading(server, 1);
    const sending = setInterval(() => steady.write(Buffer.alloc(2 * KIBI)), 20);
    for (let turn = 0; turn < 60; turn++) {
      const response = await postRaw(server, '/categorize', body);
      expect(response.status).toBe(503);
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      await Bun.sleep(25);
    }
    clearInterval(sending);
    expect(steady.received()).toBe('');
    steady.destroy();
    await untilIdle(server);
  });

  test('memory and temporary folder are both full: the silent make room there, too', async () => {
    const { server } = startWith({}, { resources: { partBytes: 50 * KIBI, temporaryBytes: 50 * KIBI } });
    await using _ = server;
    const slow = [await beginUpload(server, 40 * KIBI)];
    await untilHeld(() => inMemory(server), 39 * KIBI);
    slow.push(await beginUpload(server, 40 * KIBI));
    await untilHeld(() => inFolder(server), 39 * KIBI);
    const large = Buffer.concat([
      filePart('a', `cat${' '.repeat(30 * KIBI)}`),
      categoriesPart('cat,dog'),
      closing,
    ]);
    let response = await postRaw(server, '/categorize', large);
    while (response.status === 503) {
      await Bun.sleep(20);
      response = await postRaw(server, '/categorize', large);
    }
    expect(response.status).toBe(200);
    await until(() => slow.some((socket) => socket.received().includes('upload_stalled')));
    for (const socket of slow) socket.destroy();
    await untilIdle(server);
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('pictures for which memory is short', () => {
  const pictures = Array.from({ length: 40 }, (_, index) =>
    Buffer.alloc(50 * KIBI + 1000 * index, `${index} some picture `),
  );
  const upload = Buffer.concat([
    categoriesPart('cat,dog'),
    ...pictures.map((bytes, index) => filePart(`${index}`, bytes)),
    closing,
  ]);

  async function answerWith(tuning: StartOptions['tuning']) {
    const received: string[] = [];
    const seen: number[] = [];
    const { server } = startWith(
      {
        onAdd: async () => {
          seen.push(await inFolder(server));
        },
        onBytes: (bytes) => received.push(Bun.hash(bytes).toString()),
      },
      tuning,
    );
    await using _ = server;
    const response = await postRaw(server, '/categorize', upload);
    const text = await response.text();
    await untilIdle(server);
    return { status: response.status, text, received, stored: seen.filter((bytes) => bytes > 0).length };
  }

  test('go to the temporary folder and come back with every byte: the answer is the same', async () => {
    const expected = await answerWith({});
    const spilled = await answerWith({ resources: { partBytes: 20 * KIBI } });
    expect(expected.stored).toBe(0);
    expect(spilled.stored).toBe(40);
    expect(spilled.status).toBe(200);
    expect(spilled.text).toBe(expected.text);
    expect(spilled.received).toEqual(expected.received);
    expect(spilled.received).toEqual(pictures.map((bytes) => Bun.hash(bytes).toString()));
    expect(await readdir(directory)).toEqual([]);
  });

  test('are answered from memory alone where the folder cannot be written; the log says why, once', async () => {
    const { server } = startWith(
      {},
      { resources: { partBytes: 20 * KIBI }, spool: { directory: join(directory, 'missing') } },
    );
    await using _ = server;
    for (let turn = 0; turn < 2; turn++) {
      expect((await postRaw(server, '/categorize', upload)).status).toBe(200);
    }
    const warnings = server.lines.filter(({ level }) => level === 'warn');
    expect(warnings).toEqual([
      { level: 'warn', fields: { reason: expect.stringContaining('cannot be written (ENOENT)') } },
    ]);
    await untilIdle(server);
  });

  test('leave no file behind when their client leaves', async () => {
    const { server } = startWith({}, { resources: { partBytes: 10 * KIBI } });
    await using _ = server;
    const socket = await beginUpload(server, 60 * KIBI);
    await untilHeld(() => inFolder(server), 59 * KIBI);
    expect(await readdir(directory)).toHaveLength(1);
    socket.destroy();
    await untilIdle(server);
    while ((await readdir(directory)).length > 0) await Bun.sleep(5);
  });
});

describe('a part that is too large', () => {
  const environment = { MAX_IMAGE_BYTES: String(100 * KIBI) };
  const begin = async (server: TestServer, path: string, ...parts: Uint8Array[]) => {
    const socket = await openSocket(server);
    socket.write(requestHead(path, 100_000_000));
    for (const part of parts) socket.write(part);
    return socket;
  };
  const large = (bytes: number) => filePart('large.jpg', Buffer.alloc(bytes)).subarray(0, -10);

  test('ends the request at once where one broken picture fails it: as in the final answer', async () => {
    const { server } = startWith({}, {}, environment);
    await using _ = server;
    const socket = await begin(
      server,
      '/categorize',
      filePart('b.jpg', 'broken:image_empty'),
      large(150 * KIBI),
    );
    await until(() => socket.received().includes('"errors":[') && socket.received().endsWith('}'));
    expect(socket.received()).toStartWith('HTTP/1.1 422');
    const answer = JSON.parse(socket.received().slice(socket.received().indexOf('\r\n\r\n')));
    expect(answer).toEqual({
      error: '2 files cannot be used, the first of them "b.jpg": It is broken.',
      code: 'files_broken',
      errors: [
        { file: 'b.jpg', code: 'image_empty', error: 'It is broken.' },
        {
          file: 'large.jpg',
          code: 'image_too_large',
          error: 'The file has more than 102400 bytes, the most that a picture may have.',
        },
      ],
    });
    socket.destroy();
    expect(server.lines[0]?.fields).toMatchObject({ status: 422, fault: 'files_broken' });
    await untilIdle(server);
  });

  test('is passed over where the others are to be answered, but not without end', async () => {
    const { server } = startWith({}, { passedOverBytes: 200 * KIBI }, environment);
    await using _ = server;
    const passed = Buffer.concat([
      filePart('large.jpg', Buffer.alloc(250 * KIBI)),
      filePart('a', 'cat'),
      categoriesPart('cat,dog'),
      closing,
    ]);
    const response = await postRaw(server, '/categorize?on_error=skip', passed);
    expect([response.status, await response.text()]).toEqual([200, '{"large.jpg":null,"a":"cat"}']);
    const socket = await begin(server, '/categorize?on_error=skip', large(450 * KIBI));
    await until(() => socket.received().includes('image_too_large'));
    expect(socket.received()).toStartWith('HTTP/1.1 413');
    expect(socket.received()).toContain('large.jpg');
    socket.destroy();
    await untilIdle(server);
  });

  test.each(['/categorize', '/video'])('of categories ends the request at once: %s', async (path) => {
    const { server } = startWith({});
    await using _ = server;
    const socket = await begin(server, path, categoriesPart('a'.repeat(5 * KIBI * KIBI)).subarray(0, -10));
    await until(() => socket.received().includes('multipart_too_large'));
    expect(socket.received()).toStartWith('HTTP/1.1 413');
    socket.destroy();
    await untilIdle(server);
  });
});

describe('a client that leaves while what it has sent is unread', () => {
  test.if(process.platform === 'linux')('is noticed, and its work ends', async () => {
    const { server, signals, added } = startWith({ onAdd: () => new Promise(() => undefined) });
    await using _ = server;
    // More than the HTTP server reads ahead, less than the system buffers.
    const many = Buffer.concat(
      Array.from({ length: 1600 }, (__, index) => filePart(`${index}`, 'x'.repeat(900))),
    );
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', 10_000_000));
    socket.write(many);
    await until(() => added.length === 1);
    await untilQueued(server, 'waiting', 1);
    socket.end();
    await until(() => server.lines.length === 1);
    expect(server.lines[0]?.fields).toMatchObject({ status: 499, fault: 'client_gone', files: 1 });
    expect(signals[0]?.aborted).toBe(true);
    await untilIdle(server);
    socket.destroy();
  });

  test('is not taken for one that only waits', async () => {
    const gate = Promise.withResolvers<void>();
    const { server, added } = startWith({ onAdd: () => gate.promise });
    await using _ = server;
    const many = Buffer.concat([
      ...Array.from({ length: 2600 }, (__, index) => filePart(`${index}`, 'x')),
      categoriesPart('x,y'),
      closing,
    ]);
    const answering = postRaw(server, '/categorize', many);
    await until(() => added.length === 1);
    await Bun.sleep(2500);
    gate.resolve();
    expect(Object.keys((await (await answering).json()) as object)).toHaveLength(2600);
  });
});
