import { describe, expect, test } from 'bun:test';
import { errorCodes } from '../../../src/errors.ts';
import { createFakeEngine } from '../fake-engine.ts';
import {
  categoriesPart,
  closing,
  filePart,
  form,
  openSocket,
  postRaw,
  requestHead,
  start,
  type TestServer,
  until,
  untilIdle,
  untilQueued,
  untilUploading,
} from '../harness.ts';
import { type Family, parseExposition } from './exposition.ts';

const upload = () => ({ method: 'POST', body: form([['a', 'cat']], 'cat,dog') });
const body = Buffer.concat([filePart('a', 'cat'), categoriesPart('cat,dog'), closing]);

async function scrape({ address }: TestServer): Promise<readonly Family[]> {
  return parseExposition(await (await fetch(address('/metrics'))).text());
}

/** The value of the one series with this name and at least these labels. */
function read(
  families: readonly Family[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const found = families
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value));
  if (found.length > 1) throw new Error(`${name} ${JSON.stringify(labels)} are several`);
  return found[0]?.value;
}

const requests = 'classify_images_http_requests_total';
const failures = 'classify_images_request_failures_total';
const durations = 'classify_images_http_request_duration_seconds_count';

describe('the exposition', () => {
  test('is Prometheus’ text format, for nobody to keep', async () => {
    await using server = start();
    const response = await fetch(server.address('/metrics'));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    const families = parseExposition(await response.text());
    expect(families.length).toBeGreaterThan(20);
  });

  test('names what it measures as Prometheus advises', async () => {
    await using server = start();
    for (const { name, help, type } of await scrape(server)) {
      expect(name).toMatch(/^(?:classify_images|process)_[a-z0-9_]+$/);
      expect({ name, isTotal: name.endsWith('_total') }).toEqual({ name, isTotal: type === 'counter' });
      expect(name).not.toMatch(/_(?:ms|milliseconds|kb|mb)\b/);
      expect(help).toEndWith('.');
    }
  });

  test('histograms are whole: buckets that only rise, up to +Inf, which is the count', async () => {
    await using server = start();
    await fetch(server.address('/categorize'), upload());
    let examined = 0;
    for (const { type, samples } of await scrape(server)) {
      if (type !== 'histogram') continue;
      const bySeries = Map.groupBy(samples, ({ labels: { le: _, ...own } }) => JSON.stringify(own));
      for (const own of bySeries.values()) {
        const buckets = own.filter(({ name }) => name.endsWith('_bucket'));
        const bounds = buckets.map(({ labels }) => (labels.le === '+Inf' ? Infinity : Number(labels.le)));
        const counts = buckets.map(({ value }) => value);
        expect(bounds).toEqual(bounds.toSorted((a, b) => a - b));
        expect(counts).toEqual(counts.toSorted((a, b) => a - b));
        expect(bounds.at(-1)).toBe(Infinity);
        expect(counts.at(-1)).toBe(own.find(({ name }) => name.endsWith('_count'))?.value as number);
        examined += 1;
      }
    }
    expect(examined).toBeGreaterThan(10);
  });
});

