import { describe, expect, test } from 'bun:test';
import { createNews } from '../../../src/http/events.ts';

describe('news', () => {
  test('gives the latest word only, however many there were', async () => {
    const news = createNews<number>({ paceMs: 0, quietMs: 60_000 });
    const iterator = news[Symbol.asyncIterator]();
    news.tell(1);
    news.tell(2);
    expect(await iterator.next()).toEqual({ done: false, value: 2 });
    const next = iterator.next();
    await Bun.sleep(1);
    news.tell(3);
    expect(await next).toEqual({ done: false, value: 3 });
  });

  test('keeps its pace: what comes early waits, and is overtaken', async () => {
    const news = createNews<number>({ paceMs: 40, quietMs: 60_000 });
    const seen: (number | 'quiet')[] = [];
    const reading = (async () => {
      for await (const item of news) seen.push(item);
    })();
    const startedAt = performance.now();
    for (let item = 0; item < 20; item += 1) {
      news.tell(item);
      await Bun.sleep(5);
    }
    news.close();
    await reading;
    expect(seen[0]).toBe(0);
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.length).toBeLessThanOrEqual((performance.now() - startedAt) / 40 + 1);
  });

  test('gives a sign of life where there is nothing to say', async () => {
    const news = createNews<number>({ paceMs: 0, quietMs: 5 });
    const iterator = news[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ done: false, value: 'quiet' });
    expect(await iterator.next()).toEqual({ done: false, value: 'quiet' });
  });

  test.each([
    ['while it waits for news', 60_000],
    ['while it keeps its pace', 0],
  ])('closing ends it at once: %s', async (_, paceMs) => {
    const news = createNews<number>({ paceMs: 60_000 - paceMs, quietMs: 60_000 });
    const iterator = news[Symbol.asyncIterator]();
    news.tell(1);
    await iterator.next();
    const next = iterator.next();
    await Bun.sleep(1);
    news.close();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test('closed before it is read, it has nothing to say', async () => {
    const news = createNews<number>({ paceMs: 0, quietMs: 60_000 });
    news.tell(1);
    news.close();
    for await (const item of news) throw new Error(`said ${item}`);
  });
});
