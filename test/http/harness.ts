import { connect, type Socket } from 'node:net';
import type { EngineState } from '../../src/classify/classifier.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import { createMetrics, type Metrics } from '../../src/http/metrics.ts';
import { createServer, defaultTuning, type HttpServer, type ServerTuning } from '../../src/http/server.ts';
import type { Log } from '../../src/log.ts';
import { createFakeEngine } from './fake-engine.ts';

export interface LogLine {
  readonly level: string;
  readonly fields: Record<string, unknown>;
}

/** A log that keeps its lines. */
export function createMemoryLog(): { log: Log; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write = (level: string) => (fields: object) => {
    lines.push({ level, fields: { ...fields } });
  };
  const log: Log = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
  return { log, lines };
}

export interface StartOptions {
  readonly environment?: Record<string, string>;
  readonly engine?: EngineState | (() => EngineState);
  readonly tuning?: Partial<ServerTuning>;
}

export interface TestServer extends AsyncDisposable {
  readonly config: Config;
  readonly server: HttpServer;
  readonly metrics: Metrics;
  readonly port: number;
  readonly lines: LogLine[];
  readonly address: (path: string) => string;
}

/** A server on a free port of this machine, over a real socket. */
export function start({ environment = {}, engine, tuning }: StartOptions = {}): TestServer {
  const config = parseConfig({ HOST: '127.0.0.1', PORT: '0', ...environment }, []);
  const state: EngineState = { state: 'ready', classifier: createFakeEngine().classifier };
  const current = typeof engine === 'function' ? engine : () => engine ?? state;
  const { log, lines } = createMemoryLog();
  const metrics = createMetrics();
  const server = createServer({
    config,
    engine: current,
    log,
    metrics,
    tuning: { ...defaultTuning, ...tuning },
  });
  const port = Number(server.listen().port);
  return {
    config,
    server,
    metrics,
    port,
    lines,
    address: (path) => `http://127.0.0.1:${port}${path}`,
    [Symbol.asyncDispose]: () => server.drain(),
  };
}

/** A form as browsers build it: [file name, content] pictures, then the categories. */
export function form(files: readonly (readonly [string, string])[], categories?: string): FormData {
  const data = new FormData();
  for (const [name, content] of files) data.append('files', new File([content], name));
  if (categories !== undefined) data.append('categories', categories);
  return data;
}

export const boundary = 'test-boundary';

/** One part, its header line written as given. */
export function part(disposition: string, content: string | Uint8Array, ...headers: string[]): Buffer {
  const head = [`--${boundary}`, `Content-Disposition: ${disposition}`, ...headers, '', ''].join('\r\n');
  return Buffer.concat([Buffer.from(head), Buffer.from(content as string), Buffer.from('\r\n')]);
}

export const filePart = (name: string, content: string | Uint8Array) =>
  part(`form-data; name="files"; filename="${name}"`, content);

export const categoriesPart = (text: string) => part('form-data; name="categories"', text);

export const closing = Buffer.from(`--${boundary}--\r\n`);

/** Sends a body as written. */
export function postRaw(
  { address }: Pick<TestServer, 'address'>,
  path: string,
  body: Uint8Array | string,
  contentType = `multipart/form-data; boundary=${boundary}`,
): Promise<Response> {
  return fetch(address(path), { method: 'POST', body, headers: { 'content-type': contentType } });
}

/** A connection on which the test writes HTTP itself. */
export async function openSocket({
  port,
}: Pick<TestServer, 'port'>): Promise<Socket & { received: () => string }> {
  const socket = connect(port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  socket.on('error', () => undefined);
  return Object.assign(socket, { received: () => text });
}

/** The head of a request whose body the test writes piece by piece. */
export function requestHead(path: string, contentLength: number): string {
  return [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    `Content-Type: multipart/form-data; boundary=${boundary}`,
    `Content-Length: ${contentLength}`,
    '',
    '',
  ].join('\r\n');
}

/** The value of a gauge or counter, read without HTTP. */
export async function metricOf({ metrics }: Pick<TestServer, 'metrics'>, series: string): Promise<number> {
  const line = (await (await metrics.exposition()).text())
    .split('\n')
    .find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

/** Waits until this many admitted requests have incomplete bodies. */
export async function untilUploading(
  server: Pick<TestServer, 'metrics'>,
  count: number,
  queue: 'pictures' | 'videos' = 'pictures',
): Promise<void> {
  while ((await metricOf(server, `classify_images_uploads_running{queue="${queue}"}`)) !== count) {
    await Bun.sleep(5);
  }
}

/** Waits until this many requests of a queue run or wait. */
export async function untilQueued(
  { metrics }: Pick<TestServer, 'metrics'>,
  state: 'running' | 'waiting',
  count: number,
  queue: 'pictures' | 'videos' = 'pictures',
): Promise<void> {
  const series = `classify_images_requests_${state}{queue="${queue}"}`;
  while ((await metricOf({ metrics }, series)) !== count) await Bun.sleep(5);
}

/** Waits until requests hold nothing: no memory, no space in the temporary folder, no upload, no turn. */
export async function untilIdle(server: Pick<TestServer, 'metrics'>): Promise<void> {
  const names =
    /^classify_images_(?:uploads_running|upload_bytes|request_memory_bytes|requests_running|requests_waiting)\{/;
  for (;;) {
    const lines = (await (await server.metrics.exposition()).text()).split('\n');
    if (lines.filter((line) => names.test(line)).every((line) => line.endsWith(' 0'))) return;
    await Bun.sleep(5);
  }
}

/** Waits for a condition. The test's time limit ends a wait in vain. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5);
}
