import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { byteProductsOverflow } from '../../native/onnx/byte-products.ts';
import { InferenceThreadError, type OnnxWorker, startOnnxWorker } from '../../native/onnx/worker.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { ServiceError } from '../errors.ts';
import { layOutEncoderArena, MAX_IMAGE_BATCH } from './encoder-arena.ts';
import { familyNamed } from './family.ts';
import { type CompiledModel, graphFiles } from './graph/compiled-model.ts';
import { createImageEncoder, type ImageEncoder } from './image-encoder.ts';
import { createLabelEncoder, type LabelEncoder } from './label-encoder.ts';
import { createTextTower } from './text-encoder.ts';

/** Both towers of a loaded model. */
export interface Encoders extends AsyncDisposable {
  readonly imageEncoder: ImageEncoder;
  readonly labelEncoder: LabelEncoder;
  /** Copies the vision tower now, if it can be. Without this call, that happens when many pictures have queued. */
  loadCopies(): Promise<void>;
}

interface EncoderOptions {
  /** Cores that decoding and inference share. */
  readonly threads: number;
  /** Memory for copies of the vision tower, in bytes. Default: none. */
  readonly copiesBytes?: number;
  /** Called with the reason when an inference thread has ended; it restarts without being asked. */
  readonly onBreakdown?: (fault: Error) => void;
  /** Called when the copies of the vision tower are loaded. */
  readonly onCopied?: (copies: number) => void;
  readonly observer?: EngineObserver;
}

/**
 * Loads a compiled model into an inference worker and warms it up, so that the first request is as fast as the next.
 * Where memory allows, each core gets a copy of the vision tower as soon as many pictures have queued.
 */
export async function loadEncoders(
  compiled: CompiledModel,
  { threads, copiesBytes = 0, onBreakdown, onCopied, observer = unobserved }: EncoderOptions,
): Promise<Encoders> {
  const count = await copiesWithin(copiesBytes, compiled, threads);
  const layout = layOutEncoderArena(compiled.architecture, Math.max(1, count));
  const arena = new SharedArrayBuffer(layout.bytes);
  const workers = new AsyncDisposableStack();
  /** @param own threads of this worker */
  const startVision = async (own: number): Promise<OnnxWorker> => {
    const started = startOnnxWorker({ arena, threads: own, ...(onBreakdown && { onBreakdown }) });
    const worker = workers.use(forClients(started));
    // Pictures have one shape for each batch size; texts have one for each batch size and length.
    await worker.load('vision', compiled.visionGraphPath, 'few');
    return worker;
  };
  try {
    const worker = await startVision(threads);
    await worker.load('text', compiled.textGraphPath, 'many');

    const laneWorkers: OnnxWorker[] = [];
    const startCopies = async () => {
      if (count === 0 || workers.disposed) return;
      // Together they have as many threads as there are cores.
      const lanes = Array.from({ length: count }, (_, lane) => Math.floor((threads + lane) / count));
      laneWorkers.push(...(await Promise.all(lanes.map(startVision))));
      onCopied?.(count);
    };
    let copying: Promise<void> | undefined;
    const loadCopies = () => {
      copying ??= startCopies().catch((fault: Error) => {
        if (!workers.disposed) onBreakdown?.(fault);
      });
      return copying;
    };
    const copies = count === 0 ? undefined : { count, workers: laneWorkers, load: loadCopies };

    const tokenize = familyNamed(compiled.family).createTokenizer(compiled.architecture.text.contextLength);
    const imageEncoder = createImageEncoder({ worker, copies }, layout, threads, observer);
    const textTower = createTextTower(worker, layout, tokenize, observer);
    using slot = await imageEncoder.acquireSlot();
    await Promise.all([slot.encode(), textTower.encode(['a photo'])]);

    return {
      imageEncoder,
      labelEncoder: createLabelEncoder(textTower, observer),
      loadCopies,
      [Symbol.asyncDispose]: () => workers.disposeAsync(),
    };
  } catch (fault) {
    await workers.disposeAsync();
    throw fault;
  }
}

/** The heap of an inference thread and what ONNX Runtime keeps beside the weights, about 12 MB. */
const THREAD_BYTES = 16 * 1024 ** 2;

/** Memory of a copy's weights for each byte of the weight file; measured with ViT-B/32. */
const MEMORY_PER_WEIGHT_BYTE = { wideInt8: 1.7, int8: 1.05, fp32: 1.05 } as const;

/** Intermediate values of a position that are in memory at the same time, as multiples of the width. */
const VALUES_PER_POSITION = 12;

/**
 * How many copies of the vision tower fit into that memory.
 * @returns one for each core at most; 0 rather than 1, because one alone is of no use
 */
async function copiesWithin(bytes: number, compiled: CompiledModel, threads: number): Promise<number> {
  const { precision, visionGraphPath, architecture } = compiled;
  const { imageResolution, patchSize, width } = architecture.vision;
  const weightFile = await stat(join(dirname(visionGraphPath), graphFiles.vision.weights));
  const positions = (imageResolution / patchSize) ** 2 + 1;
  const batchBytes = MAX_IMAGE_BATCH * positions * width * VALUES_PER_POSITION * 4;
  const kind = precision === 'int8' && byteProductsOverflow() ? 'wideInt8' : precision;
  const copyBytes = MEMORY_PER_WEIGHT_BYTE[kind] * weightFile.size + batchBytes + THREAD_BYTES;
  const copies = Math.min(threads, Math.floor(bytes / copyBytes));
  return copies < 2 ? 0 : copies;
}

/** A new inference thread has usually loaded its graphs by then. */
const RETRY_AFTER_SECONDS = 5;

/** Turns the end of the thread into an error for clients, whose pictures and labels did not cause it. */
function forClients(worker: OnnxWorker): OnnxWorker {
  return {
    ...worker,
    async run(session, inputs, outputs) {
      try {
        await worker.run(session, inputs, outputs);
      } catch (fault) {
        if (!(fault instanceof InferenceThreadError)) throw fault;
        throw new ServiceError(
          'engine_restarting',
          'Inference broke down and is being restarted; try again in a moment.',
          { retry_after_seconds: RETRY_AFTER_SECONDS },
          { cause: fault },
        );
      }
    },
  };
}
