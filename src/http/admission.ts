import { ServiceError } from '../errors.ts';
import { createSemaphore } from '../semaphore.ts';

export interface AdmissionLimits {
  /** Requests whose bodies are read at the same time. */
  readonly running: number;
  /** Requests that wait for their turn, their bodies unread but for the first chunk. */
  readonly waiting: number;
  /** Requests of whose bodies nothing has come yet: they wait for their clients, and hold up nobody. */
  readonly silent: number;
}

/** A place among those who are worked on; disposing it gives it back. */
export interface Place extends Disposable {
  /** How long it was waited for. */
  readonly waitedMs: number;
}

/** A permit before any work: so many requests run, so many wait, the rest is refused at once. */
export interface Admission {
  readonly places: number;
  readonly running: number;
  readonly waiting: number;
  /** Whether slow clients keep others waiting. */
  readonly isContended: boolean;
  /**
   * To be called before anything of the body is asked for: a crowd of those who are refused must not take from
   * the others what reading them costs.
   * @throws ServiceError overloaded when nobody may come to wait any more
   */
  refuseWhenFull(): void;
  /**
   * First come, first served, counted from when the request's body begins to come.
   * @param arrival settles when the first of the body is there
   * @throws ServiceError overloaded; the signal's reason when the client leaves; the arrival's fault
   */
  enter(signal: AbortSignal, arrival: Promise<unknown>): Promise<Place>;
  /** From now on all places are to be given back soon, as if somebody waited for each of them. */
  hurry(): void;
}

/** A waiting place frees up about this fast: most requests take less. */
const RETRY_AFTER_SECONDS = 5;

export function createAdmission(limits: AdmissionLimits): Admission {
  const permits = createSemaphore(limits.running);
  let silent = 0;
  let isHurried = false;
  // Made once: they always say the same, and a flood of refusals must cost as little as can be.
  const full = overloaded(
    `All ${limits.running} places are taken and ${limits.waiting} requests wait already`,
  );
  const tooSilent = overloaded(`${limits.silent} requests have not sent anything yet`);
  const refuseWhenFull = () => {
    if (permits.used >= limits.running && permits.waiting >= limits.waiting) throw full;
  };
  return {
    places: limits.running,
    get running() {
      return permits.used;
    },
    get waiting() {
      return permits.waiting;
    },
    get isContended() {
      return isHurried || permits.waiting > 0;
    },
    refuseWhenFull,
    async enter(signal, arrival) {
      // Who is refused at once does not hear how the arrival ends.
      arrival.catch(() => undefined);
      if (silent >= limits.silent) throw tooSilent;
      silent += 1;
      try {
        await arrival;
      } finally {
        silent -= 1;
      }
      // Others may have come meanwhile.
      refuseWhenFull();
      const askedAt = performance.now();
      const permit = await permits.acquire(1, signal);
      return {
        waitedMs: performance.now() - askedAt,
        [Symbol.dispose]: () => permit[Symbol.dispose](),
      };
    },
    hurry() {
      isHurried = true;
    },
  };
}

/** @param why the beginning of a sentence */
function overloaded(why: string): ServiceError {
  return new ServiceError('overloaded', `${why}; try again in a moment.`, {
    retry_after_seconds: RETRY_AFTER_SECONDS,
  });
}
