interface BatcherOptions<Item, Result> {
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
interface Batcher<Item, Result> {
  /**
   * @param signal aborted when the client leaves: what still waits is given up at once
   * @param call items of one call take turns with those of others, however many it has waiting. Default: each item
   *   is a call of its own, first come first served
   * @throws what the batch's run threw, or the signal's reason when the client left before its turn
   */
  submit(item: Item, signal?: AbortSignal, call?: object): Promise<Result>;
  /** Starts a batch that was held, if it is no longer to be. */
  reconsider(): void;
}

interface Entry<Item, Result> {
  readonly item: Item;
  readonly signal: AbortSignal | undefined;
  readonly submittedAt: number;
  readonly call: object | undefined;
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxBatch, compatible, run, skip, hold = () => false, holdMs = 0 } = options;
  let waiting: Entry<Item, Result>[] = [];
  /** Number of the last batch that was begun for a call, at first of the last before it came. */
  const served = new WeakMap<object, number>();
  let batches = 0;
  let draining = false;
  let alarm: Timer | undefined;

  /** Of the calls that wait, the one whose turn is the longest ago. */
  const firstInTurn = (): Entry<Item, Result> | undefined => {
    let first: Entry<Item, Result> | undefined;
    let turn = Number.POSITIVE_INFINITY;
    for (const entry of waiting) {
      const last = (entry.call && served.get(entry.call)) ?? 0;
      if (last >= turn) continue;
      first = entry;
      turn = last;
    }
    return first;
  };

  /** Whether the next batch is worth starting: full, or nothing is about to join it. */
  const isDue = (): boolean => {
    const first = firstInTurn();
    if (!first) return false;
    return waiting.length >= maxBatch(first.item) || !hold() || heldMs(first) >= holdMs;
  };
  const heldMs = (entry: Entry<Item, Result>) => performance.now() - entry.submittedAt;

  /** The entry whose turn it is, and others that may go along, those that wait longest first. */
  const takeBatch = (): Entry<Item, Result>[] => {
    const first = firstInTurn();
    if (!first) return [];
    batches += 1;
    if (first.call) served.set(first.call, batches);
    const batch = [first];
    const left: Entry<Item, Result>[] = [];
    const limit = maxBatch(first.item);
    for (const entry of waiting) {
      if (entry === first) continue;
      if (batch.length < limit && compatible(first.item, entry.item)) batch.push(entry);
      else left.push(entry);
    }
    waiting = left;
    return batch;
  };

  const giveUp = (entry: Entry<Item, Result>) => {
    const at = waiting.indexOf(entry);
    if (at === -1) return;
    waiting.splice(at, 1);
    skip?.(entry.item);
    entry.reject(entry.signal?.reason);
  };

  const drain = async () => {
    draining = true;
    // What is submitted in the same turn of the event loop goes into the same first batch.
    await Promise.resolve();
    while (isDue()) {
      const batch = takeBatch();
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
    const first = firstInTurn();
    if (isDue()) void drain();
    else if (first) alarm = setTimeout(reconsider, holdMs - heldMs(first) + 1);
  };

  return {
    reconsider,
    async submit(item, signal, call) {
      if (signal?.aborted) {
        skip?.(item);
        throw signal.reason;
      }
      const { promise, resolve, reject } = Promise.withResolvers<Result>();
      const entry = { item, signal, call, submittedAt: performance.now(), resolve, reject };
      const leave = () => giveUp(entry);
      signal?.addEventListener('abort', leave, { once: true });
      waiting.push(entry);
      if (call && !served.has(call)) served.set(call, batches);
      reconsider();
      try {
        return await promise;
      } finally {
        signal?.removeEventListener('abort', leave);
      }
    },
  };
}
