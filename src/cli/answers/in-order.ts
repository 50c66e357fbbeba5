/**
 * Works on several items at the same time and yields the results in the order of the items. While a result is used,
 * the work on the next items continues.
 * @param atOnce how many items are worked on at the same time
 * @throws what `work` threw for an item, in its place, after all work that was begun has ended
 */
export async function* inOrder<Item, Result>(
  items: Iterable<Item>,
  atOnce: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const running: Promise<Result>[] = [];
  const iterator = items[Symbol.iterator]();
  const begin = () => {
    const { done, value } = iterator.next();
    if (done) return;
    const result = work(value);
    // It is thrown when its turn comes, which may be never.
    result.catch(() => undefined);
    running.push(result);
  };
  try {
    while (running.length < atOnce) {
      const before = running.length;
      begin();
      if (running.length === before) break;
    }
    for (let next = running[0]; next; next = running[0]) {
      const result = await next;
      running.shift();
      begin();
      yield result;
    }
  } finally {
    await Promise.allSettled(running);
  }
}

/** Cuts a list into pieces of the same size. The last may be shorter. */
export function* chunksOf<Item>(items: readonly Item[], size: number): Generator<readonly Item[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
