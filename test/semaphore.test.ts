import { describe, expect, test } from 'bun:test';
import { createSemaphore } from '../src/semaphore.ts';

/** Lets all pending promises settle. */
const settle = () => Bun.sleep(0);

describe('semaphore', () => {
  test('grants up to its capacity and the next one when a permit is given back', async () => {
    const semaphore = createSemaphore(2);
    const first = await semaphore.acquire();
    await semaphore.acquire();
    let granted = false;
    const third = semaphore.acquire().then((permit) => {
      granted = true;
      return permit;
    });
    await settle();
    expect(granted).toBe(false);
    expect(semaphore.waiting).toBe(1);
    first[Symbol.dispose]();
    await third;
    expect(semaphore.used).toBe(2);
    expect(semaphore.waiting).toBe(0);
  });

  test('serves in order, so light waiters do not starve a heavy one', async () => {
    const semaphore = createSemaphore(4);
    const running = await semaphore.acquire(3);
    const order: string[] = [];
    const heavy = semaphore.acquire(4).then((permit) => {
      order.push('heavy');
      permit[Symbol.dispose]();
    });
    const light = semaphore.acquire(1).then((permit) => {
      order.push('light');
      permit[Symbol.dispose]();
    });
    await settle();
    expect(order).toEqual([]);
    running[Symbol.dispose]();
    await Promise.all([heavy, light]);
    expect(order).toEqual(['heavy', 'light']);
    expect(semaphore.used).toBe(0);
  });

  test('grants a weight above the capacity alone', async () => {
    const semaphore = createSemaphore(4);
    const huge = await semaphore.acquire(100);
    expect(semaphore.used).toBe(4);
    huge[Symbol.dispose]();
    expect(semaphore.used).toBe(0);
  });

  test('a waiter that leaves rejects with its reason and lets those behind it pass', async () => {
    const semaphore = createSemaphore(2);
    const running = await semaphore.acquire(1);
    const leaving = new AbortController();
    const heavy = semaphore.acquire(2, leaving.signal);
    const light = semaphore.acquire(1);
    leaving.abort(new Error('gone'));
    await expect(heavy).rejects.toThrow('gone');
    await light;
    expect(semaphore.used).toBe(2);
    running[Symbol.dispose]();
    expect(semaphore.used).toBe(1);
  });

  test('a permit disposed twice is given back once', async () => {
    const semaphore = createSemaphore(2);
    const first = await semaphore.acquire();
    await semaphore.acquire();
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(semaphore.used).toBe(1);
  });

  test('an aborted signal is refused at once', async () => {
    const semaphore = createSemaphore(1);
    await expect(semaphore.acquire(1, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    expect(semaphore.used).toBe(0);
  });
});
