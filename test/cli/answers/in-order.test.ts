import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { chunksOf, inOrder } from '../../../src/cli/answers/in-order.ts';

describe('work on several items at a time', () => {
  test('gives the results in the order of the items, however long each takes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3)), fc.integer({ min: 1, max: 5 }), async (turns, atOnce) => {
        const indices = [...turns.keys()];
        const results = inOrder(indices, atOnce, async (index) => {
          for (let turn = 0; turn < (turns[index] ?? 0); turn++) await Promise.resolve();
          return index;
        });
        expect(await Array.fromAsync(results)).toEqual(indices);
      }),
    );
  });

  test('never goes on with more than it may', async () => {
    let running = 0;
    let most = 0;
    for await (const _ of inOrder([1, 2, 3, 4, 5, 6], 2, async () => {
      running += 1;
      most = Math.max(most, running);
      await Bun.sleep(1);
      running -= 1;
    })) {
    }
    expect(most).toBe(2);
  });

  test('goes on while a result is being used', async () => {
    const begun: number[] = [];
    for await (const result of inOrder([1, 2, 3, 4, 5], 2, async (item) => {
      begun.push(item);
      return item;
    })) {
      if (result === 1) expect(begun).toEqual([1, 2, 3]);
    }
  });

  test('asks for items only when it begins with them', async () => {
    const asked: number[] = [];
    function* items() {
      for (let item = 1; ; item++) {
        asked.push(item);
        yield item;
      }
    }
    for await (const result of inOrder(items(), 3, async (item) => item)) if (result === 2) break;
    expect(asked.length).toBe(5);
  });

  test('throws a fault in its place, when all that was begun has ended', async () => {
    let ended = 0;
    const results = inOrder([1, 2, 3], 3, async (item) => {
      if (item === 2) throw new Error('two');
      await Bun.sleep(item);
      ended += 1;
      return item;
    });
    expect((await results.next()).value).toBe(1);
    expect(results.next()).rejects.toThrow('two');
    await results.next();
    expect(ended).toBe(2);
  });
});

test('a list is cut into pieces', () => {
  expect([...chunksOf([1, 2, 3, 4, 5], 2)]).toEqual([[1, 2], [3, 4], [5]]);
  expect([...chunksOf([], 2)]).toEqual([]);
});
