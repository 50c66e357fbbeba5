import { availableParallelism } from 'node:os';
import { type FormFile, postForm } from './form-request.ts';
import { percentile } from './load.ts';

export interface Flood {
  readonly url: URL;
  /** Sent in turn, one a request. */
  readonly photos: readonly FormFile[];
  readonly categories: readonly string[];
  /** Requests that are begun, whatever has become of those before. */
  readonly perSecond: number;
  readonly seconds: number;
}

/** Latencies in milliseconds, from connecting to the last byte of the answer. */
export interface Latencies {
  readonly count: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

export interface Flooded {
  readonly sentPerSecond: number;
  readonly acceptedPerSecond: number;
  /** Share of all cores that those who send took, and the server could not have. */
  readonly clientShare: number;
  readonly accepted: Latencies;
  readonly refused: Latencies;
}

/**
 * Sends requests at a steady pace without waiting for answers, as a crowd does.
 * @throws Error where an answer is neither 200 nor 503, or a connection ends without one
 */
export async function flood({ url, photos, categories, perSecond, seconds }: Flood): Promise<Flooded> {
  const text = JSON.stringify({ categories });
  const startedAt = performance.now();
  const usageBefore = process.cpuUsage();
  const latencies = new Map<number, number[]>([
    [200, []],
    [503, []],
  ]);
  const send = async (index: number) => {
    const { status, body, milliseconds } = await postForm(
      url,
      [photos[index % photos.length] as FormFile],
      text,
    );
    const known = latencies.get(status);
    if (!known) throw new Error(`${url.href} answered ${status}: ${body.slice(0, 500)}`);
    known.push(milliseconds);
  };
  const running: Promise<void>[] = [];
  for (;;) {
    const elapsed = (performance.now() - startedAt) / 1000;
    if (elapsed > seconds) break;
    while (running.length < elapsed * perSecond) running.push(send(running.length));
    await Bun.sleep(5);
  }
  const sendingSeconds = (performance.now() - startedAt) / 1000;
  await Promise.all(running);
  const wholeSeconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(usageBefore);
  const accepted = latencies.get(200) ?? [];
  return {
    sentPerSecond: running.length / sendingSeconds,
    acceptedPerSecond: accepted.length / wholeSeconds,
    clientShare: (user + system) / 1e6 / (wholeSeconds * availableParallelism()),
    accepted: summarise(accepted),
    refused: summarise(latencies.get(503) ?? []),
  };
}

function summarise(milliseconds: readonly number[]): Latencies {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  return { count: sorted.length, medianMs: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
}
