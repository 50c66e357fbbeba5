import { describe, expect, test } from 'bun:test';
import { createFakeEngine, type FakeBehaviour } from './fake-engine.ts';
import {
  categoriesPart,
  closing,
  filePart,
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

const MEBI = 1024 ** 2;
const body = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);

/** A server with a controlled engine. */
function startWith(behaviour: FakeBehaviour, options: StartOptions = {}) {
  const engine = createFakeEngine(behaviour);
  const server = start({ ...options, engine: { state: 'ready', classifier: engine.classifier } });
  return { ...engine, server };
}

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

/** Checks that nothing is left: no place is held, and a request is answered. */
async function expectSound(server: TestServer) {
  const response = await postRaw(server, '/categorize', body);
  expect(await response.text()).toBe('{"a":"cat"}');
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([]);
}

describe('an error before the body was read', () => {
  const big = () => new Uint8Array(64 * MEBI);
  test.each<[string, string, StartOptions, string, number]>([
    ['no form', 'application/octet-stream', {}, '/categorize', 415],
    ['an impossible option', 'multipart/form-data; boundary=b', {}, '/categorize?top_k=0', 400],
    ['no such path', 'application/octet-stream', {}, '/upload', 404],
    ['no key', 'application/octet-stream', { environment: { API_KEY: 'long enough' } }, '/image', 401],
    [
      'no model',
      'application/octet-stream',
      { engine: { state: 'unavailable', sentence: 'Put it there.', retryAfterSeconds: 9 } },
      '/image',
      503,
    ],
    [
      'no place',
      'multipart/form-data; boundary=b',
      { tuning: { admission: { waiting: 0, waitingAtMost: 0, waitMs: 60_000 } } },
      '/categorize',
      503,
    ],
  ])('reaches a client that sends 64 MiB: %s', async (_, contentType, options, path, status) => {
    await using server = start(options);
    const response = await postRaw(server, path, big(), contentType);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code: expect.any(String) });
    expect(server.lines[0]?.fields.bytes).toBe(0);
  });

  test('in the middle of a body, too, and the connection serves on', async () => {
    await using server = start();
    const rest = 20 * MEBI;
    const faulty = Buffer.concat([filePart('', 'cat'), Buffer.alloc(rest)]);
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', faulty.length));
    socket.write(faulty);
    await until(() => socket.received().includes('file_name_invalid'));
    socket.write('GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(() => socket.received().includes('"ready":true'));
    socket.destroy();
    expect(server.lines[0]?.fields.bytes).toBeLessThan(rest);
  });
});

describe('back-pressure', () => {
  test('a client cannot send more than the engine takes', async () => {
    const gate = Promise.withResolvers<void>();
    const { server, added } = startWith({ onAdd: () => gate.promise });
    await using _ = server;
    const pictures = Array.from({ length: 64 }, (__, index) => filePart(`${index}`, new Uint8Array(MEBI)));
    const whole = [...pictures, categoriesPart('cat,dog'), closing];
    const socket = await openSocket(server);
    socket.write(
      requestHead(
        '/categorize',
        whole.reduce((sum, { length }) => sum + length, 0),
      ),
    );
    let accepted = 0;
    for (const piece of whole) socket.write(piece, () => accepted++);
    await until(() => added.length === 1);
    await Bun.sleep(300);
    expect(added).toHaveLength(1);
    // The other bytes that the client sent are in the kernel's socket buffers.
    expect(accepted).toBeLessThan(32);
    gate.resolve();
    await until(() => socket.received().includes('"63":'));
    expect(added).toHaveLength(64);
    socket.destroy();
  });
});

