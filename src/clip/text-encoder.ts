import type { OnnxWorker } from '../../native/onnx/worker.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { takeTurns } from '../turns.ts';
import { createBatcher } from './batcher.ts';
import { type EncoderArena, maxTextBatch } from './encoder-arena.ts';
import { copyRows } from './image-encoder.ts';

/** About as much work as a batch of pictures. */
const tokensPerBatch = 512;

/**
 * Of one call, so many texts wait or run at a time: enough for full batches one after another, and few enough
 * that another client's single label does not come after thousands.
 */
const textsInFlight = 2 * maxTextBatch;

export interface TextEncoder {
  /**
   * @param texts as sent; one that comes twice is encoded once
   * @returns one textEmbedding [D] float32, L2-normalised, a text, in the same order
   * @throws ServiceError label_too_long; the signal's reason
   */
  encode(texts: readonly string[], signal?: AbortSignal): Promise<readonly Float32Array[]>;
}

/** text → ids [L] int32, start and end token included. */
export type Tokenize = (text: string) => Int32Array;

/** The text tower behind a tokenizer and a batcher. */
export function createTextEncoder(
  worker: OnnxWorker,
  arena: EncoderArena,
  tokenize: Tokenize,
  observer: EngineObserver = unobserved,
): TextEncoder {
  const batcher = createBatcher<Int32Array, Float32Array>({
    // Long texts are many tokens: pictures must not wait behind a second of them.
    maxBatch: (ids) => Math.min(maxTextBatch, Math.max(1, Math.floor(tokensPerBatch / ids.length))),
    // Only texts of one length share a batch: no padding is computed, and no text's digits can depend
    // on how long its neighbours are.
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
      return copyRows(worker.arena, output.byteOffset, batch.length, output.dims[1] as number);
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
      if (!tokenized.has(text)) tokenized.set(text, tokenize(text));
      if (turns.isOver) await turns.next();
    }
    return tokenized;
  };

  return {
    async encode(texts, signal) {
      const embeddings = new Map<string, Float32Array>();
      const tokenized = await tokenizeAll(texts, signal);
      // One after another, those of one length fill batches together.
      const waiting = [...tokenized].sort(([, first], [, other]) => first.length - other.length).values();
      const encodeWaiting = async () => {
        for (const [text, ids] of waiting) {
          embeddings.set(text, await batcher.submit(ids, signal, waiting));
        }
      };
      await Promise.all(Array.from({ length: textsInFlight }, encodeWaiting));
      return texts.map((text) => embeddings.get(text) as Float32Array);
    },
  };
}
