/** A share of a semaphore's capacity; disposing it gives the share back (once, however often it is called). */
export type Permit = Disposable;

/** A weighted counting semaphore: first come, first served, and a waiter may leave. */
export interface Semaphore {
  readonly capacity: number;
  /** Capacity in use. */
  readonly used: number;
  readonly waiting: number;
  /**
   * Waits for a share of the capacity. A weight above the whole capacity is granted alone.
   * @throws the signal's reason when the waiter leaves
   */
  acquire(weight?: number, signal?: AbortSignal): Promise<Permit>;
}

interface Waiter {
  readonly weight: number;
  grant(permit: Permit): void;
}

export function createSemaphore(capacity: number): Semaphore {
  let used = 0;
  const waiters: Waiter[] = [];

  const permitOf = (weight: number): Permit => {
    used += weight;
    let held = true;
    return {
      [Symbol.dispose]() {
        if (!held) return;
        held = false;
        used -= weight;
        grantNext();
      },
    };
  };

  // Strictly in order: a heavy waiter at the head holds the light ones behind it back, or it would starve.
  const grantNext = () => {
    for (let head = waiters[0]; head && used + head.weight <= capacity; head = waiters[0]) {
      waiters.shift();
      head.grant(permitOf(head.weight));
    }
  };

  return {
    capacity,
    get used() {
      return used;
    },
    get waiting() {
      return waiters.length;
    },
    acquire(weight = 1, signal) {
      if (signal?.aborted) return Promise.reject(signal.reason);
      const share = Math.min(weight, capacity);
      if (waiters.length === 0 && used + share <= capacity) return Promise.resolve(permitOf(share));
      return new Promise((resolve, reject) => {
        const leave = () => {
          waiters.splice(waiters.indexOf(waiter), 1);
          reject(signal?.reason);
          grantNext();
        };
        const waiter: Waiter = {
          weight: share,
          grant(permit) {
            signal?.removeEventListener('abort', leave);
            resolve(permit);
          },
        };
        waiters.push(waiter);
        signal?.addEventListener('abort', leave, { once: true });
      });
    },
  };
}
