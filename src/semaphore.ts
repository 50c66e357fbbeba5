/** A share of a semaphore's capacity. Disposing it gives the share back; disposing it again does nothing. */
export type Permit = Disposable;

/** @param giveBack called once, when the permit is disposed of */
export function createPermit(giveBack: () => void): Permit {
  let held = true;
  return {
    [Symbol.dispose]() {
      if (!held) return;
      held = false;
      giveBack();
    },
  };
}

/** A weighted counting semaphore. Waiters are served in order; a signal can end a wait. */
export interface Semaphore {
  /** Capacity in use. */
  readonly used: number;
  readonly waiting: number;
  /**
   * Waits for a share of the capacity. A weight above the whole capacity is granted when nothing else is held.
   * @throws the signal's reason
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
    return createPermit(() => {
      used -= weight;
      grantNext();
    });
  };

  // Strictly in order. If light waiters could pass a heavy one, it would never be served.
  const grantNext = () => {
    for (let head = waiters[0]; head && used + head.weight <= capacity; head = waiters[0]) {
      waiters.shift();
      head.grant(permitOf(head.weight));
    }
  };

  return {
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