describe('a client that leaves', () => {
  test('in the middle of its upload: the work stops, nothing is an error', async () => {
    const { server, signals } = startWith({});
    await using _ = server;
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', 1_000_000));
    socket.write(filePart('a', 'cat'));
    await until(() => signals.length === 1);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(signals[0]?.aborted).toBe(true);
    expect(server.lines[0]).toMatchObject({ level: 'info', fields: { status: 499, path: '/categorize' } });
    await expectSound(server);
  });

  test('while its answer is computed', async () => {
    let ranked = 0;
    const { server, signals } = startWith({
      onRank: (signal) => (ranked++ === 0 ? aborted(signal) : Promise.resolve()),
    });
    await using _ = server;
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', body.length));
    socket.write(body);
    await until(() => ranked === 1);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(signals[0]?.aborted).toBe(true);
    expect(server.lines[0]).toMatchObject({ level: 'info', fields: { status: 499 } });
    await expectSound(server);
  });

  test('while its labels are checked', async () => {
    let checks = 0;
    const { server, signals } = startWith({
      onCheckLabels: (signal) => (checks++ === 0 ? aborted(signal) : Promise.resolve()),
    });
    await using _ = server;
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', body.length));
    socket.write(body);
    await until(() => checks === 1);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(signals[0]?.aborted).toBe(true);
    expect(server.lines[0]?.fields).toMatchObject({ status: 499 });
    await untilIdle(server);
    await expectSound(server);
  });

  test('while it waits for its turn', async () => {
    const gate = Promise.withResolvers<void>();
    const { server } = startWith({ onAdd: () => gate.promise });
    await using _ = server;
    const first = postRaw(server, '/categorize', body);
    await untilQueued(server, 'waiting', 1);
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', body.length));
    socket.write(body);
    await untilQueued(server, 'waiting', 2);
    socket.destroy();
    await until(() => server.lines.length === 1);
    expect(server.lines[0]?.fields).toMatchObject({ status: 499 });
    await untilQueued(server, 'waiting', 1);
    gate.resolve();
    expect((await first).status).toBe(200);
    await expectSound(server);
  });
});

describe('a client that stalls', () => {
  // Longer than a busy machine may suspend this process.
  const tuning = { patience: { waitMs: 1000, msPerKibibyte: 1000 } };

  test('is told so, and what it held is free', async () => {
    await using server = start({ tuning });
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', 1_000_000));
    socket.write(filePart('a', 'cat'));
    await until(() => socket.received().includes('upload_stalled'));
    expect(socket.received()).toStartWith('HTTP/1.1 408');
    expect(socket.received()).toMatch(/^retry-after: [1-9]/im);
    expect(socket.received()).toContain('"retry_after_seconds":');
    socket.destroy();
    await untilIdle(server);
    await expectSound(server);
  });

  test('also when it sends a byte now and then', async () => {
    await using server = start({ tuning });
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', 1_000_000));
    const trickle = setInterval(() => socket.write('-'), 20);
    await until(() => socket.received().includes('upload_stalled'));
    clearInterval(trickle);
    socket.destroy();
  });

  test('is not one that waits for us', async () => {
    const { server } = startWith({ onAdd: () => Bun.sleep(1500) }, { tuning });
    await using _ = server;
    const response = await postRaw(server, '/categorize', body);
    expect(response.status).toBe(200);
  });
});

