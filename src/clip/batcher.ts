interface BatcherOptions<Item, Result> {
  /** How many items a batch may have that begins with this one. */
  readonly maxBatch: (first: Item) => number;
  /** Whether two items may share a batch. */
  readonly compatible: (first: Item, other: Item) => boolean;
  /**
   * Runs one batch; results in the order of the items.
   * @param waitsMs how long each item has waited, in their order
   * @param lane the lane that it runs on; undefined: it has all of them
   */
  readonly run: (
    items: readonly Item[],
    waitsMs: readonly number[],
    lane: number | undefined,
  ) => Promise<readonly Result[]>;
  /** Batches that may run at the same time. Waiting items are spread evenly over the free lanes. Default: 1. */
  readonly lanes?: number;
  /** Whether the next batch should have all lanes for itself, if they are free. Default: with one lane. */
  readonly undivided?: (waiting: number) => boolean;
  /** Releases what an item holds whose client left before its batch began. */
  readonly skip?: (item: Item) => void;
  /** Whether a batch that is not full should wait for further items; `reconsider` asks again. */
  readonly hold?: () => boolean;
  /** How long the first item of a batch is held at most. Default: 0. */
  readonly holdMs?: number;
}

/** Turns single items into batches: the items that wait while the lanes are busy form the next ones. */
interface Batcher<Item, Result> {
  /**
   * @param signal aborted when the client leaves: a waiting item is dropped at once
   * @param call items of one call take turns with those of other calls. Default: each item is its own call, first
   *   come first served
   * @throws what the batch's run threw, or the signal's reason when the client left before its turn
   */
  submit(item: Item, signal?: AbortSignal, call?: object): Promise<Result>;
  /** Starts a held batch if `hold` no longer asks to wait. */
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
  const { maxBatch, compatible, run, skip, hold = () => false, holdMs = 0, lanes = 1 } = options;
  const { undivided = () => lanes === 1 } = options;
  let waiting: Entry<Item, Result>[] = [];
  /** Number of the last batch that a call began; for a new call, of the last batch before it came. */
  const served = new WeakMap<object, number>();
  let batches = 0;
  const freeLanes = new Set(Array.from({ length: lanes }, (_, lane) => lane));
  let starting = false;
  let alarm: Timer | undefined;

  /** The first item of the waiting call whose turn is the longest ago. */
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

  /** Whether to start the next batch: it is full, or need not wait for more. */
  const isDue = (): boolean => {
    const first = firstInTurn();
    if (!first) return false;
    return waiting.length >= maxBatch(first.item) || !hold() || heldMs(first) >= holdMs;
  };
  const heldMs = (entry: Entry<Item, Result>) => performance.now() - entry.submittedAt;

  /**
   * The entry whose turn it is, and those that may share its batch, the longest waiting first.
   * @param shares batches that the waiting entries are spread over
   */
  const takeBatch = (shares: number): Entry<Item, Result>[] => {
    const first = firstInTurn();
    if (!first) return [];
    batches += 1;
    if (first.call) served.set(first.call, batches);
    const batch = [first];
    const left: Entry<Item, Result>[] = [];
    const limit = Math.min(maxBatch(first.item), Math.ceil(waiting.length / shares));
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

  const start = async () => {
    starting = true;
    // Items that are submitted in the same turn of the event loop share the first batch.
    await Promise.resolve();
    starting = false;
    while (freeLanes.size > 0 && isDue()) {
      const isAlone = freeLanes.size === lanes && undivided(waiting.length);
      const [firstFree] = freeLanes;
      const taken = isAlone ? [...freeLanes] : [firstFree as number];
      const batch = takeBatch(isAlone ? 1 : freeLanes.size);
      for (const lane of taken) freeLanes.delete(lane);
      void perform(batch, isAlone ? undefined : firstFree).then(() => {
        for (const lane of taken) freeLanes.add(lane);
        reconsider();
      });
    }
    setAlarm();
  };

  const perform = async (batch: readonly Entry<Item, Result>[], lane: number | undefined) => {
    try {
      const items = batch.map((entry) => entry.item);
      const results = await run(items, batch.map(heldMs), lane);
      batch.forEach((entry, index) => {
        entry.resolve(results[index] as Result);
      });
    } catch (fault) {
      for (const entry of batch) entry.reject(fault);
    }
  };

  const reconsider = () => {
    if (starting || freeLanes.size === 0) return;
    if (isDue()) void start();
    else setAlarm();
  };

  /** Wakes up when the batch that is held may not be held any longer. */
  const setAlarm = () => {
    clearTimeout(alarm);
    const first = firstInTurn();
    if (first && freeLanes.size > 0) alarm = setTimeout(reconsider, Math.max(0, holdMs - heldMs(first)) + 1);
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
