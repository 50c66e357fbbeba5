export interface NewsPace {
  /** At most one in so much time. */
  readonly paceMs: number;
  /** At least a sign of life in so much time. */
  readonly quietMs: number;
}

/** Everybody's latest word on a piece of work, at a reader's pace. */
export interface News<Item> extends AsyncIterable<Item | 'quiet'> {
  tell(item: Item): void;
  /** Ends the iteration; what was not read yet is left unsaid. */
  close(): void;
}

/**
 * Keeps the newest item only, however many are told: nothing piles up where nobody reads. Iterating gives
 * it, then waits; `quiet` stands for a while in which there was nothing to say.
 */
export function createNews<Item>({ paceMs, quietMs }: NewsPace): News<Item> {
  let latest: { readonly item: Item } | undefined;
  let isClosed = false;
  let wake = (_isNews: boolean) => {};

  /** @param forNews whether news end the pause, too, as its end does */
  const pause = (ms: number, forNews: boolean) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = (isNews) => {
        if (isNews && !forNews) return;
        clearTimeout(timer);
        resolve();
      };
    });

  return {
    tell(item) {
      latest = { item };
      wake(true);
    },
    close() {
      isClosed = true;
      wake(false);
    },
    async *[Symbol.asyncIterator]() {
      while (!isClosed) {
        if (!latest) await pause(quietMs, true);
        if (isClosed) return;
        const told = latest;
        latest = undefined;
        yield told ? told.item : 'quiet';
        if (!isClosed) await pause(paceMs, false);
      }
    },
  };
}
