import type { Score } from '../clip/family.ts';
import type { ImageEncoder } from '../clip/image-encoder.ts';
import type { EngineObserver } from '../engine-observer.ts';
import { ServiceError } from '../errors.ts';
import type { FramesOptions, OpenVideoOptions, VideoReader } from '../media/video/video.ts';
import { CrowdedOut, type VideoPlaces } from '../media/video/video-places.ts';
import type { WorkContext } from '../work-context.ts';
import type { Categories, FrameJpeg, LabelOptions, SearchVideo } from './classifier.ts';
import { rankEach } from './ranking.ts';

/** The part of an open video that the search uses. */
export type VideoSource = Pick<VideoReader, 'description' | 'scenes' | 'warnings' | 'frames' | 'jpegs'> &
  AsyncDisposable;

/** @throws ServiceError video_unsupported, video_broken, video_too_large; the signal's reason */
export type OpenVideo = (
  path: string,
  options: Required<Pick<OpenVideoOptions, 'signal' | 'onProgress' | 'place'>>,
) => Promise<VideoSource>;

interface VideoSearchParts {
  readonly openVideo: OpenVideo;
  /** The part of a frame that the model sees. */
  readonly framing: FramesOptions;
  readonly places: VideoPlaces;
  readonly imageEncoder: ImageEncoder;
  readonly score: Score;
  /** @returns one embedding [D] for each label */
  readonly encodeLabels: (
    categories: Categories,
    options: LabelOptions,
    work: WorkContext,
  ) => Promise<readonly Float32Array[]>;
  readonly observer: EngineObserver;
}

/** A frame, as its embedding of 2 KB. */
interface EncodedFrame {
  readonly timestamp: number;
  /** [D] float32, L2-normalised. */
  readonly embedding: Float32Array;
}

export function createVideoSearch(parts: VideoSearchParts): SearchVideo {
  const { openVideo, framing, places, imageEncoder, score, encodeLabels, observer } = parts;

  return async (path, categories, { onProgress = () => undefined, onBegin, ...options }, work) => {
    const { signal, times } = work;
    /** Waits for a place and opens the video. */
    const open = async (openSignal: AbortSignal, expectedBytes?: number): Promise<OpenSource> => {
      onProgress({ stage: 'waiting' });
      await using held = new AsyncDisposableStack();
      const askedAt = performance.now();
      const place = held.use(await places.enter(signal, expectedBytes));
      if (times) times.queueMs += performance.now() - askedAt;
      onBegin?.();
      const source = held.use(await openVideo(path, { signal: openSignal, onProgress, place }));
      const kept = held.move();
      return { source, [Symbol.asyncDispose]: () => kept.disposeAsync() };
    };

    /** Searches from the beginning. An attempt that had to give its memory to others leaves nothing. */
    const search = async (expectedBytes?: number) => {
      const failure = new AbortController();
      const both = { ...work, signal: AbortSignal.any([signal, failure.signal]) };
      await using held = new AsyncDisposableStack();
      const { source } = held.use(await open(both.signal, expectedBytes));
      const [frames, labels] = await bothOrNeither(
        encodeFrames(source.frames(framing), imageEncoder, both, failure),
        encodeLabels(categories, options, both),
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
      { score, limit: options.limit },
      work,
    );

    async function* jpegs(timestamps: readonly number[]): AsyncGenerator<FrameJpeg> {
      const missing = new Set(timestamps);
      /** Yields the missing frames as long as this opening of the video lasts. */
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
      get warnings() {
        return source.warnings;
      },
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

/** Tries again whenever other videos need its memory. The next place has the memory that it has needed so far. */
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
 * Encodes frames while later ones are decoded; decoding waits while all slots are taken. The time that this waits for
 * the decoder counts as decoding.
 * @param failure aborted with the error of the first frame that cannot be encoded
 * @returns in the order of the frames
 */
async function encodeFrames(
  frames: ReturnType<VideoSource['frames']>,
  imageEncoder: ImageEncoder,
  { signal, times }: WorkContext,
  failure: AbortController,
): Promise<readonly EncodedFrame[]> {
  const encoding: Promise<EncodedFrame>[] = [];
  let askedAt = performance.now();
  for await (const { timestamp, pixels } of frames) {
    if (times) times.decodeMs += performance.now() - askedAt;
    using slot = await imageEncoder.acquireSlot(signal);
    slot.pixels.set(pixels);
    const encoded = slot.encode(signal, times).then((embedding) => ({ timestamp, embedding }));
    // If one frame fails, decoding ends; `Promise.all` throws the error.
    encoded.catch((fault: unknown) => failure.abort(fault));
    encoding.push(encoded);
    askedAt = performance.now();
  }
  return await Promise.all(encoding);
}

/** A frame that was decoded once can be decoded again, unless the file is damaged. */
function undecodable(timestamp: number): ServiceError {
  return new ServiceError(
    'video_broken',
    `The video is damaged: its frame at ${timestamp.toFixed(3)} s cannot be decoded at full size.`,
  );
}

/** Waits for both. If one fails, it aborts the other and waits until that uses nothing any more. */
async function bothOrNeither<A, B>(a: Promise<A>, b: Promise<B>, failure: AbortController): Promise<[A, B]> {
  try {
    return await Promise.all([a, b]);
  } catch (fault) {
    failure.abort(fault);
    await Promise.allSettled([a, b]);
    throw fault;
  }
}
