import type { Classifier } from './classify/classifier.ts';
import { createClipClassifier } from './classify/clip-classifier.ts';
import { loadEncoders } from './clip/encoders.ts';
import { familyNamed } from './clip/family.ts';
import type { CompiledModel } from './clip/graph/compiled-model.ts';
import type { Config } from './config.ts';
import type { Fit } from './contract/options.ts';
import { type EngineObserver, unobserved } from './engine-observer.ts';
import { createGarbageNote } from './garbage.ts';
import type { Log } from './log.ts';
import {
  createMemoryReserve,
  createPictureLoader,
  encodeThumbnail,
  isIsolatedPicture,
  needsThumbnail,
} from './media/picture/picture.ts';
import { createPictureProcesses } from './media/picture/picture-process.ts';
import { openVideo } from './media/video/video.ts';
import { createVideoPlaces } from './media/video/video-places.ts';

/** A loaded model and the classifier around it. */
export interface Engine extends AsyncDisposable {
  readonly classifier: Classifier;
}

/** Starts the encoders of a compiled model and joins them with the decoders of pictures and videos. */
export async function startEngine(
  compiled: CompiledModel,
  config: Config,
  log: Log,
  observer: EngineObserver = unobserved,
): Promise<Engine> {
  const { imageResolution } = compiled.architecture.vision;
  const family = familyNamed(compiled.family);
  const geometry = (width: number, height: number, fit: Fit) =>
    family.placePicture(width, height, imageResolution, fit);
  const { limits, memory, threads } = config;
  const isolated = createPictureProcesses({
    processes: memory.pictureProcesses,
    memoryBytes: memory.maxDecodeBytes,
    onDeath: (how) => log.info({ reason: how }, 'a picture ended the process that decoded it'),
  });
  const videoPlaces = createVideoPlaces({
    running: memory.videosAtOnce,
    memoryBytes: memory.videoBytes,
    pictureBytes: memory.largePictureBytes,
  });
  const pictures = { geometry, limits, maxDecodeBytes: memory.maxDecodeBytes };
  const onBreakdown = (fault: Error) => {
    log.error({ reason: fault.message }, 'inference failed; restarting it');
    observer.inferenceBrokeDown();
  };
  const encoders = await loadEncoders(compiled, {
    threads,
    copiesBytes: memory.towerCopiesBytes,
    onBreakdown,
    onCopied: (copies) => log.info({ copies }, 'pictures queue: the vision tower has copies'),
    observer,
  });
  const classifier = createClipClassifier({
    model: {
      name: compiled.name,
      sha256: compiled.sha256,
      precision: compiled.precision,
      embeddingDimension: compiled.architecture.embeddingDimension,
      imageResolution,
      logitScale: compiled.logitScale,
      ...(compiled.precisionReport && { precisionReport: compiled.precisionReport }),
    },
    score: family.createScore(compiled),
    imageEncoder: encoders.imageEncoder,
    labelEncoder: encoders.labelEncoder,
    loadPicture: createPictureLoader({ ...pictures, isolated, decodeBytes: memory.decodeBytes }),
    reserveMemory: createMemoryReserve({
      ...pictures,
      squarePixels: imageResolution ** 2,
      usualBytes: memory.usualPictureBytes,
      lend: videoPlaces.lend,
    }),
    isIsolated: isIsolatedPicture,
    needsThumbnail,
    encodeThumbnail,
    isolatedAtOnce: memory.isolatedAtOnce,
    openVideo: (path, options) =>
      openVideo(path, { limits, threads, process: { memoryBytes: memory.videoProcessBytes }, ...options }),
    framing: { geometry, side: imageResolution },
    videoPlaces,
    maxCategories: limits.categories,
    undecodedBytes: memory.undecodedBytes,
    tiledBytes: memory.tiledBytes,
    noteGarbage: createGarbageNote(memory.garbageBytes),
    observer,
  });
  return {
    classifier,
    async [Symbol.asyncDispose]() {
      await Promise.all([isolated[Symbol.asyncDispose](), encoders[Symbol.asyncDispose]()]);
    },
  };
}
