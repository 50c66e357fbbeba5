/** How long others wait for their turn of the event loop. */
const turnMs = 10;

/** Long work that lets everybody else have a turn of the event loop now and then. */
export interface Turns {
  /** Whether it is time for the others. */
  readonly isOver: boolean;
  /** Resolves when the next turn begins. @throws the signal's reason */
  next(): Promise<void>;
}

/** Long work that waits for its next turn, of all clients. */
const waiting: (() => void)[] = [];

/** One of them goes on in each round of the event loop: ten together would take as long as one does in a second. */
function goOn(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(goOn);
}

export function takeTurns(signal: AbortSignal | undefined): Turns {
  let beganAt = performance.now();
  return {
    get isOver() {
      return performance.now() - beganAt >= turnMs;
    },
    async next() {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 1) setImmediate(goOn);
      });
      signal?.throwIfAborted();
      beganAt = performance.now();
    },
  };
}
