import type { ImageEncoder } from '../clip/image-encoder.ts';
import { type EngineObserver, unobserved } from '../engine-observer.ts';
import { ServiceError } from '../errors.ts';
import type { FrameProgress, FramesOptions, OpenVideoOptions, VideoReader } from '../media/video/video.ts';
import { CrowdedOut, type VideoPlaces } from '../media/video/video-places.ts';
import type {
  Categories,
  FrameJpeg,
  LabelOptions,
  SearchProgress,
  SearchVideo,
  WorkTimes,
} from './classifier.ts';
import { rankEach } from './ranking.ts';

/** What of an open video the search needs. */
export type VideoSource = Pick<VideoReader, 'description' | 'scenes' | 'warnings' | 'frames' | 'jpegs'> &
  AsyncDisposable;

/** @throws ServiceError video_unsupported, video_broken, video_too_large; the signal's reason */
export type OpenVideo = (
  path: string,
  options: Required<Pick<OpenVideoOptions, 'signal' | 'onProgress' | 'place'>>,
) => Promise<VideoSource>;

export interface VideoSearchParts {
  readonly openVideo: OpenVideo;
  /** What of a frame the model sees. */
  readonly framing: FramesOptions;
  readonly places: VideoPlaces;
  readonly imageEncoder: ImageEncoder;
  readonly logitScale: number;
  /** One embedding [D] a label. */
  readonly encodeLabels: (
    categories: Categories,
    options: LabelOptions,
    signal: AbortSignal,
    times?: WorkTimes,
  ) => Promise<readonly Float32Array[]>;
  readonly observer?: EngineObserver;
}

/** A frame of which 2 KB are left. */
interface EncodedFrame {
  readonly timestamp: number;
  /** [D] float32, L2-normalised. */
  readonly embedding: Float32Array;
}

export function createVideoSearch(parts: VideoSearchParts): SearchVideo {
  const { openVideo, framing, places, imageEncoder, logitScale, encodeLabels, observer = unobserved } = parts;

  return async (path, categories, { signal, onProgress = () => undefined, onBegin, times, ...options }) => {
    /** Opens the video, which may be open beside others. */
    const open = async (openSignal: AbortSignal, expectedBytes?: number): Promise<OpenSource> => {
      onProgress({ stage: 'waiting' });
      await using held = new AsyncDisposableStack();
      const askedAt = performance.now();
      const place = held.use(await places.enter(signal, expectedBytes));
      if (times) times.queueMs += performance.now() - askedAt;
      onBegin?.();
      const source = held.use(
        await openVideo(path, {
          signal: openSignal,
          onProgress: (progress) => onProgress(searchProgress(progress)),
          place,
        }),
      );
      const kept = held.move();
      return { source, [Symbol.asyncDispose]: () => kept.disposeAsync() };
    };

    /** From the beginning: of an attempt that was ended for others' sake nothing is left. */
    const search = async (expectedBytes?: number) => {
      const failure = new AbortController();
      const either = AbortSignal.any([signal, failure.signal]);
      await using held = new AsyncDisposableStack();
      const { source } = held.use(await open(either, expectedBytes));
      const [frames, labels] = await bothOrNeither(
        encodeFrames(source.frames(framing), imageEncoder, either, failure, times),
        encodeLabels(categories, options, either, times),
        failure,
      );
      const kept = held.move();
      return { source, frames, labels, [Symbol.asyncDispose]: () => kept.disposeAsync() };
    };

    await using held = new AsyncDisposableStack();
    const found = held.use(await unlessCrowded(search, undefined));
    const { source, frames, labels } = found;
    observer.framesEncoded(frames.length);
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

    async function* jpegs(timestamps: readonly number[]): AsyncGenerator<FrameJpeg> {
      const missing = new Set(timestamps);
      /** What one way of opening the video gives of them. */
      async function* from(opened: VideoSource): AsyncGenerator<FrameJpeg> {
        for await (const frame of opened.jpegs(missing)) {
          missing.delete(frame.timestamp);
          yield frame;
        }
      }
      try {
        yield* from(source);
      } catch (fault) {
        if (!(fault instanceof CrowdedOut)) throw fault;
        await found[Symbol.asyncDispose]();
        const again = await unlessCrowded((bytes) => open(signal, bytes), fault.bytes);
        kept.use(again);
        yield* from(again.source);
      }
      const [first] = missing;
      if (first !== undefined) throw undecodable(first);
    }

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
      jpegs,
      [Symbol.asyncDispose]: () => kept.disposeAsync(),
    };
  };
}

interface OpenSource extends AsyncDisposable {
  readonly source: VideoSource;
}

/** Tries again, in a place of the memory that it takes, as often as others crowd it out. */
async function unlessCrowded<Result>(
  attempt: (expectedBytes: number | undefined) => Promise<Result>,
  bytes: number | undefined,
): Promise<Result> {
  for (let expectedBytes = bytes; ; ) {
    try {
      return await attempt(expectedBytes);
    } catch (fault) {
      if (!(fault instanceof CrowdedOut)) throw fault;
      expectedBytes = Math.max(fault.bytes, expectedBytes ?? 0);
    }
  }
}

/**
 * Encodes the frames while the decoding goes on, which waits where slots are taken.
 * @param failure aborted with the fault of the first frame that cannot be encoded
 * @param times as long as the decoder has to be waited for, it decodes
 * @returns in the order of the frames
 */
async function encodeFrames(
  frames: ReturnType<VideoSource['frames']>,
  imageEncoder: ImageEncoder,
  signal: AbortSignal,
  failure: AbortController,
  times: WorkTimes | undefined,
): Promise<readonly EncodedFrame[]> {
  const encoding: Promise<EncodedFrame>[] = [];
  let askedAt = performance.now();
  for await (const { timestamp, pixels } of frames) {
    if (times) times.decodeMs += performance.now() - askedAt;
    using slot = await imageEncoder.acquireSlot(signal);
    slot.pixels.set(pixels);
    const encoded = slot.encode(signal, times).then((embedding) => ({ timestamp, embedding }));
    // Where one fails, decoding the others is in vain; who awaits them all is told.
    encoded.catch((fault: unknown) => failure.abort(fault));
    encoding.push(encoded);
    askedAt = performance.now();
  }
  return await Promise.all(encoding);
}

/** Frames that were decoded once are expected to be decodable again. */
function undecodable(timestamp: number): ServiceError {
  return new ServiceError(
    'video_broken',
    `The video is damaged: its frame at ${timestamp.toFixed(3)} s cannot be decoded at full size.`,
  );
}

function searchProgress({ stage, secondsDone, secondsTotal = 0, frames }: FrameProgress): SearchProgress {
  return stage === 'indexing'
    ? { stage, secondsDone }
    : { stage: 'searching', secondsDone, secondsTotal, frames };
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
