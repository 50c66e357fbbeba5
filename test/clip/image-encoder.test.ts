import { describe, expect, test } from 'bun:test';
import type { ArenaTensor, OnnxWorker } from '../../native/onnx/worker.ts';
import { layOutEncoderArena } from '../../src/clip/encoder-arena.ts';
import { createImageEncoder } from '../../src/clip/image-encoder.ts';
import { createRecordingObserver } from '../fixtures/recording-observer.ts';

const tower = { width: 64, layers: 1, heads: 1 };
const arena = layOutEncoderArena({
  embeddingDimension: 2,
  activation: 'quick_gelu',
  vision: { ...tower, imageResolution: 8, patchSize: 4 },
  text: { ...tower, contextLength: 7, vocabularySize: 10 },
});

/** A worker whose embedding of a picture is its first pixel's red and green. */
function pixelWorker(): OnnxWorker & { readonly batches: number[] } {
  const memory = new SharedArrayBuffer(arena.bytes);
  const batches: number[] = [];
  return {
    arena: memory,
    batches,
    async load() {},
    async run(_session, [input], [output]) {
      const { dims, byteOffset } = input as ArenaTensor;
      const count = dims[0] as number;
      batches.push(count);
      await Bun.sleep(1);
      const pixels = new Uint8Array(memory, byteOffset, count * 8 * 8 * 3);
      const embeddings = new Float32Array(memory, (output as ArenaTensor).byteOffset, count * 2);
      for (let row = 0; row < count; row++) {
        embeddings.set(pixels.subarray(row * 192, row * 192 + 2), row * 2);
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}

describe('image encoder', () => {
  test('every picture gets its own embedding, however many there are', async () => {
    const worker = pixelWorker();
    const encoder = createImageEncoder(worker, arena, 2);
    const encode = async (value: number) => {
      using slot = await encoder.acquireSlot();
      await Bun.sleep(value % 3);
      slot.pixels.set([value, value + 1]);
      return await slot.encode();
    };
    const values = Array.from({ length: 100 }, (_, index) => index);
    const embeddings = await Promise.all(values.map(encode));
    expect(embeddings.map((embedding) => [...embedding])).toEqual(values.map((value) => [value, value + 1]));
    expect(Math.max(...worker.batches)).toBe(8);
  });

  test('reports its batches, and the time of each picture', async () => {
    const { observer, told } = createRecordingObserver();
    const encoder = createImageEncoder(pixelWorker(), arena, 2, observer);
    const slots = await Promise.all([1, 2, 3].map(() => encoder.acquireSlot()));
    const times = { batchWaitMs: 0, inferenceMs: 0 };
    const other = { batchWaitMs: 0, inferenceMs: 0 };
    await Promise.all([times, other, undefined].map((own, index) => slots[index]?.encode(undefined, own)));
    expect(told).toEqual([['batch', 'image', 3]]);
    expect(times.batchWaitMs).toBeGreaterThan(0);
    expect(times.inferenceMs).toBeGreaterThan(0);
    expect(other.inferenceMs).toBe(times.inferenceMs);
  });

  test('a batch waits while as many pictures are being decoded as there are cores', async () => {
    const worker = pixelWorker();
    const encoder = createImageEncoder(worker, arena, 2);
    const slots = await Promise.all([1, 2, 3].map(() => encoder.acquireSlot()));
    const first = slots[0]?.encode();
    await Bun.sleep(0);
    expect(worker.batches).toEqual([]);
    const second = slots[1]?.encode();
    await Promise.all([first, second]);
    expect(worker.batches).toEqual([2]);
    slots[2]?.[Symbol.dispose]();
  });

  test('a batch that was held starts when the pictures it waited for turn out to be broken', async () => {
    const worker = pixelWorker();
    const encoder = createImageEncoder(worker, arena, 1);
    using sound = await encoder.acquireSlot();
    const broken = await encoder.acquireSlot();
    const embedding = sound.encode();
    await Bun.sleep(0);
    expect(worker.batches).toEqual([]);
    broken[Symbol.dispose]();
    await embedding;
    expect(worker.batches).toEqual([1]);
  });

  test('slots are given back by broken pictures and by clients that left', async () => {
    const encoder = createImageEncoder(pixelWorker(), arena, 2);
    for (let round = 0; round < 10; round++) {
      for (let index = 0; index < arena.slots; index++) {
        using slot = await encoder.acquireSlot();
        expect(slot.pixels.length).toBe(8 * 8 * 3);
      }
      const gone = AbortSignal.abort(new Error('gone'));
      const leaving = Array.from({ length: arena.slots }, async () => {
        using slot = await encoder.acquireSlot();
        return await slot.encode(gone).catch((reason: unknown) => reason);
      });
      expect(new Set((await Promise.all(leaving)).map(String))).toEqual(new Set(['Error: gone']));
    }
  });
});
