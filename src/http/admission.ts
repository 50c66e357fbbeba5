import { ServiceError } from '../errors.ts';
import { createSemaphore, type Permit } from '../semaphore.ts';

export interface AdmissionLimits {
  /** Requests whose bodies are read at the same time. */
  readonly running: number;
  /** Requests that wait for their turn, their bodies unread. */
  readonly waiting: number;
}

/** A permit before any work: so many requests run, so many wait, the rest is refused at once. */
export interface Admission {
  readonly running: number;
  readonly waiting: number;
  /**
   * First come, first served.
   * @throws ServiceError overloaded, shutting_down; the signal's reason when the client leaves
   */
  enter(signal: AbortSignal): Promise<Permit>;
  /** Sends those who wait away, and everybody who comes later. */
  close(): void;
}

/** A waiting place frees up about this fast: most requests take less. */
const RETRY_AFTER_SECONDS = 5;

export function createAdmission(limits: AdmissionLimits): Admission {
  const permits = createSemaphore(limits.running);
  const closing = new AbortController();
  return {
    get running() {
      return permits.used;
    },
    get waiting() {
      return permits.waiting;
    },
    async enter(signal) {
      closing.signal.throwIfAborted();
      if (permits.used >= limits.running && permits.waiting >= limits.waiting) {
        throw new ServiceError(
          'overloaded',
          `All ${limits.running} places are taken and ${permits.waiting} requests wait already; try again in a moment.`,
          { retry_after_seconds: RETRY_AFTER_SECONDS },
        );
      }
      return await permits.acquire(1, AbortSignal.any([signal, closing.signal]));
    },
    close() {
      closing.abort(shuttingDown());
    },
  };
}

/** For everything that would start while the service stops. */
export function shuttingDown(): ServiceError {
  return new ServiceError('shutting_down', 'The service is about to stop; try again in a moment.', {
    retry_after_seconds: RETRY_AFTER_SECONDS,
  });
}
