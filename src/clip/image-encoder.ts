import type { OnnxWorker } from '../../native/onnx/worker.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { createSemaphore, type Permit } from '../semaphore.ts';
import { createBatcher } from './batcher.ts';
import { type EncoderArena, maxImageBatch } from './encoder-arena.ts';

/** Where the time of some pictures goes once they are decoded, added up over them. */
export interface EncodeTimes {
  batchWaitMs: number;
  /** A picture's share of its batch's time. */
  inferenceMs: number;
}

/** A place for one picture in the arena, held from before it is decoded until its batch begins. */
export interface PixelSlot extends Disposable {
  /** [S, S, 3] uint8, RGB, row-major: to be filled. */
  readonly pixels: Uint8Array;
  /**
   * Hands the filled slot over; it is given back by the encoder.
   * @param times what this picture takes is added to
   * @returns imageEmbedding [D] float32, L2-normalised
   */
  encode(signal?: AbortSignal, times?: EncodeTimes): Promise<Float32Array>;
}

export interface ImageEncoder {
  /** Waits for a free slot: the back-pressure on whoever reads pictures. */
  acquireSlot(signal?: AbortSignal): Promise<PixelSlot>;
}

interface FilledSlot {
  readonly pixels: Uint8Array;
  readonly permit: Permit;
  readonly times: EncodeTimes | undefined;
}

/**
 * The vision tower behind a batcher: pictures of all requests share its batches.
 * @param threads cores that decoding and inference share
 */
export function createImageEncoder(
  worker: OnnxWorker,
  arena: EncoderArena,
  threads: number,
  observer: EngineObserver = unobserved,
): ImageEncoder {
  // Slots whose pictures are still being decoded.
  let filling = 0;
  const slots = createSemaphore(arena.slots);
  const pixelsPerPicture = arena.resolution * arena.resolution * 3;
  const free = Array.from(
    { length: arena.slots },
    (_, slot) => new Uint8Array(worker.arena, arena.slotOffset(slot), pixelsPerPicture),
  );
  const batchPixels = new Uint8Array(
    worker.arena,
    arena.pixels(maxImageBatch).byteOffset,
    maxImageBatch * pixelsPerPicture,
  );

  const batcher = createBatcher<FilledSlot, Float32Array>({
    maxBatch: () => maxImageBatch,
    compatible: () => true,
    // Small batches cost up to half more a picture. While decoding keeps every core busy, waiting for a
    // full one costs nothing; but nobody waits long for pictures that take long to decode.
    hold: () => filling >= threads,
    holdMs: 100,
    skip: ({ permit }) => permit[Symbol.dispose](),
    async run(batch, waitsMs) {
      const beganAt = performance.now();
      // A batch must lie in one piece; copying 8 pictures takes 0.1 ms of the batch's 90 and frees the
      // slots, so that decoding goes on while the model runs.
      batch.forEach(({ pixels, permit }, index) => {
        batchPixels.set(pixels, index * pixelsPerPicture);
        permit[Symbol.dispose]();
      });
      const output = arena.imageEmbeddings(batch.length);
      await worker.run('vision', [arena.pixels(batch.length)], [output]);
      const ms = performance.now() - beganAt;
      observer.batchRun('image', batch.length, ms, waitsMs[0] ?? 0);
      for (const [index, { times }] of batch.entries()) {
        if (!times) continue;
        times.batchWaitMs += waitsMs[index] ?? 0;
        times.inferenceMs += ms / batch.length;
      }
      return copyRows(worker.arena, output.byteOffset, batch.length, output.dims[1] as number);
    },
  });

  return {
    async acquireSlot(signal) {
      const permit = await slots.acquire(1, signal);
      const pixels = free.pop();
      if (!pixels) throw new Error('a permit without a free slot: this is a bug');
      filling += 1;
      let held = true;
      const giveBack: Permit = {
        [Symbol.dispose]() {
          if (!held) return;
          held = false;
          free.push(pixels);
          permit[Symbol.dispose]();
        },
      };
      let filled = false;
      const endFilling = () => {
        filled = true;
        filling -= 1;
      };
      return {
        pixels,
        encode(encodeSignal, times) {
          endFilling();
          return batcher.submit({ pixels, permit: giveBack, times }, encodeSignal);
        },
        [Symbol.dispose]() {
          if (filled) return;
          endFilling();
          giveBack[Symbol.dispose]();
          batcher.reconsider();
        },
      };
    },
  };
}

/** Copies the rows of a [count, width] float32 tensor out of the arena, before the next batch overwrites it. */
export function copyRows(
  arena: SharedArrayBuffer,
  byteOffset: number,
  count: number,
  width: number,
): Float32Array[] {
  return Array.from({ length: count }, (_, row) =>
    new Float32Array(arena, byteOffset + row * width * 4, width).slice(),
  );
}
