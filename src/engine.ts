import type { Classifier } from './classify/classifier.ts';
import { createClassifier } from './classify/create-classifier.ts';
import { loadEncoders } from './clip/encoders.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import { resizeAndCrop } from './clip/preprocessing.ts';
import type { Config } from './config.ts';
import { ServiceError } from './errors.ts';
import { createGarbageNote } from './garbage.ts';
import { createPictureLoader } from './media/picture.ts';

/** About once a second at full speed with photos of 1 MB. */
const garbageBytesPerCollection = 48 * 1024 ** 2;

/** A loaded model with everything that answers questions by it. */
export interface Engine extends AsyncDisposable {
  readonly classifier: Classifier;
}

/** Joins a compiled model's encoders and the picture decoder into a classifier. */
export async function startEngine(compiled: CompiledModel, config: Config): Promise<Engine> {
  const { imageResolution } = compiled.architecture.vision;
  const loadPicture = createPictureLoader({
    geometry: (width, height) => resizeAndCrop(width, height, imageResolution),
    limits: config.limits,
  });
  const encoders = await loadEncoders(compiled, config.threads);
  const classifier = createClassifier({
    model: {
      name: compiled.name,
      sha256: compiled.sha256,
      precision: compiled.precision,
      embeddingDimension: compiled.architecture.embeddingDimension,
      imageResolution,
    },
    logitScale: compiled.logitScale,
    imageEncoder: encoders.imageEncoder,
    textEncoder: encoders.textEncoder,
    tokenize: encoders.tokenize,
    loadPicture,
    openVideo: () => Promise.reject(new ServiceError('video_unsupported', 'No video can be read yet.')),
    videosAtOnce: videosAtOnce(config.threads),
    maxCategories: config.limits.categories,
    noteGarbage: createGarbageNote(garbageBytesPerCollection),
  });
  return { classifier, [Symbol.asyncDispose]: () => encoders[Symbol.asyncDispose]() };
}

/** A video decoded keeps a core or two busy, beside inference, and takes some hundred megabytes at 4K. */
function videosAtOnce(threads: number): number {
  return Math.min(2, Math.max(1, Math.floor(threads / 2)));
}
