/** How long others wait for their turn of the event loop. */
const turnMs = 10;

/** Long work that lets everybody else have a turn of the event loop now and then. */
export interface Turns {
  /** Whether it is time for the others. */
  readonly isOver: boolean;
  /** Resolves when the next turn begins. @throws the signal's reason */
  next(): Promise<void>;
}

export function takeTurns(signal: AbortSignal | undefined): Turns {
  let beganAt = performance.now();
  return {
    get isOver() {
      return performance.now() - beganAt >= turnMs;
    },
    async next() {
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
      beganAt = performance.now();
    },
  };
}
