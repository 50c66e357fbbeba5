import { startOnnxWorker } from '../native/onnx/worker.ts';
import type { Classifier } from './classify/classifier.ts';
import { createClassifier } from './classify/create-classifier.ts';
import { layOutEncoderArena } from './clip/encoder-arena.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import { createImageEncoder } from './clip/image-encoder.ts';
import { resizeAndCrop } from './clip/preprocessing.ts';
import { createTextEncoder } from './clip/text-encoder.ts';
import { createTokenizer } from './clip/tokenizer/tokenizer.ts';
import type { Config } from './config.ts';
import { createPictureLoader } from './media/picture.ts';

/** A loaded model with everything that answers questions by it. */
export interface Engine extends AsyncDisposable {
  readonly classifier: Classifier;
}

/** Loads a compiled model into the inference worker and warms it up: the first request is as fast as the next. */
export async function startEngine(compiled: CompiledModel, config: Config): Promise<Engine> {
  const { architecture } = compiled;
  const arena = layOutEncoderArena(architecture);
  const worker = startOnnxWorker({ arenaBytes: arena.bytes, threads: config.threads });
  try {
    await worker.load('vision', compiled.visionGraphPath);
    await worker.load('text', compiled.textGraphPath);

    const tokenizer = createTokenizer();
    const tokenize = (text: string) => tokenizer.tokenize(text, architecture.text.contextLength);
    const imageEncoder = createImageEncoder(worker, arena);
    const textEncoder = createTextEncoder(worker, arena, tokenize);
    const resolution = architecture.vision.imageResolution;
    const loadPicture = createPictureLoader({
      geometry: (width, height) => resizeAndCrop(width, height, resolution),
      limits: config.limits,
    });

    using slot = await imageEncoder.acquireSlot();
    await Promise.all([slot.encode(), textEncoder.encode(['a photo'])]);

    const classifier = createClassifier({
      model: {
        name: compiled.name,
        sha256: compiled.sha256,
        precision: compiled.precision,
        embeddingDimension: architecture.embeddingDimension,
        imageResolution: resolution,
      },
      logitScale: compiled.logitScale,
      imageEncoder,
      textEncoder,
      tokenize,
      loadPicture,
      maxCategories: config.limits.categories,
    });
    return { classifier, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
  } catch (fault) {
    await worker[Symbol.asyncDispose]();
    throw fault;
  }
}
