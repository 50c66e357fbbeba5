import type { ImageEncoder } from '../clip/image-encoder.ts';
import { ServiceError } from '../errors.ts';
import type { Semaphore } from '../semaphore.ts';
import type { Categories, LabelOptions } from './classifier.ts';
import { rankEach } from './rank-each.ts';
import type { SearchVideo } from './video-search.ts';
import type { OpenVideo, VideoSource } from './video-source.ts';

export interface VideoSearchParts {
  readonly openVideo: OpenVideo;
  /** As many videos are decoded at a time; each takes cores, and memory for some full-size frames. */
  readonly places: Semaphore;
  readonly imageEncoder: ImageEncoder;
  readonly logitScale: number;
  /** One embedding [D] a label. */
  readonly encodeLabels: (
    categories: Categories,
    options: LabelOptions,
    signal: AbortSignal,
  ) => Promise<readonly Float32Array[]>;
}

/** A frame of which 2 KB are left. */
interface EncodedFrame {
  readonly timestamp: number;
  /** [D] float32, L2-normalised. */
  readonly embedding: Float32Array;
}

export function createVideoSearch(parts: VideoSearchParts): SearchVideo {
  const { openVideo, places, imageEncoder, logitScale, encodeLabels } = parts;

  return async (path, categories, { signal, onProgress = () => undefined, ...options }) => {
    onProgress({ stage: 'waiting' });
    await using held = new AsyncDisposableStack();
    held.use(await places.acquire(1, signal));
    signal.throwIfAborted();
    const source = held.use(await openVideo(path, signal));
    const { duration } = source.description;
    const tell = (secondsDone: number, frames: number) =>
      onProgress({ stage: 'searching', secondsDone, secondsTotal: duration, frames });

    tell(0, 0);
    const failure = new AbortController();
    const either = AbortSignal.any([signal, failure.signal]);
    const [frames, labels] = await bothOrNeither(
      encodeFrames(source, imageEncoder, either, tell),
      encodeLabels(categories, options, either),
      failure,
    );
    if (frames.length === 0) {
      throw new ServiceError('video_broken', 'The video cannot be used: no frame of it can be decoded.');
    }

    const rankings = await rankEach(
      { names: categories.labels, embeddings: labels },
      {
        names: frames.map(({ timestamp }) => timestamp),
        embeddings: frames.map(({ embedding }) => embedding),
      },
      { logitScale, limit: options.limit, signal },
    );
    const kept = held.move();
    return {
      video: source.description,
      framesConsidered: frames.length,
      scenes: source.scenes,
      warnings: source.warnings,
      rankings: rankings.map(({ name: category, candidates }) => ({
        category,
        frames: candidates.map(({ name: timestamp, score, similarity }) => ({
          timestamp,
          score,
          similarity,
        })),
      })),
      jpegAt: (timestamp) => source.jpegAt(timestamp, signal),
      [Symbol.asyncDispose]: () => kept.disposeAsync(),
    };
  };
}

/**
 * Encodes the frames while the decoding goes on: each goes straight into a slot of the arena, and slots are
 * what the decoder waits for.
 * @returns in the order of time
 */
async function encodeFrames(
  source: VideoSource,
  imageEncoder: ImageEncoder,
  signal: AbortSignal,
  tell: (secondsDone: number, frames: number) => void,
): Promise<readonly EncodedFrame[]> {
  const encoding: Promise<EncodedFrame>[] = [];
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  let done = 0;
  const onProgress = (secondsDone: number) => {
    done = Math.max(done, secondsDone);
    tell(done, encoding.length);
  };
  for await (const frame of source.frames({ signal: either, onProgress })) {
    either.throwIfAborted();
    using slot = await imageEncoder.acquireSlot(either);
    await frame.fill(slot.pixels);
    const { timestamp } = frame;
    const encoded = slot.encode(either).then((embedding) => ({ timestamp, embedding }));
    // Where one fails, decoding the others is in vain; who awaits them all is told.
    encoded.catch((fault: unknown) => failure.abort(fault));
    encoding.push(encoded);
    tell(done, encoding.length);
  }
  const frames = await Promise.all(encoding);
  return frames.toSorted((a, b) => a.timestamp - b.timestamp);
}

/** Waits for both; where one fails, the other is told and waited for, so that nothing of it is still in use. */
async function bothOrNeither<A, B>(a: Promise<A>, b: Promise<B>, failure: AbortController): Promise<[A, B]> {
  try {
    return await Promise.all([a, b]);
  } catch (fault) {
    failure.abort(fault);
    await Promise.allSettled([a, b]);
    throw fault;
  }
}
