import type { Classifier } from './classify/classifier.ts';
import { createClassifier } from './classify/create-classifier.ts';
import { loadEncoders } from './clip/encoders.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import { resizeAndCrop } from './clip/preprocessing.ts';
import type { Config } from './config.ts';
import { createGarbageNote } from './garbage.ts';
import { createPictureLoader } from './media/picture.ts';
import { openVideo } from './media/video/video.ts';

/** About once a second at full speed with photos of 1 MB. */
const garbageBytesPerCollection = 48 * 1024 ** 2;

/** A loaded model with everything that answers questions by it. */
export interface Engine extends AsyncDisposable {
  readonly classifier: Classifier;
}

/** Joins a compiled model's encoders and the picture decoder into a classifier. */
export async function startEngine(compiled: CompiledModel, config: Config): Promise<Engine> {
  const { imageResolution } = compiled.architecture.vision;
  const geometry = (width: number, height: number) => resizeAndCrop(width, height, imageResolution);
  const loadPicture = createPictureLoader({
    geometry,
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
    openVideo: (path, options) =>
      openVideo(path, { limits: config.limits, threads: config.threads, ...options }),
    framing: { geometry, side: imageResolution },
    videosAtOnce: videosAtOnce(config.threads, process.constrainedMemory()),
    maxCategories: config.limits.categories,
    noteGarbage: createGarbageNote(garbageBytesPerCollection),
  });
  return { classifier, [Symbol.asyncDispose]: () => encoders[Symbol.asyncDispose]() };
}

/** What one may take while it is decoded. */
const videoBytes = 900 * 1024 ** 2;
/** What all else may take. */
const serviceBytes = 700 * 1024 ** 2;

/** A second video is worth its memory where there are cores for it, too. Twice at the most: disks are slow. */
function videosAtOnce(threads: number, memoryBytes: number): number {
  const room = Math.min(threads / 2, (memoryBytes - serviceBytes) / videoBytes);
  return Math.min(2, Math.max(1, Math.floor(room)));
}
