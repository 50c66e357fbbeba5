import { describe, expect, test } from 'bun:test';
import { createBatcher } from '../../src/clip/batcher.ts';

interface Item {
  readonly name: string;
  readonly kind: string;
}

/** A batcher whose runs end when the test says so. */
function heldBatcher(maxBatch = 3) {
  const batches: string[][] = [];
  const skipped: string[] = [];
  const ends: (() => void)[] = [];
  const batcher = createBatcher<Item, string>({
    maxBatch: () => maxBatch,
    compatible: (first, other) => first.kind === other.kind,
    skip: (item) => skipped.push(item.name),
    async run(items) {
      batches.push(items.map((item) => item.name));
      await new Promise<void>((resolve) => ends.push(resolve));
      return items.map((item) => item.name.toUpperCase());
    },
  });
  const submit = (name: string, signal?: AbortSignal) =>
    batcher.submit({ name, kind: name[0] as string }, signal);
  const endBatch = async () => {
    ends.shift()?.();
    await Bun.sleep(0);
  };
  return { batcher, submit, endBatch, batches, skipped };
}

/** A batcher of three lanes whose runs end when the test says so. */
function lanesBatcher(undivided: (waiting: number) => boolean = () => false) {
  const batches: string[] = [];
  const ends = new Map<string, () => void>();
  const batcher = createBatcher<string, string>({
    maxBatch: () => 4,
    compatible: () => true,
    lanes: 3,
    undivided,
    async run(items, _, lane) {
      const batch = `${lane ?? 'all'}: ${items.join(' ')}`;
      batches.push(batch);
      await new Promise<void>((resolve) => ends.set(batch, resolve));
      return [...items];
    },
  });
  const end = async (batch: string) => {
    ends.get(batch)?.();
    await Bun.sleep(0);
  };
  return { batcher, batches, end };
}

describe('batcher with lanes', () => {
  test('spreads what waits over the free lanes, and what comes later goes to the lane that ends first', async () => {
    const { batcher, batches, end } = lanesBatcher();
    const results = ['a', 'b', 'c', 'd', 'e'].map((name) => batcher.submit(name));
    await Bun.sleep(0);
    expect(batches.splice(0)).toEqual(['0: a b', '1: c d', '2: e']);
    const later = ['f', 'g', 'h', 'i', 'j'].map((name) => batcher.submit(name));
    await Bun.sleep(0);
    expect(batches.splice(0)).toEqual([]);
    await end('1: c d');
    expect(batches.splice(0)).toEqual(['1: f g h i']);
    await end('2: e');
    expect(batches.splice(0)).toEqual(['2: j']);
    for (const batch of ['0: a b', '1: f g h i', '2: j']) await end(batch);
    expect((await Promise.all([...results, ...later])).join('')).toBe('abcdefghij');
  });

  test('a batch may have all lanes, but only while none of them is busy', async () => {
    const { batcher, batches, end } = lanesBatcher((waiting) => waiting === 1);
    const first = batcher.submit('a');
    await Bun.sleep(0);
    const others = [batcher.submit('b'), batcher.submit('c')];
    await Bun.sleep(0);
    expect(batches.splice(0)).toEqual(['all: a']);
    await end('all: a');
    expect(batches.splice(0)).toEqual(['0: b', '1: c']);
    const last = batcher.submit('d');
    await Bun.sleep(0);
    expect(batches.splice(0)).toEqual(['2: d']);
    for (const batch of ['0: b', '1: c', '2: d']) await end(batch);
    expect((await Promise.all([first, ...others, last])).join('')).toBe('abcd');
  });

  test('a batch that fails frees its lane', async () => {
    const batcher = createBatcher<string, string>({
      maxBatch: () => 1,
      compatible: () => true,
      lanes: 2,
      async run([item]) {
        if (item === 'bad') throw new Error('failed');
        return [item as string];
      },
    });
    const names = ['bad', 'a', 'bad', 'bad', 'b'];
    const results = await Promise.allSettled(names.map((name) => batcher.submit(name)));
    expect(results.map(({ status }) => status)).toEqual([
      'rejected',
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ]);
  });
});

