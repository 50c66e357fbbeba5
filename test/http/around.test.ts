import { describe, expect, test } from 'bun:test';
import type { EngineState } from '../../src/classify/classifier.ts';
import { fakeModel } from './fake-engine.ts';
import { form, openSocket, start } from './harness.ts';

const upload = () => ({ method: 'POST', body: form([['a', 'cat']], 'cat,dog') });

const loading: EngineState = {
  state: 'loading',
  sentence: 'Downloading ViT-B-32.pt: 42 %.',
  progress: { stage: 'downloading', bytesDone: 42, bytesTotal: 100, secondsLeft: 17.2 },
};
const unavailable: EngineState = {
  state: 'unavailable',
  sentence: 'Put ViT-B-32.pt into /.cache/clip.',
  retryAfterSeconds: 30,
};

describe('the service’s state', () => {
  test('/ welcomes in plain text', async () => {
    await using server = start();
    const response = await fetch(server.address('/'));
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toStartWith('classify-images');
  });

  test('ready: /health names the model, /ready is 200', async () => {
    await using server = start();
    const health = await fetch(server.address('/health'));
    expect(health.headers.get('cache-control')).toBe('no-store');
    expect(await health.json()).toEqual({
      status: 'ok',
      state: 'ready',
      model: expect.objectContaining({ name: fakeModel.name, embedding_dimension: 2 }),
      precision_report: {
        accepted: true,
        reasons: [],
        pictures: { count: 98, mean_cosine: 0.9999, min_cosine: 0.9998 },
        texts: { count: 1000, mean_cosine: 0.9997, min_cosine: 0.9995 },
        best_labels: { clear: 816, agreeing: 816 },
        fp32_products: ['visual.transformer.resblocks.7.mlp.c_proj'],
        row_scale_products: ['visual.transformer.resblocks.7.mlp.c_fc'],
      },
      needs_key: false,
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      uptime_seconds: expect.any(Number),
    });
    const ready = await fetch(server.address('/ready'));
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({ ready: true, model: { name: fakeModel.name } });
  });

  test('loading: /health is 200 with the progress, all else 503 with it and Retry-After', async () => {
    await using server = start({ engine: loading });
    const progress = { stage: 'downloading', bytes_done: 42, bytes_total: 100, seconds_left: 17.2 };
    const health = await fetch(server.address('/health'));
    expect(health.status).toBe(200);
    expect(await health.json()).toMatchObject({
      status: 'ok',
      state: 'loading',
      message: loading.sentence,
      progress,
      model: null,
    });
    const answers = [
      await fetch(server.address('/ready')),
      await fetch(server.address('/categorize'), upload()),
      await fetch(server.address('/image'), upload()),
    ];
    for (const response of answers) {
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('18');
      expect(await response.json()).toEqual({
        error: `${loading.sentence} Try again soon.`,
        code: 'model_loading',
        retry_after_seconds: 18,
        progress,
      });
    }
  });

  test.each([
    [undefined, '5'],
    [0, '1'],
    [7200, '60'],
  ])('with %p seconds left, clients come back after %s', async (secondsLeft, expected) => {
    const progress = { stage: 'compiling' as const, ...(secondsLeft !== undefined && { secondsLeft }) };
    await using server = start({ engine: { state: 'loading', sentence: 'Compiling.', progress } });
    expect((await fetch(server.address('/ready'))).headers.get('retry-after')).toBe(expected);
  });

  test('unavailable: the 503 says what to do', async () => {
    await using server = start({ engine: unavailable });
    const response = await fetch(server.address('/image'), upload());
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('30');
    expect(await response.json()).toMatchObject({ error: unavailable.sentence, code: 'model_missing' });
    expect(await (await fetch(server.address('/health'))).json()).toMatchObject({
      state: 'unavailable',
      message: unavailable.sentence,
    });
  });

  test('the engine is asked anew at every request', async () => {
    let state: EngineState = loading;
    await using server = start({ engine: () => state });
    expect((await fetch(server.address('/ready'))).status).toBe(503);
    state = unavailable;
    expect(await (await fetch(server.address('/ready'))).json()).toMatchObject({ code: 'model_missing' });
  });
});

