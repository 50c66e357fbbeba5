import { describe, expect, test } from 'bun:test';
import type { EngineState } from '../../src/classify/classifier.ts';
import { createFakeEngine } from './fake-engine.ts';
import {
  categoriesPart,
  closing,
  filePart,
  openSocket,
  postRaw,
  requestHead,
  type StartOptions,
  start,
  until,
  untilQueued,
} from './harness.ts';

const body = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);

/** A server whose engine accepts pictures when the test says so. */
function startGated(tuning: StartOptions['tuning'] = {}) {
  const gate = Promise.withResolvers<void>();
  const { classifier, added } = createFakeEngine({ onAdd: () => gate.promise });
  const server = start({ engine: { state: 'ready', classifier }, tuning });
  return { server, added, open: gate.resolve };
}

const getReady = 'GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n';
const isRefused = (url: string) =>
  fetch(url).then(
    () => false,
    () => true,
  );

describe('while it lingers', () => {
  test('it says that it is not ready, and answers whoever comes all the same', async () => {
    const server = start();
    const kept = await openSocket(server);
    kept.write(getReady);
    await until(() => kept.received().includes('"ready":true'));
    expect(kept.received().toLowerCase()).not.toContain('connection: close');

    let isDrained = false;
    const drained = server.server.drain(3000).then(() => {
      isDrained = true;
    });
    const ready = await fetch(server.address('/ready'));
    expect([ready.status, ready.headers.get('connection')]).toEqual([503, 'close']);
    expect(await ready.json()).toMatchObject({ code: 'shutting_down', retry_after_seconds: 5 });
    const health = await fetch(server.address('/health'));
    expect(await health.json()).toMatchObject({ status: 'ok', state: 'shutting_down' });
    const answer = await postRaw(server, '/categorize', body);
    expect([answer.status, await answer.text()]).toEqual([200, '{"a":"cat"}']);
    expect(isDrained).toBe(false);

    // An open connection is closed after its next answer, not in the middle of it.
    kept.write(getReady);
    await until(() => kept.received().includes('shutting_down'));
    await until(() => kept.readyState !== 'open');
    expect(kept.received().toLowerCase()).toContain('connection: close');
    await drained;
  });
});

describe('draining', () => {
  test('finishes what runs and what waits, closes idle connections, accepts nobody', async () => {
    const { server, added, open } = startGated();
    const running = await openSocket(server);
    running.write(requestHead('/categorize', body.length));
    running.write(body.subarray(0, body.length - closing.length));
    await until(() => added.length === 1);
    const waiting = postRaw(server, '/categorize', body);
    await untilQueued(server, 'waiting', 2);
    const idle = await openSocket(server);
    idle.write(getReady);
    await until(() => idle.received().includes('"ready":true'));

    let isDrained = false;
    const drained = server.server.drain().then(() => {
      isDrained = true;
    });
    await until(() => idle.readyState !== 'open');
    expect(await isRefused(server.address('/health'))).toBe(true);
    expect(isDrained).toBe(false);

    open();
    running.write(closing);
    await until(() => running.received().includes('{"a":"cat"}'));
    expect(running.received().toLowerCase()).toContain('connection: close');
    const waited = await waiting;
    expect([waited.status, await waited.text()]).toEqual([200, '{"a":"cat"}']);
    await drained;
    running.destroy();
  });

  test('finishes a request whose head had come, but whose body only begins', async () => {
    const server = start();
    const late = await openSocket(server);
    late.write(requestHead('/categorize', body.length));
    const ready = await openSocket(server);
    ready.write(getReady);
    await until(() => ready.received().includes('"ready":true'));
    const drained = server.server.drain();
    await until(() => ready.readyState !== 'open');
    late.write(body);
    await until(() => late.received().includes('{"a":"cat"}'));
    await drained;
  });

  test('does not wait long for a client that stopped sending', async () => {
    const hurriedPatience = { waitMs: 100, msPerKibibyte: 80 };
    let asked = 0;
    const engine = (): EngineState => {
      asked += 1;
      return { state: 'ready', classifier: createFakeEngine().classifier };
    };
    const server = start({ engine, tuning: { hurriedPatience } });
    const slow = await openSocket(server);
    slow.write(requestHead('/categorize', 1_000_000));
    slow.write(filePart('a', 'cat'));
    const silent = await openSocket(server);
    silent.write(requestHead('/image', 1_000_000));
    await until(() => asked === 2);
    await server.server.drain();
    expect(server.lines.map(({ fields }) => fields.fault)).toEqual(['upload_stalled', 'upload_stalled']);
  });

  test('does not wait for a client that was answered early and keeps its upload open', async () => {
    const server = start({ tuning: { closeGraceMs: 50 } });
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize?top_k=0', 1_000_000));
    await until(() => socket.received().includes('option_invalid'));
    await server.server.drain();
    await until(() => socket.readyState !== 'open');
  });
});
