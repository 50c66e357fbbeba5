/** How long one turn lasts, while all others wait. */
const TURN_MS = 10;

/** The turns of long work in the event loop, so that other work is not blocked. */
export interface Turns {
  /** Whether other work must have its turn now. */
  readonly isOver: boolean;
  /** Resolves when the next turn begins. @throws the signal's reason */
  next(): Promise<void>;
}

/** Long work of all requests that waits for its next turn. */
const waiting: (() => void)[] = [];

/** One continues in each round of the event loop: if ten did, the round would last ten turns. */
function continueOne(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(continueOne);
}

export function takeTurns(signal: AbortSignal | undefined): Turns {
  let beganAt = performance.now();
  return {
    get isOver() {
      return performance.now() - beganAt >= TURN_MS;
    },
    async next() {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 1) setImmediate(continueOne);
      });
      signal?.throwIfAborted();
      beganAt = performance.now();
    },
  };
}

/**
 * Runs long work to its end, with turns.
 * @param steps yields where other work may have its turn
 * @throws the signal's reason
 */
export async function runInTurns<Result>(
  steps: Generator<undefined, Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  const turns = takeTurns(signal);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (turns.isOver) await turns.next();
  }
}
