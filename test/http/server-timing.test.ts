import { describe, expect, test } from 'bun:test';
import { serverTiming, timingOf } from '../../src/http/metrics.ts';
import {
  categoriesPart,
  closing,
  filePart,
  form,
  openSocket,
  requestHead,
  start,
  until,
  untilUploading,
} from './harness.ts';

const body = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);

/** Parses a header of W3C Server Timing to durations by name; throws if it is invalid. */
function parseServerTiming(header: string | null): ReadonlyMap<string, number> {
  const entries = (header ?? '').split(', ').map((entry) => {
    const [, name, ms] = /^([a-z]+);dur=(\d+(?:\.\d+)?)$/.exec(entry) ?? [];
    if (name === undefined) throw new Error(`not a metric: ${JSON.stringify(entry)}`);
    return [name, Number(ms)] as const;
  });
  return new Map(entries);
}

const work = { queueMs: 0, decodeMs: 12.345, batchWaitMs: 0.04, inferenceMs: 7, labelsMs: 0 };

test('what took no time is left out; the total is always there', () => {
  const timing = timingOf({ files: 1, bytes: 9, uploadMs: 3.21, isAdmitted: true, work });
  expect(timing).toEqual({ upload: 3.2, decode: 12.3, inference: 7 });
  expect(serverTiming(timing, 20.06)).toBe(
    'upload;dur=3.2, decode;dur=12.3, inference;dur=7, total;dur=20.1',
  );
  expect(serverTiming({}, 0)).toBe('total;dur=0');
});

describe('the header', () => {
  const upload = () => ({ method: 'POST', body: form([['a', 'cat']], 'cat,dog') });
  const video = () => {
    const body = new FormData();
    body.append('video', new File(['cat@1'], 'film.mp4'));
    body.append('categories', 'cat');
    return { method: 'POST', body };
  };

  test.each<[string, RequestInit, number]>([
    ['/categorize', upload(), 200],
    ['/image', upload(), 200],
    ['/video', video(), 200],
    ['/categorize?top_k=0', upload(), 400],
    ['/video?top_k=0', video(), 400],
  ])('%s has it', async (path, init, status) => {
    await using server = start();
    const response = await fetch(server.address(path), init);
    expect(response.status).toBe(status);
    expect(parseServerTiming(response.headers.get('server-timing')).get('total')).toBeGreaterThanOrEqual(0);
  });

  test('an upload that took its time shows it', async () => {
    await using server = start();
    const socket = await openSocket(server);
    socket.write(requestHead('/image', body.length));
    socket.write(body.subarray(0, 20));
    await untilUploading(server, 1);
    await Bun.sleep(60);
    socket.write(body.subarray(20));
    await until(() => socket.received().includes('{"cat":"a"'));
    socket.destroy();
    const [, header = ''] = /^server-timing: (.*)\r$/im.exec(socket.received()) ?? [];
    const timing = parseServerTiming(header);
    expect(timing.get('upload')).toBeGreaterThan(10);
    expect(timing.get('total')).toBeGreaterThanOrEqual(timing.get('upload') ?? Number.POSITIVE_INFINITY);
  });

  test.each(['/', '/health', '/ready', '/nothing'])(
    '%s, which classifies nothing, has none',
    async (path) => {
      await using server = start();
      expect((await fetch(server.address(path))).headers.has('server-timing')).toBe(false);
    },
  );

  test('pages of the origins that may ask may read it', async () => {
    await using server = start({ environment: { CORS_ORIGIN: 'https://photos.example' } });
    const { headers } = await fetch(server.address('/categorize'), upload());
    expect(headers.get('access-control-expose-headers')?.split(', ')).toContain('server-timing');
    expect(headers.get('timing-allow-origin')).toBe('https://photos.example');
  });
});
