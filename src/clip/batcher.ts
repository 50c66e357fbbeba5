export interface BatcherOptions<Item, Result> {
  /** How many items may share a batch with this one first. */
  readonly maxBatch: (first: Item) => number;
  /** Whether two items may share a batch. */
  readonly compatible: (first: Item, other: Item) => boolean;
  /**
   * Runs one batch; results in the order of the items.
   * @param waitsMs how long each item has waited, in their order
   */
  readonly run: (items: readonly Item[], waitsMs: readonly number[]) => Promise<readonly Result[]>;
  /** An item whose client left before its batch began: gives back what it holds. */
  readonly skip?: (item: Item) => void;
  /** Whether a batch that is not full should wait for what is about to come; asked again by `reconsider`. */
  readonly hold?: () => boolean;
  /** How long the first of a batch is held at the most. Default: 0. */
  readonly holdMs?: number;
}

/** Turns single items into batches: what waits while a batch runs forms the next one. */
export interface Batcher<Item, Result> {
  readonly waiting: number;
  /** @throws what the batch's run threw, or the signal's reason when the client left before its turn */
  submit(item: Item, signal?: AbortSignal): Promise<Result>;
  /** Starts a batch that was held, if it is no longer to be. */
  reconsider(): void;
}

interface Entry<Item, Result> {
  readonly item: Item;
  readonly signal: AbortSignal | undefined;
  readonly submittedAt: number;
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxBatch, compatible, run, skip, hold = () => false, holdMs = 0 } = options;
  let waiting: Entry<Item, Result>[] = [];
  let draining = false;
  let alarm: Timer | undefined;

  /** Whether the next batch is worth starting: full, or nothing is about to join it. */
  const isDue = (): boolean => {
    const [first] = waiting;
    if (!first) return false;
    return waiting.length >= maxBatch(first.item) || !hold() || heldMs(first) >= holdMs;
  };
  const heldMs = (entry: Entry<Item, Result>) => performance.now() - entry.submittedAt;

  /** The longest waiting entry and those behind it that may go along. */
  const takeBatch = (): Entry<Item, Result>[] => {
    const batch: Entry<Item, Result>[] = [];
    const left: Entry<Item, Result>[] = [];
    for (const entry of waiting) {
      if (entry.signal?.aborted) {
        skip?.(entry.item);
        entry.reject(entry.signal.reason);
      } else if (!batch[0]) {
        batch.push(entry);
      } else if (batch.length < maxBatch(batch[0].item) && compatible(batch[0].item, entry.item)) {
        batch.push(entry);
      } else {
        left.push(entry);
      }
    }
    waiting = left;
    return batch;
  };

  const drain = async () => {
    draining = true;
    // What is submitted in the same turn of the event loop goes into the same first batch.
    await Promise.resolve();
    while (isDue()) {
      const batch = takeBatch();
      if (batch.length === 0) continue;
      try {
        const results = await run(
          batch.map((entry) => entry.item),
          batch.map(heldMs),
        );
        batch.forEach((entry, index) => {
          entry.resolve(results[index] as Result);
        });
      } catch (fault) {
        for (const entry of batch) entry.reject(fault);
      }
    }
    draining = false;
    reconsider();
  };

  const reconsider = () => {
    if (draining) return;
    clearTimeout(alarm);
    const [first] = waiting;
    if (isDue()) void drain();
    else if (first) alarm = setTimeout(reconsider, holdMs - heldMs(first) + 1);
  };

  return {
    reconsider,
    get waiting() {
      return waiting.length;
    },
    submit(item, signal) {
      return new Promise((resolve, reject) => {
        waiting.push({ item, signal, submittedAt: performance.now(), resolve, reject });
        reconsider();
      });
    },
  };
}
