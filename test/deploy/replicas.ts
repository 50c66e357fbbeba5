import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { parseExposition } from '../http/metrics/exposition.ts';
import { temporaryFolder } from '../robustness/target.ts';
import { type Service, startService } from '../service/service.ts';

/** Several services with one cache folder, as replicas with one volume have. */
export interface Replicas extends AsyncDisposable {
  readonly ports: readonly number[];
  /** Ends one at once, whatever it does. */
  kill(index: number): Promise<void>;
  /** SIGTERM, and waits. @returns the exit code */
  stop(index: number): Promise<number>;
  /** Starts the one again that was ended, on its old port, and waits until it is ready. */
  start(index: number): Promise<void>;
  /** Whether one has opened its port before it could answer, as it does when its start takes very long. */
  openedEarly(index: number): boolean;
  /** Requests to /categorize that each has answered since it was started. */
  answered(): Promise<readonly number[]>;
}

/** A port that nobody has at the moment; below those that systems give to outgoing connections. */
export function freePort(): number {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } }).stop(true);
      return port;
    } catch {
      // Somebody has it.
    }
  }
}

export async function startReplicas(count: number): Promise<Replicas> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const cache = join(folder.path, 'cache');
  await mkdir(cache);
  const ports = Array.from({ length: count }, freePort);
  const services: Service[] = [];
  const start = async (index: number) => {
    const temporary = await mkdtemp(join(folder.path, 'tmp-'));
    const service = await startService({
      CLIP_MODEL: 'demo',
      CLIP_CACHE: cache,
      TMPDIR: temporary,
      PORT: String(ports[index]),
      THREADS: '1',
    });
    services[index] = service;
    await service.ready();
  };
  const serviceAt = (index: number): Service => {
    const service = services[index];
    if (!service) throw new Error(`there is no replica ${index}`);
    return service;
  };
  cleanup.defer(async () => {
    await Promise.all(services.map((service) => service[Symbol.asyncDispose]()));
  });
  // One after another: the first compiles.
  for (const index of ports.keys()) await start(index);
  const kept = cleanup.move();
  return {
    ports,
    start,
    async kill(index) {
      const { pid, exited } = serviceAt(index);
      process.kill(pid, 'SIGKILL');
      await exited;
    },
    openedEarly(index) {
      const steps = serviceAt(index).log.map(({ msg }) => msg);
      return steps.indexOf('listening') < steps.indexOf('ready');
    },
    stop: (index) => serviceAt(index).stop('SIGTERM'),
    answered: () => Promise.all(services.map(({ url }) => answeredBy(url))),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function answeredBy(url: string): Promise<number> {
  const families = parseExposition(await (await fetch(`${url}/metrics`)).text());
  const sample = families
    .find(({ name }) => name === 'classify_images_http_requests_total')
    ?.samples.find(({ labels }) => labels.endpoint === '/categorize' && labels.status === '200');
  return sample?.value ?? 0;
}