describe('requests', () => {
  test('those that were answered are counted, with their time and their bytes', async () => {
    await using server = start();
    await fetch(server.address('/categorize'), upload());
    await fetch(server.address('/categorize?details=true'), upload());
    await fetch(server.address('/health'));
    const families = await scrape(server);
    expect(read(families, requests, { endpoint: '/categorize', status: '200' })).toBe(2);
    expect(read(families, durations, { endpoint: '/categorize', status: '200' })).toBe(2);
    expect(read(families, 'classify_images_queue_wait_seconds_count', { endpoint: '/categorize' })).toBe(2);
    expect(
      read(families, 'classify_images_received_bytes_total', { endpoint: '/categorize' }),
    ).toBeGreaterThan(100);
    expect(read(families, requests, { endpoint: '/health', status: '200' })).toBe(1);
    expect(read(families, durations, { endpoint: '/health' })).toBeUndefined();
    expect(read(families, requests, { endpoint: '/image', status: '200' })).toBe(0);
  });

  test('those that were refused are counted by their codes, which are all there from the beginning', async () => {
    await using server = start({ environment: { API_KEY: 'long enough' } });
    const before = await scrape(server);
    for (const code of errorCodes) expect(read(before, failures, { code })).toBe(0);
    await fetch(server.address('/image'), upload());
    const headers = { 'x-api-key': 'long enough' };
    await fetch(server.address('/image?top_k=0'), { ...upload(), headers });
    const families = await scrape(server);
    expect(read(families, failures, { code: 'unauthorized' })).toBe(1);
    expect(read(families, failures, { code: 'option_invalid' })).toBe(1);
    expect(read(families, requests, { endpoint: '/image', status: '401' })).toBe(1);
    expect(read(families, requests, { endpoint: '/image', status: '400' })).toBe(1);
    expect(read(families, 'classify_images_queue_wait_seconds_count', { endpoint: '/image' })).toBe(0);
  });

  test('those that were abandoned are 499', async () => {
    await using server = start();
    const socket = await openSocket(server);
    socket.write(requestHead('/categorize', 1_000_000));
    socket.write(filePart('a', 'cat'));
    await untilUploading(server, 1);
    socket.destroy();
    await until(() => server.lines.length === 1);
    const families = await scrape(server);
    expect(read(families, requests, { endpoint: '/categorize', status: '499' })).toBe(1);
    expect(read(families, failures, { code: 'client_gone' })).toBe(1);
  });

  test('a fault in the middle of a streamed answer is counted', async () => {
    await using server = start();
    const film = new FormData();
    film.append('video', new File(['broken:video_broken'], 'film.mp4'));
    film.append('categories', 'cat');
    const accept = { accept: 'application/x-ndjson' };
    const response = await fetch(server.address('/video'), { method: 'POST', body: film, headers: accept });
    expect(await response.text()).toContain('video_broken');
    await until(() => server.lines.length === 1);
    const families = await scrape(server);
    expect(read(families, requests, { endpoint: '/video', status: '200' })).toBe(1);
    expect(read(families, failures, { code: 'video_broken' })).toBe(1);
  });

  test('no client can add series: unknown paths and methods share one', async () => {
    await using server = start();
    for (const path of [
      '/a',
      '/b?c=d',
      '/categorize/',
      '/assets/x.js',
      '/swagger/assets/y',
      '/%00',
      '/e"\\n',
    ]) {
      await fetch(server.address(path));
    }
    await fetch(server.address('/a'), { method: 'BREW' });
    await fetch(server.address('/health'), { method: 'PROPFIND' });
    const families = await scrape(server);
    const endpoints = families
      .find(({ name }) => name === requests)
      ?.samples.map(({ labels }) => `${labels.endpoint} ${labels.status}`);
    expect(endpoints?.toSorted()).toEqual([
      '/assets/ 404',
      '/categorize 200',
      '/embeddings 200',
      '/health 405',
      '/image 200',
      '/swagger/assets/ 404',
      '/v1/embeddings 200',
      '/video 200',
      'other 404',
    ]);
    expect(read(families, requests, { endpoint: 'other' })).toBe(6);
  });

  test('nothing that a client sends is exposed', async () => {
    await using server = start({ environment: { API_KEY: 'a long enough key' } });
    await fetch(server.address('/categorize?template=secretive {}'), {
      method: 'POST',
      body: form([['private.jpg', 'broken:image_broken']], 'confidential'),
      headers: { 'x-api-key': 'a long enough key', 'x-request-id': 'unique' },
    });
    const text = await (await fetch(server.address('/metrics'))).text();
    expect(text).not.toMatch(/private|confidential|secretive|enough|unique/);
  });

  test('every route of the service has a name of its own', async () => {
    await using server = start();
    const { paths } = (await (await fetch(server.address('/swagger/json'))).json()) as { paths: object };
    for (const path of [...Object.keys(paths), '/swagger', '/swagger/json']) {
      await fetch(server.address(path), { method: 'OPTIONS' });
      expect(read(await scrape(server), requests, { endpoint: path, status: '204' })).toBe(1);
    }
  });
});

