export interface BatcherOptions<Item, Result> {
  /** How many items may share a batch with this one first. */
  readonly maxBatch: (first: Item) => number;
  /** Whether two items may share a batch. */
  readonly compatible: (first: Item, other: Item) => boolean;
  /** Runs one batch; results in the order of the items. */
  readonly run: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** An item whose client left before its batch began: gives back what it holds. */
  readonly skip?: (item: Item) => void;
}

/** Turns single items into batches: what waits while a batch runs forms the next one. There is no timer. */
export interface Batcher<Item, Result> {
  readonly waiting: number;
  /** @throws what the batch's run threw, or the signal's reason when the client left before its turn */
  submit(item: Item, signal?: AbortSignal): Promise<Result>;
}

interface Entry<Item, Result> {
  readonly item: Item;
  readonly signal: AbortSignal | undefined;
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxBatch, compatible, run, skip } = options;
  let waiting: Entry<Item, Result>[] = [];
  let draining = false;

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
    for (let batch = takeBatch(); batch.length > 0; batch = takeBatch()) {
      try {
        const results = await run(batch.map((entry) => entry.item));
        batch.forEach((entry, index) => {
          entry.resolve(results[index] as Result);
        });
      } catch (fault) {
        for (const entry of batch) entry.reject(fault);
      }
    }
    draining = false;
  };

  return {
    get waiting() {
      return waiting.length;
    },
    submit(item, signal) {
      return new Promise((resolve, reject) => {
        waiting.push({ item, signal, resolve, reject });
        if (!draining) void drain();
      });
    },
  };
}
