import { ServiceError } from '../errors.ts';
import { createSemaphore, type Permit } from '../semaphore.ts';

export interface AdmissionLimits {
  /** Requests whose bodies are read at the same time. */
  readonly running: number;
  /** Requests that wait for their turn, their bodies unread but for the first chunk. */
  readonly waiting: number;
  /** Requests of whose bodies nothing has come yet: they wait for their clients, and hold up nobody. */
  readonly silent: number;
}

/** A permit before any work: so many requests run, so many wait, the rest is refused at once. */
export interface Admission {
  readonly running: number;
  readonly waiting: number;
  /**
   * First come, first served, counted from when the request's body begins to come.
   * @param arrival settles when the first of the body is there
   * @throws ServiceError overloaded, shutting_down; the signal's reason when the client leaves; the arrival's fault
   */
  enter(signal: AbortSignal, arrival: Promise<unknown>): Promise<Permit>;
  /** Sends those who wait away, and everybody who comes later. */
  close(): void;
}

/** A waiting place frees up about this fast: most requests take less. */
const RETRY_AFTER_SECONDS = 5;

export function createAdmission(limits: AdmissionLimits): Admission {
  const permits = createSemaphore(limits.running);
  const closing = new AbortController();
  let silent = 0;
  return {
    get running() {
      return permits.used;
    },
    get waiting() {
      return permits.waiting;
    },
    async enter(signal, arrival) {
      // Who is refused at once does not hear how the arrival ends.
      arrival.catch(() => undefined);
      closing.signal.throwIfAborted();
      if (silent >= limits.silent) throw overloaded(`${silent} requests have not sent anything yet`);
      silent += 1;
      try {
        await unlessAborted(arrival, closing.signal);
      } finally {
        silent -= 1;
      }
      if (permits.used >= limits.running && permits.waiting >= limits.waiting) {
        throw overloaded(
          `All ${limits.running} places are taken and ${permits.waiting} requests wait already`,
        );
      }
      return await permits.acquire(1, AbortSignal.any([signal, closing.signal]));
    },
    close() {
      closing.abort(shuttingDown());
    },
  };
}

/** Leaves no listener behind, as a race against a promise that lives as long as the service would. */
async function unlessAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const leave = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  try {
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

/** @param why the beginning of a sentence */
function overloaded(why: string): ServiceError {
  return new ServiceError('overloaded', `${why}; try again in a moment.`, {
    retry_after_seconds: RETRY_AFTER_SECONDS,
  });
}

/** For everything that would start while the service stops. */
export function shuttingDown(): ServiceError {
  return new ServiceError('shutting_down', 'The service is about to stop; try again in a moment.', {
    retry_after_seconds: RETRY_AFTER_SECONDS,
  });
}
