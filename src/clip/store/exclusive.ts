import lockfile from 'proper-lockfile';
import { errnoOf } from './storage-error.ts';

/** Sole ownership among all processes, other containers on the same volume included. */
export interface ExclusiveLock extends AsyncDisposable {
  /** Aborted when the lock was lost, because this process stood still for too long. */
  readonly lost: AbortSignal;
}

/**
 * Takes `<path>.lock`, a folder whose time is renewed while its holder lives. Process ids would not
 * do: in containers every service is process 1.
 * @returns undefined where another process holds it
 */
export async function tryLock(path: string, staleMs: number): Promise<ExclusiveLock | undefined> {
  const lost = new AbortController();
  try {
    const release = await lockfile.lock(path, {
      realpath: false,
      stale: staleMs,
      onCompromised: (error) => lost.abort(error),
    });
    return {
      lost: lost.signal,
      async [Symbol.asyncDispose]() {
        // A lost lock belongs to somebody else by now.
        await release().catch(() => undefined);
      },
    };
  } catch (error) {
    if (errnoOf(error) === 'ELOCKED') return undefined;
    throw error;
  }
}

/** Whether a living process holds `<path>.lock`. */
export async function isLocked(path: string, staleMs: number): Promise<boolean> {
  return await lockfile.check(path, { realpath: false, stale: staleMs });
}
