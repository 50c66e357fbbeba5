import { InferenceThreadError, type OnnxWorker, startOnnxWorker } from '../../native/onnx/worker.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { ServiceError } from '../errors.ts';
import { layOutEncoderArena } from './encoder-arena.ts';
import { familyNamed } from './family.ts';
import type { CompiledModel } from './graph/compiled-model.ts';
import { createImageEncoder, type ImageEncoder } from './image-encoder.ts';
import { createLabelEncoder, type LabelEncoder } from './label-encoder.ts';
import { createTextTower } from './text-encoder.ts';

/** Both towers of a loaded model. */
export interface Encoders extends AsyncDisposable {
  readonly imageEncoder: ImageEncoder;
  readonly labelEncoder: LabelEncoder;
}

/**
 * Loads a compiled model into an inference worker and warms it up, so that the first request is as fast as the next.
 * @param onBreakdown called with the reason when the inference thread has ended; it restarts without being asked
 */
export async function loadEncoders(
  compiled: CompiledModel,
  threads: number,
  onBreakdown?: (fault: Error) => void,
  observer: EngineObserver = unobserved,
): Promise<Encoders> {
  const arena = layOutEncoderArena(compiled.architecture);
  const worker = forClients(
    startOnnxWorker({ arenaBytes: arena.bytes, threads, ...(onBreakdown && { onBreakdown }) }),
  );
  try {
    // Pictures have one shape for each batch size; texts have one for each batch size and length.
    await worker.load('vision', compiled.visionGraphPath, 'few');
    await worker.load('text', compiled.textGraphPath, 'many');

    const tokenize = familyNamed(compiled.family).createTokenizer(compiled.architecture.text.contextLength);
    const imageEncoder = createImageEncoder(worker, arena, threads, observer);
    const textTower = createTextTower(worker, arena, tokenize, observer);
    using slot = await imageEncoder.acquireSlot();
    await Promise.all([slot.encode(), textTower.encode(['a photo'])]);

    return {
      imageEncoder,
      labelEncoder: createLabelEncoder(textTower, observer),
      [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
    };
  } catch (fault) {
    await worker[Symbol.asyncDispose]();
    throw fault;
  }
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