describe('paths and methods', () => {
  test('nothing there: 404 in the shape of all errors', async () => {
    await using server = start();
    const response = await fetch(server.address('/nothing?x=%zz'));
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      error: expect.stringContaining('"/nothing"'),
      code: 'not_found',
    });
  });

  test.each([
    ['GET', '/categorize', 'POST, OPTIONS'],
    ['HEAD', '/image', 'POST, OPTIONS'],
    ['DELETE', '/health', 'GET, HEAD, OPTIONS'],
    ['POST', '/swagger/json', 'GET, HEAD, OPTIONS'],
  ])('%s %s: 405 with Allow', async (method, path, allow) => {
    await using server = start();
    const response = await fetch(server.address(path), { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe(allow);
    if (method !== 'HEAD') expect(await response.json()).toMatchObject({ code: 'method_not_allowed' });
  });

  test.each([
    '/',
    '/health',
    '/ready',
    '/metrics',
    '/swagger',
    '/swagger/json',
    '/swagger/assets/swagger-ui.css',
  ])('HEAD %s answers like GET, without the body', async (path) => {
    await using server = start();
    const get = await fetch(server.address(path));
    const head = await fetch(server.address(path), { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(head.headers.get('content-type')).toBe(get.headers.get('content-type'));
    expect(await head.text()).toBe('');
    expect((await get.text()).length).toBeGreaterThan(0);
  });

  test.each(['/categorize', '/health', '/nothing'])('OPTIONS %s: 204', async (path) => {
    await using server = start({ environment: { API_KEY: 'long enough' } });
    const response = await fetch(server.address(path), { method: 'OPTIONS' });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(response.headers.get('access-control-allow-methods')).toContain('POST');
    expect(response.headers.get('access-control-allow-headers')).toContain('x-api-key');
  });

  test.each(['a', 'api', 'host.example:8080', '[::1]'])('is found under the host name %s', async (host) => {
    await using server = start();
    const response = await fetch(server.address('/swagger/json'), { headers: { host } });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });

  test.each([
    ['POST', '/categorize#x', '"/categorize#x" does not exist'],
    ['GET', '/health#', '"/health#" does not exist'],
  ])('a fragment is not a part of any path: %s %s', async (method, path, sentence) => {
    await using server = start();
    const socket = await openSocket(server);
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`);
    while (!socket.received().includes('\r\n\r\n')) await Bun.sleep(5);
    expect(socket.received()).toStartWith('HTTP/1.1 404');
    expect(JSON.parse(socket.received().split('\r\n\r\n')[1] ?? '').error).toContain(sentence);
    socket.destroy();
  });

  test('health checks of HTTP/1.0, without a host, are answered', async () => {
    await using server = start();
    const socket = await openSocket(server);
    socket.write('GET /health HTTP/1.0\r\n\r\n');
    while (!socket.received().includes('"status":"ok"')) await Bun.sleep(5);
    socket.destroy();
  });

  test('a host that is none: 400 in the shape of all errors', async () => {
    await using server = start();
    const socket = await openSocket(server);
    socket.write('GET /health HTTP/1.1\r\nHost: ]\r\n\r\n');
    while (!socket.received().includes('"code":"bad_request"')) await Bun.sleep(5);
    expect(socket.received()).toStartWith('HTTP/1.1 400');
    socket.destroy();
  });
});

describe('CORS', () => {
  test.each([['/'], ['/nothing'], ['/categorize'], ['/swagger']])('any origin may read %s', async (path) => {
    await using server = start();
    const { headers } = await fetch(server.address(path));
    expect(headers.get('access-control-allow-origin')).toBe('*');
    expect(headers.get('access-control-expose-headers')).toContain('x-broken-files');
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    expect(headers.get('vary') ?? '').not.toContain('Origin');
  });

  const preflight = (server: { address: (path: string) => string }, asked: string) =>
    fetch(server.address('/categorize'), {
      method: 'OPTIONS',
      headers: { 'access-control-request-headers': asked, 'access-control-request-method': 'POST' },
    });
  const usual = 'content-type, authorization, x-api-key, x-request-id';

  test.each([
    [
      'tracing',
      'baggage,content-type,sentry-trace,traceparent',
      `${usual}, baggage, sentry-trace, traceparent`,
    ],
    ['spaces and capitals', 'X-Api-Key , Last-Event-ID', `${usual}, last-event-id`],
    ['nothing', '', usual],
    ['an empty name', 'a,,b', usual],
    ['no header’s name', 'a, b c', usual],
    ['a quote', 'a"', usual],
    ['a list without end', Array.from({ length: 400 }, (_, index) => `x-${index}`).join(), usual],
  ])('a page may send the headers that it asks for: %s', async (_, asked, allowed) => {
    await using server = start();
    const { headers } = await preflight(server, asked);
    expect(headers.get('access-control-allow-headers')).toBe(allowed);
    expect(headers.get('vary')).toBe('Access-Control-Request-Headers');
  });

  test('a preflight’s answer depends on the headers asked for, and on the one origin', async () => {
    await using server = start({ environment: { CORS_ORIGIN: 'https://photos.example' } });
    const { headers } = await preflight(server, 'traceparent');
    expect(headers.get('access-control-allow-headers')).toBe(`${usual}, traceparent`);
    expect(headers.get('access-control-allow-credentials')).toBe('true');
    expect(headers.get('vary')).toBe('Access-Control-Request-Headers, Origin');
  });

  test('CORS_ORIGIN narrows it, and says so to caches', async () => {
    await using server = start({ environment: { CORS_ORIGIN: 'https://photos.example' } });
    const { headers } = await fetch(server.address('/nothing'));
    expect(headers.get('access-control-allow-origin')).toBe('https://photos.example');
    expect(headers.get('access-control-allow-credentials')).toBe('true');
    expect(headers.get('vary')).toBe('Origin');
  });
});

describe('the API key', () => {
  const environment = { API_KEY: 'a long enough key' };

  test.each([
    ['none', {}],
    ['a wrong one', { 'x-api-key': 'a wrong key' }],
    ['a part of it', { 'x-api-key': 'a long enough' }],
    ['a wrong bearer', { authorization: 'Bearer a wrong key' }],
    ['another scheme', { authorization: `Basic ${environment.API_KEY}` }],
  ])('%s: 401', async (_, headers) => {
    await using server = start({ environment });
    const response = await fetch(server.address('/categorize'), { ...upload(), headers });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toStartWith('Bearer');
    expect(await response.json()).toMatchObject({ code: 'unauthorized' });
  });

  test.each([
    ['x-api-key', { 'x-api-key': environment.API_KEY }],
    ['bearer', { authorization: `bearer  ${environment.API_KEY}` }],
  ])('%s: let in', async (_, headers) => {
    await using server = start({ environment });
    const response = await fetch(server.address('/categorize'), { ...upload(), headers });
    expect(response.status).toBe(200);
  });

  test('/health says that one is needed', async () => {
    await using server = start({ environment });
    expect(await (await fetch(server.address('/health'))).json()).toMatchObject({ needs_key: true });
  });

  test.each(['/', '/health', '/ready', '/metrics', '/swagger', '/swagger/json'])(
    '%s stays open',
    async (path) => {
      await using server = start({ environment });
      expect((await fetch(server.address(path))).status).toBe(200);
    },
  );
});
