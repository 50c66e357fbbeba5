import type { Classifier } from './classify/classifier.ts';
import { createClassifier } from './classify/create-classifier.ts';
import { loadEncoders } from './clip/encoders.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import { resizeAndCrop } from './clip/preprocessing.ts';
import type { Config } from './config.ts';
import { type EngineObserver, unobserved } from './engine-observer.ts';
import { createGarbageNote } from './garbage.ts';
import type { Log } from './log.ts';
import { createPictureLoader, isIsolatedPicture } from './media/picture/picture.ts';
import { createPictureProcesses } from './media/picture/picture-process.ts';
import { openVideo, videoMemoryBytes } from './media/video/video.ts';
import { createVideoPlaces } from './media/video/video-places.ts';
import { memoryLimitBytes } from './memory-limit.ts';

/** About once a second at full speed with photos of 1 MB. */
const garbageBytesPerCollection = 48 * 1024 ** 2;

/** A loaded model with everything that answers questions by it. */
export interface Engine extends AsyncDisposable {
  readonly classifier: Classifier;
}

/** Joins a compiled model's encoders and the picture decoder into a classifier. */
export async function startEngine(
  compiled: CompiledModel,
  config: Config,
  log: Log,
  observer: EngineObserver = unobserved,
): Promise<Engine> {
  const { imageResolution } = compiled.architecture.vision;
  const geometry = (width: number, height: number) => resizeAndCrop(width, height, imageResolution);
  // The rest is the model's and that of what arrives meanwhile.
  const maxDecodeBytes = config.memoryBytes * 0.4;
  const isolated = createPictureProcesses({
    processes: pictureProcesses(config),
    memoryBytes: maxDecodeBytes,
    onDeath: (how) => log.info({ reason: how }, 'a picture ended its decoder, in a process of its own'),
  });
  const loadPicture = createPictureLoader({
    geometry,
    limits: config.limits,
    isolated,
    decodeBytes: config.memoryBytes / 5,
    maxDecodeBytes,
  });
  const onBreakdown = (fault: Error) => {
    log.error({ reason: fault.message }, 'inference broke down and is restarted');
    observer.inferenceBrokeDown();
  };
  const encoders = await loadEncoders(compiled, config.threads, onBreakdown, observer);
  const classifier = createClassifier({
    model: {
      name: compiled.name,
      sha256: compiled.sha256,
      precision: compiled.precision,
      embeddingDimension: compiled.architecture.embeddingDimension,
      imageResolution,
      ...(compiled.precisionReport && { precisionReport: compiled.precisionReport }),
    },
    logitScale: compiled.logitScale,
    imageEncoder: encoders.imageEncoder,
    labelEncoder: encoders.labelEncoder,
    loadPicture,
    isIsolated: isIsolatedPicture,
    isolatedAtOnce: 2 * isolated.processes,
    openVideo: (path, options) =>
      openVideo(path, { limits: config.limits, threads: config.threads, ...options }),
    framing: { geometry, side: imageResolution },
    videoPlaces: createVideoPlaces({
      running: videosAtOnce(config.threads),
      memoryBytes: videosAtOnce(config.threads) * videoMemoryBytes,
    }),
    maxCategories: config.limits.categories,
    undecodedBytes: config.memoryBytes / 16,
    noteGarbage: createGarbageNote(garbageBytesPerCollection),
    observer,
  });
  return {
    classifier,
    async [Symbol.asyncDispose]() {
      await Promise.all([isolated[Symbol.asyncDispose](), encoders[Symbol.asyncDispose]()]);
    },
  };
}

/** What a process that decodes pictures may keep of the memory between two of them, with its runtime. */
const pictureProcessBytes = 512 * 1024 ** 2;

/** One for each core, and no more than there is room for: 2 in 1 GiB, 4 in 2. */
function pictureProcesses({ threads, memoryBytes }: Config): number {
  return Math.max(1, Math.min(threads, Math.floor(memoryBytes / pictureProcessBytes)));
}

/** What all else but videos may take at the worst. */
const serviceBytes = 700 * 1024 ** 2;

/** A second one is for machines with more than the service is made for. More than two only wait for the disk. */
function videosAtOnce(threads: number): number {
  const room = Math.min(threads / 2, (memoryLimitBytes() - serviceBytes) / videoMemoryBytes);
  return Math.min(2, Math.max(1, Math.floor(room)));
}
