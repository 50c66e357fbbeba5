import type { FormFile } from './form-request.ts';
import { postForm } from './form-request.ts';

export interface Load {
  readonly url: URL;
  /** Each sends one request after another, each over a connection of its own. */
  readonly clients: number;
  readonly photosPerRequest: number;
  /** Sent in turn, over and over. */
  readonly photos: readonly FormFile[];
  readonly categories: readonly string[];
}

/** What a server did in a stretch of time. */
export interface Served {
  readonly pictures: number;
  readonly seconds: number;
  /** Of each request that was answered, ascending. */
  readonly latenciesMs: readonly number[];
}

/** Told when measuring begins and ends, so that processor time can be read at the same moments. */
export interface Stopwatch {
  start(): void;
  stop(): void;
}

/**
 * Keeps a server busy and measures from one answer to another while all clients are at work: neither the
 * beginning nor the last, lonely requests count.
 */
export async function steadyLoad(
  load: Load,
  warmUpSeconds: number,
  seconds: number,
  stopwatch: Stopwatch,
): Promise<Served> {
  const loadedAt = performance.now();
  const latenciesMs: number[] = [];
  let sent = 0;
  let pictures = 0;
  let startedAt: number | undefined;
  let stoppedAt: number | undefined;

  const count = (milliseconds: number) => {
    const now = performance.now();
    if (startedAt === undefined) {
      if (now - loadedAt < warmUpSeconds * 1000) return;
      startedAt = now;
      stopwatch.start();
      return;
    }
    if (stoppedAt !== undefined) return;
    pictures += load.photosPerRequest;
    latenciesMs.push(milliseconds);
    if (now - startedAt < seconds * 1000) return;
    stoppedAt = now;
    stopwatch.stop();
  };
  const client = async () => {
    while (stoppedAt === undefined) {
      const files = Array.from(
        { length: load.photosPerRequest },
        (_, index) => load.photos[(sent + index) % load.photos.length] as FormFile,
      );
      sent += load.photosPerRequest;
      count(await answered(load, files));
    }
  };
  await Promise.all(Array.from({ length: load.clients }, client));
  return {
    pictures,
    seconds: ((stoppedAt ?? Number.NaN) - (startedAt ?? Number.NaN)) / 1000,
    latenciesMs: latenciesMs.sort((a, b) => a - b),
  };
}

/** One request of many photos. */
export async function oneRequest(
  load: Omit<Load, 'clients' | 'photosPerRequest'>,
  count: number,
  stopwatch: Stopwatch,
): Promise<Served> {
  const files = Array.from({ length: count }, (_, index) => {
    const { name, bytes } = load.photos[index % load.photos.length] as FormFile;
    return { name: `${index}-${name}`, bytes };
  });
  stopwatch.start();
  const milliseconds = await answered(load, files);
  stopwatch.stop();
  return { pictures: count, seconds: milliseconds / 1000, latenciesMs: [milliseconds] };
}

async function answered(
  { url, categories }: Pick<Load, 'url' | 'categories'>,
  files: readonly FormFile[],
): Promise<number> {
  const { status, body, milliseconds } = await postForm(url, files, JSON.stringify({ categories }));
  if (status !== 200) throw new Error(`${url.href} answered ${status}: ${body.slice(0, 500)}`);
  return milliseconds;
}

/** @param sorted ascending */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
