import { describe, expect, test } from 'bun:test';
import { createLabelEncoder } from '../../src/clip/label-encoder.ts';
import type { TextTower } from '../../src/clip/text-encoder.ts';
import { createRecordingObserver } from '../fixtures/recording-observer.ts';

const verbatim = ['{}'];

/** A text's embedding is [1, its length, …], not normalised; all texts that were encoded are noted. */
function notingEncoder(width = 2) {
  const texts: string[] = [];
  const textTower: TextTower = {
    check: (text) => text.length,
    async encode(asked, signal) {
      signal?.throwIfAborted();
      texts.push(...asked);
      return asked.map((text) => new Float32Array(width).fill(1, 0, 1).fill(text.length, 1, 2));
    },
  };
  const { observer, told } = createRecordingObserver();
  return { encoder: createLabelEncoder(textTower, observer), texts, told };
}

describe('label encoder', () => {
  test('puts labels into templates and averages', async () => {
    const { encoder, texts } = notingEncoder();
    const [cat] = await encoder.encode(['cat'], ['{}', 'a {}']);
    expect(texts).toEqual(['cat', 'a cat']);
    // (1, 3) + (1, 5) = (2, 8)
    const norm = Math.hypot(2, 8);
    expect([...(cat ?? [])]).toEqual([expect.closeTo(2 / norm, 6), expect.closeTo(8 / norm, 6)]);
  });

  test('a known label costs nothing, in the templates in which it is known', async () => {
    const { encoder, texts, told } = notingEncoder();
    const first = await encoder.encode(['cat', 'dog'], verbatim);
    const second = await encoder.encode(['dog', 'bird', 'cat'], verbatim);
    expect(texts).toEqual(['cat', 'dog', 'bird']);
    expect([second[2], second[0]]).toEqual([first[0], first[1]]);
    await encoder.encode(['cat'], ['a {}']);
    await encoder.encode(['cat'], ['a {}', '{}']);
    expect(texts.slice(3)).toEqual(['a cat', 'a cat', 'cat']);
    expect(told).toEqual([
      ['texts', 0, 2],
      ['texts', 2, 1],
      ['texts', 0, 1],
      ['texts', 0, 1],
    ]);
  });

  test('templates by the hundred are forgotten no sooner than one', async () => {
    const { encoder, texts } = notingEncoder(512);
    const labels = Array.from({ length: 1000 }, (_, index) => `thing ${index}`);
    const templates = Array.from({ length: 100 }, (_, index) => `${index} {}`);
    const first = await encoder.encode(labels, templates);
    expect(texts).toHaveLength(100_000);
    expect(await encoder.encode(labels, templates)).toEqual(first);
    expect(texts).toHaveLength(100_000);
  });

  test('of more labels than it can remember, it remembers as many as it can', async () => {
    const { encoder, texts } = notingEncoder(512);
    const labels = Array.from({ length: 20_000 }, (_, index) => `thing ${index}`);
    const first = await encoder.encode(labels, verbatim);
    expect(texts).toHaveLength(20_000);
    const second = await encoder.encode(labels, verbatim);
    expect(second).toEqual(first);
    expect(texts.length - 20_000).toBeLessThan(6000);
    // Later labels are remembered nevertheless.
    await encoder.encode(['new'], verbatim);
    const before = texts.length;
    await encoder.encode(['new'], verbatim);
    expect(texts).toHaveLength(before);
  });

  test('what was encoded before its client left stays known', async () => {
    const leaving = new AbortController();
    const texts: string[] = [];
    const textTower: TextTower = {
      check: (text) => text.length,
      async encode(asked, signal) {
        signal?.throwIfAborted();
        texts.push(...asked);
        leaving.abort(new Error('gone'));
        return asked.map(() => Float32Array.of(1));
      },
    };
    const encoder = createLabelEncoder(textTower);
    const labels = Array.from({ length: 3000 }, (_, index) => `thing ${index}`);
    const fault = await encoder.encode(labels, verbatim, leaving.signal).catch((reason: unknown) => reason);
    expect(String(fault)).toBe('Error: gone');
    await encoder.encode(labels, verbatim);
    expect(texts).toHaveLength(3000);
  });

  test('a label cannot pass for another one in other templates', async () => {
    const { encoder, texts } = notingEncoder();
    await encoder.encode(['cat'], ['a {}']);
    await encoder.encode(['a cat'], verbatim);
    expect(texts).toEqual(['a cat', 'a cat']);
  });

  test('only labels that are not known are checked', async () => {
    const checked: string[] = [];
    const encoder = createLabelEncoder({
      check: (text) => checked.push(text),
      encode: async (asked) => asked.map(() => Float32Array.of(1)),
    });
    await encoder.encode(['cat'], ['a {}']);
    await encoder.check(['cat', 'dog'], ['a {}']);
    expect(checked).toEqual(['a dog']);
  });

  test('a label in many templates is checked in turns with everything else', async () => {
    const { observer } = createRecordingObserver();
    const encoder = createLabelEncoder(
      {
        check(text) {
          Bun.sleepSync(1);
          return text.length;
        },
        encode: async (asked) => asked.map(() => Float32Array.of(1)),
      },
      observer,
    );
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 1);
    await encoder.check(
      ['cat'],
      Array.from({ length: 100 }, (_, index) => `${index} {}`),
    );
    clearInterval(counting);
    expect(turns).toBeGreaterThan(3);
  });
});
