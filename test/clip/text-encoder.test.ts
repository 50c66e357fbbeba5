import { describe, expect, test } from 'bun:test';
import type { ArenaTensor, OnnxWorker } from '../../native/onnx/worker.ts';
import { layOutEncoderArena } from '../../src/clip/encoder-arena.ts';
import { createTextTower } from '../../src/clip/text-encoder.ts';
import { createRecordingObserver } from '../fixtures/recording-observer.ts';

const tower = { width: 64, layers: 1, heads: 1 };
const arena = layOutEncoderArena(
  {
    embeddingDimension: 2,
    activation: 'quick_gelu',
    vision: { ...tower, imageResolution: 8, patchSize: 4 },
    text: { ...tower, contextLength: 77, vocabularySize: 10 },
  },
  1,
);

/** `7 ll…`: as many tokens as it has characters, the number first. */
const tokenize = (text: string) => {
  const ids = new Int32Array(text.length);
  ids[0] = Number.parseInt(text, 10);
  return ids;
};

/** A worker whose embedding of a text is its first id, and how many tokens it has. */
function countingWorker() {
  const memory = new SharedArrayBuffer(arena.bytes);
  /** The first ids of each batch. */
  const batches: number[][] = [];
  const worker: OnnxWorker = {
    arena: memory,
    async load() {},
    async run(_session, [input], [output]) {
      const { dims, byteOffset } = input as ArenaTensor;
      const [count = 0, length = 0] = dims;
      const ids = new Int32Array(memory, byteOffset, count * length);
      const firsts = Array.from({ length: count }, (_, row) => ids[row * length] as number);
      batches.push(firsts);
      await Bun.sleep(1);
      const embeddings = new Float32Array(memory, (output as ArenaTensor).byteOffset, count * 2);
      firsts.forEach((first, row) => {
        embeddings.set([first, length], row * 2);
      });
    },
    async [Symbol.asyncDispose]() {},
  };
  return { worker, batches };
}

const padded = (first: number, length: number) => String(first).padEnd(length, 'l');

describe('text encoder', () => {
  test('every text gets its own embedding, in the order sent', async () => {
    const { worker, batches } = countingWorker();
    const encoder = createTextTower(worker, arena, tokenize);
    const texts = Array.from({ length: 300 }, (_, index) => padded(index, 5 + (index % 7)));
    const embeddings = await encoder.encode(texts);
    expect(embeddings.map((embedding) => [...embedding])).toEqual(
      texts.map((_, index) => [index, 5 + (index % 7)]),
    );
    expect(batches.flat().toSorted((a, b) => a - b)).toEqual(texts.map((_, index) => index));
  });

  test('a text that comes twice is encoded once', async () => {
    const { worker, batches } = countingWorker();
    const encoder = createTextTower(worker, arena, tokenize);
    const [first, second, third] = await encoder.encode(['1 a', '2 b', '1 a']);
    expect([first, second, third].map((embedding) => embedding?.[0])).toEqual([1, 2, 1]);
    expect(batches.flat()).toEqual([1, 2]);
  });

  test('a text that was checked is not tokenized a second time', async () => {
    const { worker } = countingWorker();
    const tokenized: string[] = [];
    const encoder = createTextTower(worker, arena, (text) => {
      tokenized.push(text);
      return tokenize(text);
    });
    encoder.check('1 a');
    encoder.check('1 a');
    const [checked, other] = await encoder.encode(['1 a', '2 b']);
    expect([checked, other].map((embedding) => embedding?.[0])).toEqual([1, 2]);
    expect(tokenized).toEqual(['1 a', '2 b']);
  });

  test('of more checked texts than it keeps, the rest is tokenized again', async () => {
    const { worker } = countingWorker();
    let tokenized = 0;
    const encoder = createTextTower(worker, arena, (text) => {
      tokenized += 1;
      return tokenize(text);
    });
    const texts = Array.from({ length: 20_000 }, (_, index) => padded(index, 6));
    for (const text of texts) encoder.check(text);
    expect((await encoder.encode(texts)).map((embedding) => embedding[0])).toEqual(
      texts.map((_, index) => index),
    );
    expect(tokenized).toBeGreaterThan(20_000);
    expect(tokenized).toBeLessThan(35_000);
  });

  test('reports its batches', async () => {
    const { worker } = countingWorker();
    const { observer, told } = createRecordingObserver();
    const encoder = createTextTower(worker, arena, tokenize, observer);
    await encoder.encode(['1 a', '2 b', '3 ccc']);
    expect(told).toEqual([
      ['batch', 'text', 2],
      ['batch', 'text', 1],
    ]);
  });

  test('texts of one length fill batches, in whatever order they come', async () => {
    const { worker, batches } = countingWorker();
    const encoder = createTextTower(worker, arena, tokenize);
    await encoder.encode(Array.from({ length: 1024 }, (_, index) => padded(index, 6 + (index % 2))));
    expect(batches.map((batch) => batch.length)).toEqual(Array(32).fill(32));
  });

  test('a single text does not wait for all of those that came before it in one call', async () => {
    const { worker, batches } = countingWorker();
    const encoder = createTextTower(worker, arena, tokenize);
    const many = encoder.encode(Array.from({ length: 3200 }, (_, index) => padded(index, 6)));
    while (batches.length < 3) await Bun.sleep(1);
    const before = batches.length;
    await encoder.encode([padded(9999, 6)]);
    const turn = batches.findIndex((batch) => batch.includes(9999));
    // The running texts, and those that the other call may have waiting.
    expect(turn - before).toBeLessThanOrEqual(3);
    await many;
    expect(batches.length).toBeGreaterThan(100);
  });

  test('what a client that left still had to come is not encoded', async () => {
    const { worker, batches } = countingWorker();
    const encoder = createTextTower(worker, arena, tokenize);
    const leaving = new AbortController();
    const many = encoder.encode(
      Array.from({ length: 3200 }, (_, index) => padded(index, 6)),
      leaving.signal,
    );
    while (batches.length < 3) await Bun.sleep(1);
    leaving.abort(new Error('gone'));
    expect(String(await many.catch((reason: unknown) => reason))).toBe('Error: gone');
    const atLeaving = batches.length;
    await encoder.encode(['5 e']);
    expect(batches.length - atLeaving).toBeLessThanOrEqual(3);
  });

  test('thousands of texts are tokenized in turns with everything else', async () => {
    const { worker } = countingWorker();
    const slow = (text: string) => {
      Bun.sleepSync(1);
      return tokenize(text);
    };
    const encoder = createTextTower(worker, arena, slow);
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 1);
    await encoder.encode(Array.from({ length: 100 }, (_, index) => padded(index, 6)));
    clearInterval(counting);
    expect(turns).toBeGreaterThan(3);
  });
});
