import type { Score } from '../clip/family.ts';
import type { ImageEncoder } from '../clip/image-encoder.ts';
import type { EngineObserver } from '../engine-observer.ts';
import { ServiceError } from '../errors.ts';
import { copyTile } from '../media/tiles.ts';
import type { FramesOptions, OpenVideoOptions, VideoReader } from '../media/video/video.ts';
import { CrowdedOut, type VideoPlaces } from '../media/video/video-places.ts';
import type { WorkContext } from '../work-context.ts';
import type { Categories, FrameJpeg, LabelOptions, RankingOptions, SearchVideo } from './classifier.ts';
import { joinTiles } from './decide.ts';
import { CLOSER_LOOKS, closerLook, type EncodedFrame, rankFrames } from './frame-ranking.ts';
import type { Background } from './ranking.ts';

/** The part of an open video that the search uses. */
export type VideoSource = Pick<
  VideoReader,
  'description' | 'scenes' | 'warnings' | 'frames' | 'refine' | 'jpegs'
> &
  AsyncDisposable;

/** @throws ServiceError video_unsupported, video_broken, video_too_large; the signal's reason */
export type OpenVideo = (
  path: string,
  options: Required<Pick<OpenVideoOptions, 'signal' | 'onProgress' | 'place'>>,
) => Promise<VideoSource>;

export type Framing = Pick<FramesOptions, 'geometry' | 'side'>;

interface VideoSearchParts {
  readonly openVideo: OpenVideo;
  /** The part of a frame that the model sees. */
  readonly framing: Framing;
  readonly places: Pick<VideoPlaces, 'enter'>;
  readonly imageEncoder: ImageEncoder;
  readonly score: Score;
  /** @returns one embedding [D] for each label */
  readonly encodeLabels: (
    categories: Categories,
    options: LabelOptions,
    work: WorkContext,
  ) => Promise<readonly Float32Array[]>;
  /** @returns what frames compete with; undefined if they compete with each other */
  readonly backgroundOf: (options: RankingOptions, work: WorkContext) => Promise<Background | undefined>;
  readonly observer: EngineObserver;
}

/** The most squares that the model looks at, one of each frame or several: 8 a batch, some 6 s of work on two cores. */
const MAX_SQUARES = 512;
const MAX_THOROUGH_SQUARES = 2048;
/** The share of them that is spread over the video. The rest is for a closer look at what fits best. */
const FIRST_PASS = 3 / 8;

const MANY_CATEGORIES =
  'The frames around the best ones of some categories were not looked at, because the model looks at a limited number of frames; thorough=true, or fewer categories in a request, raise it.';

export function createVideoSearch(parts: VideoSearchParts): SearchVideo {
  const { openVideo, framing, places, imageEncoder, score, encodeLabels, backgroundOf, observer } = parts;

  return async (
    path,
    categories,
    { onProgress = () => undefined, onBegin, thorough = false, fit = 'crop', ...options },
    work,
  ) => {
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
      const place = framing.geometry(source.description.width, source.description.height, fit);
      const encode = (found: ReturnType<VideoSource['frames']>) =>
        encodeFrames(found, { imageEncoder, place }, both, failure);
      const maximumSquares = thorough ? MAX_THOROUGH_SQUARES : MAX_SQUARES;
      const maximumFrames = Math.floor(maximumSquares / (place.tiles ?? 1));
      const first = { ...framing, fit, maximumFrames: Math.floor(maximumFrames * FIRST_PASS), thorough };
      const [coarse, labels] = await bothOrNeither(
        encode(source.frames(first)),
        encodeLabels(categories, options, both),
        failure,
      );
      let frames = coarse;
      let isComplete = true;
      for (const look of CLOSER_LOOKS) {
        const { ranges, leftOut } = await closerLook(
          frames,
          labels,
          {
            ...look,
            duration: source.description.duration,
            frameRate: source.description.frameRate,
            maximumFrames: maximumFrames - frames.length,
          },
          both,
        );
        isComplete &&= leftOut === 0;
        if (ranges.length === 0) continue;
        const further = await encode(source.refine(ranges));
        frames = [...frames, ...further].sort((a, b) => a.timestamp - b.timestamp);
      }
      const kept = held.move();
      return { source, frames, labels, isComplete, [Symbol.asyncDispose]: () => kept.disposeAsync() };
    };

    await using held = new AsyncDisposableStack();
    const found = held.use(await unlessCrowded(search, undefined));
    const { source, frames, labels, isComplete } = found;
    observer.framesEncoded(frames.length);
    if (frames.length === 0) {
      throw new ServiceError('video_broken', 'The video cannot be used: no frame of it can be decoded.');
    }
    const rankings = await rankFrames(
      frames,
      { names: categories.labels, embeddings: labels },
      {
        score,
        limit: options.limit,
        duration: source.description.duration,
        background: await backgroundOf(options, work),
      },
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
      // Pictures may add warnings.
      get warnings() {
        return isComplete ? source.warnings : [...source.warnings, MANY_CATEGORIES];
      },
      rankings,
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
  {
    imageEncoder,
    place,
  }: { readonly imageEncoder: ImageEncoder; readonly place: ReturnType<Framing['geometry']> },
  { signal, times }: WorkContext,
  failure: AbortController,
): Promise<readonly EncodedFrame[]> {
  const encoding: Promise<EncodedFrame>[] = [];
  let askedAt = performance.now();
  for await (const { timestamp, pixels } of frames) {
    if (times) times.decodeMs += performance.now() - askedAt;
    const { resizedWidth: width, resizedHeight: height, tiles = 1 } = place;
    const squares: Promise<Float32Array>[] = [];
    for (let order = 0; order < tiles; order++) {
      using slot = await imageEncoder.acquireSlot(signal);
      if (tiles === 1) slot.pixels.set(pixels);
      else copyTile({ width, height, pixels, tiles }, order, slot.pixels);
      const encoded = slot.encode(signal, times);
      // If one frame fails, decoding ends; `Promise.all` throws the error.
      encoded.catch((fault: unknown) => failure.abort(fault));
      squares.push(encoded);
    }
    const frame = Promise.all(squares).then((all) => ({ timestamp, embedding: joinTiles(all) }));
    frame.catch(() => undefined);
    encoding.push(frame);
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
