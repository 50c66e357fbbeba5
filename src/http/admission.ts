import { type Lease, overloaded } from './resources.ts';

export interface AdmissionLimits {
  /** So many requests with something complete may wait for the engine; then newcomers are refused. */
  readonly waiting: number;
  /** So many of those that were let in before may wait, whose uploads have ended meanwhile. */
  readonly waitingAtMost: number;
  /** None of them waits longer for its turn. */
  readonly waitMs: number;
}

/** What one request has the engine do: picture by picture, or its video. One thing of it waits at a time. */
export interface EngineWork {
  /**
   * Waits for the engine, counted among those that do.
   * @param start resolves when the engine has taken it, with a promise that settles when the work on it is over
   * @throws ServiceError overloaded; what `start` throws
   */
  submit(start: () => Promise<{ readonly settled: Promise<unknown> }>): Promise<void>;
}

/**
 * The queue before the engine. A request is in it while something complete of it (a picture, a video) waits or is
 * worked on: not while it uploads, and not while its categories are encoded.
 */
export interface Admission {
  readonly limits: AdmissionLimits;
  readonly running: number;
  readonly waiting: number;
  /**
   * To be called before anything of the body is asked for: a crowd of those who are refused must not take from
   * the others what reading them costs.
   * @throws ServiceError overloaded when too many wait already
   */
  refuseWhenFull(): void;
  /**
   * @param lease of the request, which is aborted when it waits too long
   * @param onWaited told of every wait
   */
  createWork(lease: Pick<Lease, 'limitWait' | 'endLimit'>, onWaited?: (ms: number) => void): EngineWork;
}

export function createAdmission(limits: AdmissionLimits): Admission {
  const counts = { running: 0, waiting: 0 };
  // Made once: they always say the same, and a flood of refusals must cost as little as can be.
  const full = overloaded(`${limits.waiting} requests wait already`);
  const overfull = overloaded(`${limits.waitingAtMost} requests wait already`);
  return {
    limits,
    get running() {
      return counts.running;
    },
    get waiting() {
      return counts.waiting;
    },
    refuseWhenFull() {
      if (counts.waiting >= limits.waiting) throw full;
    },
    createWork(lease, onWaited) {
      let isWaiting = false;
      let atWork = 0;
      let counted: keyof typeof counts | undefined;
      const recount = () => {
        const now = isWaiting ? 'waiting' : atWork > 0 ? 'running' : undefined;
        if (counted) counts[counted] -= 1;
        if (now) counts[now] += 1;
        counted = now;
      };
      const end = () => {
        atWork -= 1;
        recount();
      };
      return {
        async submit(start) {
          if (counts.waiting >= limits.waitingAtMost) throw overfull;
          const askedAt = performance.now();
          isWaiting = true;
          recount();
          lease.limitWait(limits.waitMs, () =>
            overloaded(`The request has waited ${Math.round(limits.waitMs / 1000)} s for its turn`),
          );
          try {
            const { settled } = await start();
            atWork += 1;
            void settled.then(end, end);
          } finally {
            lease.endLimit();
            onWaited?.(performance.now() - askedAt);
            isWaiting = false;
            recount();
          }
        },
      };
    },
  };
}
