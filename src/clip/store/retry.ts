import { stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { findCheckpoint, resolveModelRequest, searchOrder } from './search.ts';
import type { ModelStoreFault } from './storage-error.ts';
import { type StoreContext, type StoreOptions, storeContext } from './store-context.ts';

/** Pauses between attempts to get a model: five seconds, doubling, never more than five minutes. */
export function* retryDelays(firstMs = 5000, limitMs = 5 * 60_000): Generator<number, never> {
  for (let delayMs = firstMs; ; delayMs = Math.min(delayMs * 2, limitMs)) yield delayMs;
}

/** Faults of a search that found no checkpoint at all. */
const absentFaults: ReadonlySet<ModelStoreFault> = new Set(['download_failed', 'checkpoint_missing']);

/**
 * Waits before the next attempt, but no longer than until somebody has put a checkpoint where it is
 * looked for, or another one in the place of an unsound one.
 * @param fault of the attempt that failed
 */
export async function pauseBeforeRetry(
  options: StoreOptions,
  delayMs: number,
  signal: AbortSignal,
  fault?: ModelStoreFault,
): Promise<void> {
  const context = storeContext(options);
  const untilMs = performance.now() + delayMs;
  // What came while a download was still being tried has not been looked at yet.
  const before = fault !== undefined && absentFaults.has(fault) ? undefined : await look(context);
  for (let seen = before; ; ) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return;
    await pause(Math.min(context.timings.pollMs, leftMs), undefined, { signal });
    const now = await look(context);
    // A file that still grows is being copied.
    if (now !== undefined && now !== before && now === seen) return;
    seen = now;
  }
}

/** The checkpoint that the next attempt would find, with its size and time; undefined for none. */
async function look({ model, models, usualDirectories }: StoreContext): Promise<string | undefined> {
  try {
    const request = await resolveModelRequest(model.name, models);
    if (request.kind === 'demo') return undefined;
    const path =
      request.kind === 'file'
        ? request.path
        : await findCheckpoint(searchOrder(model.cacheDirectory, usualDirectories), request.model.fileNames);
    if (path === undefined) return undefined;
    const { size, mtimeMs } = await stat(path);
    return `${path} ${size} ${mtimeMs}`;
  } catch {
    // Not there (yet): the attempt itself says why.
    return undefined;
  }
}
