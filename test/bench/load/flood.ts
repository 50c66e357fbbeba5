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

/** What became of those who came at the same moment. */
export type Crowded = Pick<Flooded, 'clientShare' | 'accepted' | 'refused'>;

/**
 * Sends requests at a steady pace without waiting for answers, as a crowd does.
 * @throws Error where an answer is neither 200 nor 503, or a connection ends without one
 */
export async function flood({ perSecond, seconds, ...target }: Flood): Promise<Flooded> {
  const sender = createSender(target);
  let sent = 0;
  for (; sender.elapsedSeconds() <= seconds; await Bun.sleep(5)) {
    for (; sent < sender.elapsedSeconds() * perSecond; sent++) sender.send();
  }
  const sendingSeconds = sender.elapsedSeconds();
  const crowded = await sender.answered();
  return {
    ...crowded,
    sentPerSecond: sent / sendingSeconds,
    acceptedPerSecond: crowded.accepted.count / sender.elapsedSeconds(),
  };
}

/**
 * Sends so many requests at the same moment.
 * @throws as flood
 */
export async function crowd(clients: number, target: Omit<Flood, 'perSecond' | 'seconds'>): Promise<Crowded> {
  const sender = createSender(target);
  for (let client = 0; client < clients; client++) sender.send();
  return await sender.answered();
}

function createSender({ url, photos, categories }: Omit<Flood, 'perSecond' | 'seconds'>) {
  const text = JSON.stringify({ categories });
  const startedAt = performance.now();
  const usageBefore = process.cpuUsage();
  const latencies = new Map<number, number[]>([
    [200, []],
    [503, []],
  ]);
  const running: Promise<void>[] = [];
  const elapsedSeconds = () => (performance.now() - startedAt) / 1000;
  const ask = async (photo: FormFile) => {
    const { status, body, milliseconds } = await postForm(url, [photo], text);
    const known = latencies.get(status);
    if (!known) throw new Error(`${url.href} answered ${status}: ${body.slice(0, 500)}`);
    known.push(milliseconds);
  };
  return {
    elapsedSeconds,
    send: () => void running.push(ask(photos[running.length % photos.length] as FormFile)),
    /** Waits for all answers. */
    async answered(): Promise<Crowded> {
      await Promise.all(running);
      const { user, system } = process.cpuUsage(usageBefore);
      return {
        clientShare: (user + system) / 1e6 / (elapsedSeconds() * availableParallelism()),
        accepted: summarise(latencies.get(200) ?? []),
        refused: summarise(latencies.get(503) ?? []),
      };
    },
  };
}

function summarise(milliseconds: readonly number[]): Latencies {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  return { count: sorted.length, medianMs: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
}