describe('the service', () => {
  test('who uploads, who waits, who is worked on, and what they take', async () => {
    const [turn, work] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let turns = 0;
    const { classifier } = createFakeEngine({
      onAdd: () => (turns++ === 0 ? Promise.resolve() : turn.promise),
      onWork: () => work.promise,
      onRank: () => work.promise,
    });
    await using server = start({
      engine: { state: 'ready', classifier },
      tuning: { admission: { waiting: 5, waitingAtMost: 9, waitMs: 60_000 } },
    });
    const queue = 'pictures';
    const running = postRaw(server, '/categorize', body);
    await untilQueued(server, 'running', 1);
    const waiting = [postRaw(server, '/image', body), postRaw(server, '/image', body)];
    await untilQueued(server, 'waiting', 2);
    const uploading = await openSocket(server);
    uploading.write(requestHead('/image', 1000));
    uploading.write(filePart('b', 'x'.repeat(500)).subarray(0, 400));
    await untilUploading(server, 3);
    let families = await scrape(server);
    expect(read(families, 'classify_images_requests_running', { queue })).toBe(1);
    expect(read(families, 'classify_images_requests_waiting_limit', { queue })).toBe(5);
    expect(read(families, 'classify_images_requests_running', { queue: 'videos' })).toBe(0);
    expect(read(families, 'classify_images_upload_bytes', { place: 'memory' })).toBeGreaterThan(300);
    expect(read(families, 'classify_images_upload_bytes', { place: 'temporary_folder' })).toBe(0);
    expect(read(families, 'classify_images_request_memory_bytes', { use: 'kept' })).toBeGreaterThan(1000);
    turn.resolve();
    work.resolve();
    uploading.destroy();
    await Promise.all([running, ...waiting]);
    await untilIdle(server);
    families = await scrape(server);
    expect(read(families, 'classify_images_requests_waiting', { queue })).toBe(0);
    expect(read(families, 'classify_images_requests_running', { queue })).toBe(0);
  });

  test('the model and the build, before and after the model is there; and that it stops', async () => {
    const ready = { state: 'ready', classifier: createFakeEngine().classifier } as const;
    const loading = { state: 'loading', sentence: 'Soon.', progress: { stage: 'compiling' } } as const;
    let state: typeof ready | typeof loading = loading;
    await using server = start({ engine: () => state });
    const info = (families: readonly Family[]) =>
      families.find(({ name }) => name === 'classify_images_build_info')?.samples;
    const before = await scrape(server);
    expect(read(before, 'classify_images_model_ready')).toBe(0);
    expect(read(before, 'classify_images_ready')).toBe(0);
    expect(info(before)).toMatchObject([{ labels: { model: '', precision: '' }, value: 1 }]);
    state = ready;
    const after = await scrape(server);
    expect(read(after, 'classify_images_model_ready')).toBe(1);
    expect(read(after, 'classify_images_ready')).toBe(1);
    const labels = { version: expect.stringMatching(/^\d+\./), bun: Bun.version, model: 'fake' };
    expect(info(after)).toMatchObject([
      { labels: { ...labels, precision: 'fp32', sha256: '00'.repeat(32) }, value: 1 },
    ]);
    const drained = server.server.drain();
    // Its port is closed now or in a moment.
    const draining = parseExposition(await (await server.metrics.exposition()).text());
    expect(read(draining, 'classify_images_model_ready')).toBe(1);
    expect(read(draining, 'classify_images_ready')).toBe(0);
    await drained;
  });

  test('the longest stall of the event loop', async () => {
    await using server = start();
    // Other tests of this process may have caused stalls before.
    await using _other = start();
    await scrape(server);
    const stalledAt = performance.now();
    while (performance.now() - stalledAt < 300);
    // The stall is measured when the event loop continues.
    let stall = 0;
    while (stall < 0.2) stall = read(await scrape(server), 'classify_images_event_loop_stall_seconds') ?? 0;
    expect(stall).toBeLessThan(60);
  });

  test('memory, CPU time and age of the process', async () => {
    await using server = start();
    const families = await scrape(server);
    const resident = read(families, 'process_resident_memory_bytes') ?? 0;
    expect(resident).toBeGreaterThan(20e6);
    expect(read(families, 'classify_images_memory_limit_bytes')).toBeGreaterThan(resident);
    expect(read(families, 'process_cpu_seconds_total')).toBeGreaterThan(0);
    const age = Date.now() / 1000 - (read(families, 'process_start_time_seconds') ?? 0);
    expect(Math.abs(age - process.uptime())).toBeLessThan(10);
    const later = await scrape(server);
    expect(read(later, 'process_cpu_seconds_total')).toBeGreaterThanOrEqual(
      read(families, 'process_cpu_seconds_total') ?? Number.POSITIVE_INFINITY,
    );
  });
});

test('the engine’s work is counted as it tells of it', async () => {
  await using server = start();
  const { engine } = server.metrics;
  engine.pictureDecoded(20);
  engine.pictureEncoded();
  engine.pictureBroken('image_broken');
  engine.framesEncoded(7);
  engine.textsLookedUp(3, 2);
  engine.batchRun('image', 8, 300, 40);
  engine.inferenceBrokeDown();
  const families = await scrape(server);
  const values = [
    ['classify_images_decode_duration_seconds_sum', {}, 0.02],
    ['classify_images_pictures_total', {}, 1],
    ['classify_images_pictures_broken_total', { code: 'image_broken' }, 1],
    ['classify_images_frames_total', {}, 7],
    ['classify_images_text_cache_hits_total', {}, 3],
    ['classify_images_text_cache_misses_total', {}, 2],
    ['classify_images_batch_size_sum', { encoder: 'image' }, 8],
    ['classify_images_batch_size_count', { encoder: 'text' }, 0],
    ['classify_images_inference_duration_seconds_sum', { encoder: 'image' }, 0.3],
    ['classify_images_batch_wait_seconds_sum', { encoder: 'image' }, 0.04],
    ['classify_images_inference_breakdowns_total', {}, 1],
  ] as const;
  for (const [name, labels, value] of values) {
    expect({ name, value: read(families, name, labels) }).toEqual({ name, value });
  }
});
