import { describe, expect, test } from 'bun:test';
import type { ArenaTensor, OnnxWorker } from '../../native/onnx/worker.ts';
import { layOutEncoderArena } from '../../src/clip/encoder-arena.ts';
import { createImageEncoder } from '../../src/clip/image-encoder.ts';
import { createRecordingObserver } from '../fixtures/recording-observer.ts';

const tower = { width: 64, layers: 1, heads: 1 };
const arena = layOutEncoderArena(
  {
    embeddingDimension: 2,
    activation: 'quick_gelu',
    vision: { ...tower, imageResolution: 8, patchSize: 4 },
    text: { ...tower, contextLength: 7, vocabularySize: 10 },
  },
  3,
);

/** A worker whose embedding of a picture is its first pixel's red and green. */
function pixelWorker(
  memory = new SharedArrayBuffer(arena.bytes),
): OnnxWorker & { readonly batches: number[] } {
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
    const encoder = createImageEncoder({ worker, copies: undefined }, arena, 2);
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

  describe('with copies of the tower', () => {
    function copiedTower(count: number) {
      const worker = pixelWorker();
      const lanes = Array.from({ length: count }, () => pixelWorker(worker.arena));
      const workers: OnnxWorker[] = [];
      let loads = 0;
      const copies = {
        count,
        workers,
        async load() {
          loads += 1;
        },
      };
      const encoder = createImageEncoder({ worker, copies }, arena, count);
      const encode = async (value: number) => {
        using slot = await encoder.acquireSlot();
        slot.pixels.set([value, value + 1]);
        return [...(await slot.encode())];
      };
      const take = () => [worker, ...lanes].map(({ batches }) => batches.splice(0));
      return { encoder, encode, take, finishLoading: () => workers.push(...lanes), loads: () => loads };
    }
    const values = Array.from({ length: 100 }, (_, index) => index);
    const pairs = values.map((value) => [value, value + 1]);

    test('loads them after a hundred pictures that were not alone, and serves with all cores meanwhile', async () => {
      const { encode, take, loads } = copiedTower(2);
      for (const value of values) await encode(value);
      expect(loads()).toBe(0);
      take();
      expect(await Promise.all(values.map(encode))).toEqual(pairs);
      expect(loads()).toBeGreaterThan(0);
      const [whole, ...lanes] = take();
      expect(whole?.reduce((sum, count) => sum + count, 0)).toBe(100);
      expect(lanes).toEqual([[], []]);
    });

    test('spreads a queue over them, and gives a picture alone all cores', async () => {
      const { encode, take, finishLoading } = copiedTower(3);
      finishLoading();
      expect(await encode(7)).toEqual([7, 8]);
      expect(take()).toEqual([[1], [], [], []]);
      expect(await Promise.all(values.map(encode))).toEqual(pairs);
      const counts = take();
      expect(counts.flat().reduce((sum, count) => sum + count, 0)).toBe(100);
      expect(counts.slice(1).map((batches) => batches.length > 1)).toEqual([true, true, true]);
    });

    test('gives one core to a picture that others follow', async () => {
      const { encoder, take, finishLoading } = copiedTower(2);
      finishLoading();
      const slots = await Promise.all([1, 2].map(() => encoder.acquireSlot()));
      await slots[0]?.encode();
      expect(take()).toEqual([[], [1], []]);
      await slots[1]?.encode();
      expect(take()).toEqual([[1], [], []]);
    });
  });

  test('reports its batches, and the time of each picture', async () => {
    const { observer, told } = createRecordingObserver();
    const encoder = createImageEncoder({ worker: pixelWorker(), copies: undefined }, arena, 2, observer);
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
    const encoder = createImageEncoder({ worker, copies: undefined }, arena, 2);
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
    const encoder = createImageEncoder({ worker, copies: undefined }, arena, 1);
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
    const encoder = createImageEncoder({ worker: pixelWorker(), copies: undefined }, arena, 2);
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
