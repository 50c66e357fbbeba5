import type { OnnxWorker } from '../../native/onnx/worker.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { invariant } from '../errors.ts';
import { createPermit, createSemaphore, type Permit } from '../semaphore.ts';
import { createBatcher } from './batcher.ts';
import { copyRows, type EncoderArena, MAX_IMAGE_BATCH } from './encoder-arena.ts';

/** Times of decoded pictures, each summed over the pictures. */
interface EncodeTimes {
  batchWaitMs: number;
  /** A picture's share of its batch's time. */
  inferenceMs: number;
}

/** Room for one picture in the arena, held from before it is decoded until its batch begins. */
export interface PixelSlot extends Disposable {
  /** [S, S, 3] uint8, RGB, row-major. The caller fills it. */
  readonly pixels: Uint8Array;
  /**
   * Encodes the filled slot. The encoder frees it.
   * @param times this picture's times are added to it
   * @returns the embedding, [D] float32, L2-normalised
   */
  encode(signal?: AbortSignal, times?: EncodeTimes): Promise<Float32Array>;
}

export interface ImageEncoder {
  /** Waits for a free slot. The wait is the back-pressure on the code that reads pictures. */
  acquireSlot(signal?: AbortSignal): Promise<PixelSlot>;
}

interface FilledSlot {
  readonly pixels: Uint8Array;
  readonly permit: Permit;
  readonly times: EncodeTimes | undefined;
}

/**
 * Sessions of the vision graph that divide the cores among them. They need not wait for each other at every operation,
 * so they encode a queue of pictures faster than one session of all cores.
 */
interface TowerCopies {
  /** At least 2. */
  readonly count: number;
  /** One for each copy, with the arena of the worker of all cores. None until they have loaded. */
  readonly workers: readonly OnnxWorker[];
  /** Loads them. Further calls do nothing. */
  load(): Promise<void>;
}

/** The vision graph: a worker of all cores, which is fastest for a single picture, and copies for a queue. */
interface VisionTower {
  readonly worker: OnnxWorker;
  readonly copies: TowerCopies | undefined;
}

/**
 * Pictures that must have shared batches before the tower is copied. Copies cost the processor time of 20 to 50
 * pictures and save that of every sixth.
 */
const PICTURES_BEFORE_COPIES = 100;

/**
 * Puts a batcher in front of the vision graph: pictures of all requests share its batches.
 * @param threads cores that decoding and inference share
 */
export function createImageEncoder(
  { worker, copies }: VisionTower,
  arena: EncoderArena,
  threads: number,
  observer: EngineObserver = unobserved,
): ImageEncoder {
  // Counts the slots whose pictures are still being decoded.
  let filling = 0;
  const slots = createSemaphore(arena.slots);
  const pixelsPerPicture = arena.resolution * arena.resolution * 3;
  const free = Array.from(
    { length: arena.slots },
    (_, slot) => new Uint8Array(worker.arena, arena.slotOffset(slot), pixelsPerPicture),
  );
  const lanes = copies?.count ?? 1;
  let queued = 0;
  const batchPixels = Array.from(
    { length: lanes },
    (_, lane) =>
      new Uint8Array(
        worker.arena,
        arena.pixels(MAX_IMAGE_BATCH, lane).byteOffset,
        MAX_IMAGE_BATCH * pixelsPerPicture,
      ),
  );

  const batcher = createBatcher<FilledSlot, Float32Array>({
    maxBatch: () => MAX_IMAGE_BATCH,
    compatible: () => true,
    lanes,
    // As long as there are fewer pictures than lanes, some cores would be idle.
    undivided: (waiting) => !copies?.workers.length || waiting + filling < lanes,
    // A picture in a small batch costs up to half more. Waiting for a full batch costs nothing while decoding
    // keeps every core busy. The limit keeps pictures that decode slowly from delaying the others.
    hold: () => filling >= threads,
    holdMs: 100,
    skip: ({ permit }) => permit[Symbol.dispose](),
    async run(batch, waitsMs, lane) {
      const place = lane ?? 0;
      const runner = (lane !== undefined && copies?.workers[lane]) || worker;
      if (batch.length > 1) queued += batch.length;
      if (queued >= PICTURES_BEFORE_COPIES) void copies?.load();
      const beganAt = performance.now();
      // A batch must be contiguous. Copying 8 pictures takes 0.1 ms of the batch's 90 and frees the slots, so
      // that decoding continues while the model runs.
      batch.forEach(({ pixels, permit }, index) => {
        batchPixels[place]?.set(pixels, index * pixelsPerPicture);
        permit[Symbol.dispose]();
      });
      const output = arena.imageEmbeddings(batch.length, place);
      await runner.run('vision', [arena.pixels(batch.length, place)], [output]);
      const ms = performance.now() - beganAt;
      observer.batchRun('image', batch.length, ms, waitsMs[0] ?? 0);
      for (const [index, { times }] of batch.entries()) {
        if (!times) continue;
        times.batchWaitMs += waitsMs[index] ?? 0;
        times.inferenceMs += ms / batch.length;
      }
      return copyRows(worker.arena, output);
    },
  });

  return {
    async acquireSlot(signal) {
      const permit = await slots.acquire(1, signal);
      const pixels = free.pop();
      invariant(pixels, 'a permit was given without a free slot');
      filling += 1;
      const giveBack = createPermit(() => {
        free.push(pixels);
        permit[Symbol.dispose]();
      });
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
