import { availableParallelism } from 'node:os';
import { type ProcessUsage, processUsage, residentMemory } from '../process/process-usage.ts';
import type { Served, Stopwatch } from './load.ts';
import { percentile } from './load.ts';

/** A server under load, seen from outside. */
export interface Observation {
  readonly perSecond: number;
  /** Processor time of the server a picture, all threads, in milliseconds. */
  readonly cpuMs: number;
  /** Of it on the main thread. */
  readonly mainThreadMs: number;
  /** Share of all cores that the server had; what others compute is missing here. */
  readonly busyShare: number;
  /** Share of all cores that those who send the photos took. */
  readonly clientShare: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  /** Resident memory of the server since its start. */
  readonly peakBytes: number;
}

/** Measures a process while `serve` keeps it busy. */
export async function observe(
  pid: number,
  serve: (stopwatch: Stopwatch) => Promise<Served>,
): Promise<Observation> {
  let before: { server: ProcessUsage; client: NodeJS.CpuUsage } | undefined;
  let server: ProcessUsage = { cpuSeconds: Number.NaN, mainThreadSeconds: Number.NaN };
  let clientSeconds = Number.NaN;
  const { pictures, seconds, latenciesMs } = await serve({
    start() {
      before = { server: processUsage(pid), client: process.cpuUsage() };
    },
    stop() {
      if (!before) return;
      const now = processUsage(pid);
      server = {
        cpuSeconds: now.cpuSeconds - before.server.cpuSeconds,
        mainThreadSeconds: now.mainThreadSeconds - before.server.mainThreadSeconds,
      };
      const { user, system } = process.cpuUsage(before.client);
      clientSeconds = (user + system) / 1e6;
    },
  });
  const coreSeconds = seconds * availableParallelism();
  return {
    perSecond: pictures / seconds,
    cpuMs: (server.cpuSeconds / pictures) * 1000,
    mainThreadMs: (server.mainThreadSeconds / pictures) * 1000,
    busyShare: server.cpuSeconds / coreSeconds,
    clientShare: clientSeconds / coreSeconds,
    medianMs: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    peakBytes: residentMemory(pid).peakBytes,
  };
}
