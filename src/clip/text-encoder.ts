import { LRUCache } from 'lru-cache';
import type { OnnxWorker } from '../../native/onnx/worker.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { takeTurns } from '../turns.ts';
import { createBatcher } from './batcher.ts';
import { copyRows, type EncoderArena, MAX_TEXT_BATCH } from './encoder-arena.ts';
import type { Tokenize } from './family.ts';

/** About as much work as a batch of pictures. */
const TOKENS_PER_BATCH = 512;

/**
 * Texts of one call that wait or run at the same time: enough for consecutive full batches, and few enough that
 * another client's single label does not wait for thousands.
 */
const TEXTS_IN_FLIGHT = 2 * MAX_TEXT_BATCH;

/**
 * Memory for the ids of checked texts that are not encoded yet: about 10,000 short ones. Further ids of a request are
 * computed again.
 */
const MAX_CHECKED_BYTES = 4 * 1024 ** 2;
/** Objects around a text and its ids, estimated. */
const ENTRY_OVERHEAD_BYTES = 300;

/** The text tower: one text, one embedding. */
export interface TextTower {
  /**
   * Tokenizes a text and keeps the ids until it is encoded.
   * @returns the number of its tokens, start and end included
   * @throws ServiceError label_too_long
   */
  check(text: string): number;
  /**
   * @param texts equal texts are encoded once
   * @returns one embedding [D] float32, L2-normalised, per text, in the same order
   * @throws ServiceError label_too_long; the signal's reason
   */
  encode(texts: readonly string[], signal?: AbortSignal): Promise<readonly Float32Array[]>;
}

/** Puts a tokenizer and a batcher in front of the text graph. */
export function createTextTower(
  worker: OnnxWorker,
  arena: EncoderArena,
  tokenize: Tokenize,
  observer: EngineObserver = unobserved,
): TextTower {
  const checked = new LRUCache<string, Int32Array>({
    maxSize: MAX_CHECKED_BYTES,
    sizeCalculation: (ids, text) => ids.byteLength + 2 * text.length + ENTRY_OVERHEAD_BYTES,
  });

  const takeIds = (text: string): Int32Array => {
    const ids = checked.get(text);
    checked.delete(text);
    return ids ?? tokenize(text);
  };

  const batcher = createBatcher<Int32Array, Float32Array>({
    // A batch of long texts must not delay pictures by a whole second.
    maxBatch: (ids) => Math.min(MAX_TEXT_BATCH, Math.max(1, Math.floor(TOKENS_PER_BATCH / ids.length))),
    // Only texts of one length share a batch. So no padding is computed, and an embedding does not depend on the
    // length of its neighbours.
    compatible: (first, other) => first.length === other.length,
    async run(batch, waitsMs) {
      const beganAt = performance.now();
      const length = batch[0]?.length ?? 0;
      const input = arena.inputIds(batch.length, length);
      const inputIds = new Int32Array(worker.arena, input.byteOffset, batch.length * length);
      batch.forEach((ids, index) => {
        inputIds.set(ids, index * length);
      });
      const output = arena.textEmbeddings(batch.length);
      await worker.run('text', [input], [output]);
      observer.batchRun('text', batch.length, performance.now() - beganAt, waitsMs[0] ?? 0);
      return copyRows(worker.arena, output);
    },
  });

  /** text → ids, each text once. */
  const tokenizeAll = async (
    texts: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<Map<string, Int32Array>> => {
    const tokenized = new Map<string, Int32Array>();
    const turns = takeTurns(signal);
    for (const text of texts) {
      if (!tokenized.has(text)) tokenized.set(text, takeIds(text));
      if (turns.isOver) await turns.next();
    }
    return tokenized;
  };

  return {
    check(text) {
      const known = checked.get(text);
      if (known) return known.length;
      const ids = tokenize(text);
      checked.set(text, ids);
      return ids.length;
    },
    async encode(texts, signal) {
      const embeddings = new Map<string, Float32Array>();
      const tokenized = await tokenizeAll(texts, signal);
      // Texts of one length follow each other, so that they share batches.
      const waiting = [...tokenized].sort(([, first], [, other]) => first.length - other.length).values();
      const encodeWaiting = async () => {
        for (const [text, ids] of waiting) {
          embeddings.set(text, await batcher.submit(ids, signal, waiting));
        }
      };
      await Promise.all(Array.from({ length: TEXTS_IN_FLIGHT }, encodeWaiting));
      return texts.map((text) => embeddings.get(text)!);
    },
  };
}
