/**
 * Works on several items at a time and gives the results in the items' order. While a result is being used,
 * the next ones are worked on.
 * @param atOnce how many are worked on at the same time
 * @throws what `work` threw, in its place; by then nothing of what was begun is still running
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
    // It is thrown to whoever asks for it, if anybody still does.
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

/** Cuts a list into pieces of a size; the last may be shorter. */
export function* chunksOf<Item>(items: readonly Item[], size: number): Generator<readonly Item[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