describe('batcher', () => {
  test('what waits while a batch runs forms the next one', async () => {
    const { submit, endBatch, batches } = heldBatcher();
    const first = submit('a1');
    await Bun.sleep(0);
    const others = [submit('a2'), submit('a3')];
    expect(batches).toEqual([['a1']]);
    await endBatch();
    expect(await first).toBe('A1');
    expect(batches).toEqual([['a1'], ['a2', 'a3']]);
    await endBatch();
    expect(await Promise.all(others)).toEqual(['A2', 'A3']);
  });

  test('a batch has its limit, and only compatible items share one', async () => {
    const { submit, endBatch, batches } = heldBatcher(2);
    const results = Promise.all(['a1', 'b1', 'a2', 'a3', 'b2'].map((name) => submit(name)));
    for (let run = 0; run < 4; run++) {
      await Bun.sleep(0);
      await endBatch();
    }
    expect(await results).toEqual(['A1', 'B1', 'A2', 'A3', 'B2']);
    expect(batches).toEqual([['a1', 'a2'], ['b1', 'b2'], ['a3']]);
  });

  test('an item whose client left is not computed, and what it held is given back', async () => {
    const { submit, endBatch, batches, skipped } = heldBatcher();
    const leaving = new AbortController();
    const running = submit('a1');
    await Bun.sleep(0);
    const left = submit('a2', leaving.signal).catch((reason: unknown) => reason);
    const stays = submit('a3');
    leaving.abort(new Error('gone'));
    await endBatch();
    expect(await left).toEqual(new Error('gone'));
    expect(skipped).toEqual(['a2']);
    expect(batches).toEqual([['a1'], ['a3']]);
    await endBatch();
    expect(await Promise.all([running, stays])).toEqual(['A1', 'A3']);
  });

  test('calls take turns, however many items each has waiting', async () => {
    const batches: string[][] = [];
    const batcher = createBatcher<string, string>({
      maxBatch: () => 2,
      compatible: (first, other) => first[0] === other[0],
      async run(items) {
        batches.push([...items]);
        return items;
      },
    });
    const [large, other, single] = [{}, {}, {}];
    const results = [
      ...['a1', 'a2', 'a3', 'a4', 'a5', 'a6'].map((item) => batcher.submit(item, undefined, large)),
      ...['b1', 'b2', 'b3'].map((item) => batcher.submit(item, undefined, other)),
      batcher.submit('c1', undefined, single),
    ];
    await Promise.all(results);
    expect(batches).toEqual([['a1', 'a2'], ['b1', 'b2'], ['c1'], ['a3', 'a4'], ['b3'], ['a5', 'a6']]);
  });

  test('calls that wait take turns, one item each', async () => {
    const { batcher, batches, endBatch } = heldBatcher(1);
    const [large, late] = [{}, {}];
    const submit = (name: string, call: object) =>
      batcher.submit({ name, kind: name[0] as string }, undefined, call);
    const results = ['a1', 'a2', 'a3'].map((name) => submit(name, large));
    await Bun.sleep(0);
    results.push(...['b1', 'b2', 'b3'].map((name) => submit(name, late)));
    for (let run = 0; run < 6; run++) await endBatch();
    await Promise.all(results);
    expect(batches.flat()).toEqual(['a1', 'a2', 'b1', 'a3', 'b2', 'b3']);
  });

  test('what a client that leaves had waiting is taken back at once', async () => {
    const { submit, endBatch, skipped } = heldBatcher();
    const leaving = new AbortController();
    const running = submit('a1');
    await Bun.sleep(0);
    const left = Promise.allSettled([submit('a2', leaving.signal), submit('a3', leaving.signal)]);
    leaving.abort(new Error('gone'));
    expect(skipped).toEqual(['a2', 'a3']);
    expect((await left).map((result) => result.status === 'rejected' && String(result.reason))).toEqual([
      'Error: gone',
      'Error: gone',
    ]);
    await endBatch();
    expect(await running).toBe('A1');
  });

  test('a run that throws fails its own items and no others', async () => {
    let runs = 0;
    const batcher = createBatcher<number, number>({
      maxBatch: () => 1,
      compatible: () => true,
      async run(items) {
        runs += 1;
        if (runs === 1) throw new Error('broken');
        return items;
      },
    });
    const results = await Promise.allSettled([batcher.submit(1), batcher.submit(2)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  });

  test('a batch that is not full waits while others are about to join it, a full one does not', async () => {
    let coming = 1;
    const batches: number[][] = [];
    const batcher = createBatcher<number, number>({
      maxBatch: () => 2,
      compatible: () => true,
      hold: () => coming > 0,
      holdMs: 60_000,
      async run(items) {
        batches.push([...items]);
        return items;
      },
    });
    const first = batcher.submit(1);
    await Bun.sleep(0);
    expect(batches).toEqual([]);
    const second = batcher.submit(2);
    expect(await Promise.all([first, second])).toEqual([1, 2]);
    const third = batcher.submit(3);
    await Bun.sleep(0);
    expect(batches).toEqual([[1, 2]]);
    coming = 0;
    batcher.reconsider();
    expect(await third).toBe(3);
  });

  test('nothing is held for ever', async () => {
    const batcher = createBatcher<number, number>({
      maxBatch: () => 2,
      compatible: () => true,
      hold: () => true,
      holdMs: 5,
      run: async (items) => items,
    });
    expect(await batcher.submit(1)).toBe(1);
    expect(await batcher.submit(2)).toBe(2);
  });
});