describe('the queue before the engine', () => {
  const one = (waiting: number, waitingAtMost: number) => ({
    tuning: { admission: { waiting, waitingAtMost, waitMs: 60_000 } },
  });

  test('so many complete pictures wait, newcomers are told to come back; turns are given in order', async () => {
    const gates: (() => void)[] = [];
    const { server, added } = startWith(
      { onAdd: () => new Promise((resolve) => gates.push(resolve)) },
      one(2, 2),
    );
    await using _ = server;
    const send = (name: string) => {
      const named = Buffer.concat([filePart(name, 'cat'), categoriesPart('cat,dog'), closing]);
      return postRaw(server, '/categorize', named);
    };
    const first = send('1');
    await untilQueued(server, 'waiting', 1);
    const second = send('2');
    await untilQueued(server, 'waiting', 2);
    const refused = await send('3');
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'overloaded' });
    expect(added).toHaveLength(2);
    for (const open of gates) open();
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
    expect(added.map(({ name }) => name)).toEqual(['1', '2']);
    await untilIdle(server);
  });

  test('an upload holds no turn: not a silent one, nor one that stops between two pictures', async () => {
    const { server } = startWith({}, one(1, 1));
    await using _ = server;
    const slow = await Promise.all([1, 2, 3].map(() => openSocket(server)));
    for (const socket of slow) {
      socket.write(requestHead('/categorize', 100_000));
      socket.write(filePart('slow.jpg', 'cat'));
    }
    await untilUploading(server, 3);
    await untilQueued(server, 'running', 0);
    await expectSound(server);
    for (const socket of slow) socket.destroy();
    await untilIdle(server);
  });

  test('a request that encodes labels for long holds no turn, and ends when its client leaves', async () => {
    let ranked = 0;
    const { server, signals } = startWith(
      { onRank: (signal) => (ranked++ === 0 ? aborted(signal) : Promise.resolve()) },
      one(1, 1),
    );
    await using _ = server;
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', body.length));
    socket.write(body);
    await until(() => ranked === 1);
    await untilQueued(server, 'running', 0);
    await expectSound(server);
    socket.destroy();
    await until(() => signals[0]?.aborted === true);
    await untilIdle(server);
  });

  test('who is let in keeps its turn when the queue is full, up to a bound', async () => {
    const gate = Promise.withResolvers<void>();
    const { server } = startWith({ onAdd: () => gate.promise }, one(1, 3));
    await using _ = server;
    const sockets = await Promise.all([1, 2, 3, 4].map(() => openSocket(server)));
    for (const socket of sockets) {
      socket.write(requestHead('/categorize', body.length));
      socket.write(body.subarray(0, 50));
    }
    await untilUploading(server, 4);
    for (const [index, socket] of sockets.entries()) {
      socket.write(body.subarray(50));
      if (index < 3) await untilQueued(server, 'waiting', index + 1);
    }
    await until(() => sockets[3]?.received().includes('"code":"overloaded"') === true);
    gate.resolve();
    for (const socket of sockets.slice(0, 3)) await until(() => socket.received().includes('{"a":"cat"}'));
    for (const socket of sockets) socket.destroy();
    await untilIdle(server);
  });

  test('who waits too long for its turn is told to come back', async () => {
    const gate = Promise.withResolvers<void>();
    const { server, signals } = startWith(
      { onAdd: () => gate.promise },
      { tuning: { admission: { waiting: 5, waitingAtMost: 5, waitMs: 300 } } },
    );
    await using _ = server;
    const response = await postRaw(server, '/categorize', body);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: 'overloaded', retry_after_seconds: 5 });
    expect(signals[0]?.aborted).toBe(true);
    gate.resolve();
    await untilIdle(server);
  });

  test('who is refused need not send anything first', async () => {
    const gate = Promise.withResolvers<void>();
    const { server } = startWith({ onAdd: () => gate.promise }, one(1, 1));
    await using _ = server;
    const busy = postRaw(server, '/categorize', body);
    await untilQueued(server, 'waiting', 1);
    const silent = await openSocket(server);
    silent.write(requestHead('/categorize', 1000));
    await until(() => silent.received().includes('"code":"overloaded"'));
    expect(silent.received()).toStartWith('HTTP/1.1 503');
    silent.destroy();
    gate.resolve();
    expect((await busy).status).toBe(200);
  });

  test('a request that fails gives back what it held', async () => {
    await using server = start(one(1, 1));
    expect((await postRaw(server, '/categorize', 'nonsense')).status).toBe(400);
    await untilIdle(server);
    await expectSound(server);
  });
});

test('a port that is taken is an error, not a shared port', async () => {
  await using server = start();
  expect(() => start({ environment: { PORT: String(server.port) } })).toThrow();
});
