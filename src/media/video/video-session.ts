import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { AvError } from '../../../native/av/av-error.ts';
import { createPictureScaler, type PicturePlacement } from '../../../native/av/frame-filter.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import {
  createDecodingBudget,
  MIN_FRAME_PIXELS,
  plausibleKeyframes,
  plausiblePixels,
  plausibleSeconds,
} from './decoding-budget.ts';
import { chooseFrames } from './frame-finder.ts';
import {
  createFrameSource,
  type DecodingTally,
  decodeJpegs,
  type FrameCapture,
  type FrameJpeg,
  PICTURE_PIXELS,
  type WantedFrame,
} from './frame-source.ts';
import { keyframePositions, packetHabits } from './gaps.ts';
import { type ChosenFrame, createFrameBudget } from './scene-tracker.ts';
import { brokenVideo, IMPLAUSIBLE_WORK, tooManyPictures } from './video-errors.ts';
import { lookIntoFile, MAX_PIXELS, type PacketIndex, type VideoFile } from './video-file.ts';
import type { VideoDescription } from './video-process.ts';

/** Closer keyframes show nothing new: a scene of 0.7 s still has two of them. */
const MIN_SECONDS = 0.3;
/** Keyframes to decode for each frame that may be chosen: enough to choose from. */
const KEYFRAMES_PER_FRAME = 8;

/**
 * Chooses the keyframes to decode: all that are shown, but no more than are useful.
 * @param maximumFrames that may be chosen in all
 * @returns positions in the packet index, ascending
 */
export function chooseKeyframes(index: PacketIndex, maximumFrames: number): number[] {
  const distance = Math.max(MIN_SECONDS, (index.end - index.start) / (KEYFRAMES_PER_FRAME * maximumFrames));
  let last = Number.NEGATIVE_INFINITY;
  return keyframePositions(index).filter((at) => {
    const timestamp = index.timestamps[at]!;
    if (index.hidden[at] || timestamp - last < distance) return false;
    last = timestamp;
    return true;
  });
}

/** Selects positions evenly, for a video with more keyframes than may be decoded. */
function thinOut(positions: readonly number[], most: number): number[] {
  if (positions.length <= most) return [...positions];
  return Array.from(
    { length: most },
    (_, order) => positions[Math.floor((order * positions.length) / most)]!,
  );
}

/** A frame worth looking at, as the model's input. */
export interface FoundFrame {
  /** Seconds since the video's beginning. */
  readonly timestamp: number;
  /** Counts scenes from 0. */
  readonly scene: number;
  /** [side, side, 3] u8 RGB, row-major. */
  readonly pixels: Uint8Array;
}

interface SessionLimits {
  readonly videoSeconds: number;
  readonly threads: number;
  /** The pixels that decoding a file may cost, by its bytes and seconds; tests set it. */
  readonly pixels?: (bytes: number, seconds: number) => number;
}

/** A step of `find`: the time it has reached, in seconds, and a frame if one was chosen. */
interface FindStep {
  readonly seconds: number;
  readonly frame?: FoundFrame;
}

/** The result of `find`. */
interface FindSummary {
  readonly scenes: number;
  /** Faults of the file, as sentences for a person. */
  readonly warnings: readonly string[];
  /** How much had to be decoded. */
  readonly tally: Readonly<DecodingTally>;
}

/** An open video file. It works in this thread: every step blocks it for some milliseconds. */
export interface VideoSession extends Disposable {
  readonly description: VideoDescription;
  /** Processor time that all later work may use, in seconds: plausible for the file's size and duration. */
  readonly cpuSeconds: number;
  /**
   * Finds the frames worth looking at, in time order.
   * @param maximumFrames spread over the video
   * @throws ServiceError video_broken where nothing can be decoded
   */
  find(placement: PicturePlacement, maximumFrames: number): Generator<FindStep, FindSummary>;
  /**
   * JPEGs of found frames, by their timestamps, ascending: at full size, unless there are hundreds in 8K. Damaged
   * ones may be left out. Yields `undefined` regularly while no picture is ready.
   * @throws ServiceError video_too_large
   */
  jpegs(timestamps: readonly number[]): Generator<FrameJpeg | undefined>;
}

/** More threads than this only hold more frames. */
const MAX_THREADS = 4;
/** Decoding more packets than this again costs more than keeping a picture of the frame, which needs some 15 ms. */
const KEEP_AFTER_PACKETS = 300;
/** Frames beyond 4K need some 50 MB each, and every thread holds several. */
const LARGE_PIXELS = 4096 * 2304;
/** Making a picture of a frame costs as much as decoding this number of frames. */
const PICTURE_COST = 6;
/** All pictures of an answer together: 8,000 in 1080p. */
const MAX_PICTURE_BYTES = 2 * 1024 ** 3;
/** Processor time besides decoding: reading and comparing the heads of millions of packets. */
const CPU_SECONDS_BESIDE = 120;

/**
 * Opens a video file.
 * @param path of the file, which must exist until the session is disposed
 * @param onIndexed called regularly with the seconds that have been indexed
 * @throws ServiceError video_unsupported, video_too_large, video_broken
 */
export async function openVideoSession(
  path: string,
  limits: SessionLimits,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoSession> {
  const file = await lookIntoFile(path, limits.videoSeconds, onIndexed);
  return createSession(file, limits);
}

function createSession(file: VideoFile, limits: SessionLimits): VideoSession {
  const { pixels = plausiblePixels } = limits;
  const { index, track, codec } = file;
  const framePixels = track.codedSize.width * track.codedSize.height;
  const threads = framePixels > LARGE_PIXELS ? 1 : Math.min(limits.threads, MAX_THREADS);
  const decoding = { threads, maximumPixels: MAX_PIXELS };
  // A container's tables may refer to the same bytes repeatedly.
  const plausible = pixels(Math.min(index.bytes, file.bytes), index.end - index.start);
  const budget = createDecodingBudget(plausible);
  const looks = new Map<number, FrameCapture['look']>();
  const kept = createJpegStore(`${file.source.path}.frames`);

  function* find(placement: PicturePlacement, maximumFrames: number): Generator<FindStep, FindSummary> {
    using scaler = createPictureScaler(placement, track.orientation);
    using jpegEncoder = createJpegEncoder(track.pixelAspect, track.orientation);
    const tally: DecodingTally = { packets: 0, frames: 0, damaged: 0, pixels: 0, cutAt: undefined };
    using source = createFrameSource(file, decoding, budget, tally);
    const use = ({ timestamp, scene, capture }: ChosenFrame<FrameCapture>): FoundFrame => {
      using _held = capture;
      looks.set(timestamp, capture.look);
      if (capture.packetsDecoded > KEEP_AFTER_PACKETS) {
        kept.put(timestamp, jpegEncoder.encode(capture.frame));
        budget.spend(PICTURE_COST * capture.frame.width * capture.frame.height);
      }
      return { timestamp, scene, pixels: scaler.scale(capture.frame) };
    };
    const useful = chooseKeyframes(index, maximumFrames);
    const keyframes = thinOut(useful, plausibleKeyframes(plausible, framePixels));
    budget.reserve(keyframes.length * Math.max(framePixels, MIN_FRAME_PIXELS));
    const frameBudget = createFrameBudget(maximumFrames, index.end);
    const steps = chooseFrames({
      index,
      positions: keyframes,
      source,
      budget: frameBudget,
      habits: packetHabits(codec),
    });
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      const { seconds, chosen } = step.value;
      yield chosen ? { seconds, frame: use(chosen) } : { seconds };
    }
    if (tally.frames === 0) throw brokenVideo('is damaged: none of its frames can be decoded');
    const warnings = [
      ...file.warnings,
      ...damageWarnings(tally),
      ...workWarnings(tally, keyframes.length < useful.length),
    ];
    return { scenes: step.value.scenes, warnings, tally };
  }

  function* jpegs(timestamps: readonly number[]): Generator<FrameJpeg | undefined> {
    const missing: WantedFrame[] = [];
    let bytes = 0;
    const counted = (jpeg: Uint8Array): Uint8Array => {
      bytes += jpeg.length;
      if (bytes > MAX_PICTURE_BYTES) throw tooManyPictures(MAX_PICTURE_BYTES);
      return jpeg;
    };
    for (const timestamp of timestamps) {
      const jpeg = kept.get(timestamp);
      if (jpeg) yield { timestamp, jpeg: counted(jpeg) };
      else missing.push({ timestamp, look: looks.get(timestamp) });
    }
    // Allows every frame to be decoded again and made into a picture.
    const again = createDecodingBudget(plausible + PICTURE_COST * PICTURE_PIXELS);
    for (const picture of decodeJpegs(file, decoding, again, missing)) {
      if (picture) counted(picture.jpeg);
      yield picture;
    }
  }

  return {
    description: {
      duration: index.end,
      ...track.shownSize,
      frameRate: track.frameRate ?? index.count / Math.max(index.end - index.start, 1e-3),
      codec,
    },
    cpuSeconds: CPU_SECONDS_BESIDE + plausibleSeconds(workOf(index, framePixels, plausible)),
    find: (placement, maximumFrames) => withOurErrors(find(placement, maximumFrames)),
    jpegs: (timestamps) => withOurErrors(jpegs(timestamps)),
    [Symbol.dispose]: () => kept[Symbol.dispose](),
  };
}

/** libav's errors are the file's fault, except when memory runs out. */
function* withOurErrors<Value, Result>(steps: Generator<Value, Result>): Generator<Value, Result> {
  try {
    return yield* steps;
  } catch (fault) {
    const isVideos = fault instanceof AvError && !fault.isOutOfMemory;
    throw isVideos ? brokenVideo('is damaged and cannot be decoded', fault) : fault;
  }
}

/** Pixels to decode: once to find frames, once to decode them again, and the cost of their pictures. */
function workOf({ count }: VideoFile['index'], framePixels: number, plausible: number): number {
  const all = count * Math.max(framePixels, MIN_FRAME_PIXELS);
  return 2 * Math.min(plausible, 2 * all) + PICTURE_COST * Math.min(PICTURE_PIXELS, all);
}

function workWarnings({ cutAt }: DecodingTally, keyframesLeftOut: boolean): string[] {
  if (cutAt === undefined && !keyframesLeftOut) return [];
  const seen =
    cutAt === undefined
      ? 'only some of its keyframes were looked at'
      : `from ${cutAt.toFixed(1)} s on, only ${keyframesLeftOut ? 'some of ' : ''}its keyframes were looked at`;
  return [`Decoding the whole video takes ${IMPLAUSIBLE_WORK}: ${seen}.`];
}

function damageWarnings({ damaged, packets }: DecodingTally): string[] {
  if (damaged === 0) return [];
  return [
    `${Math.min(damaged, packets)} of the ${packets} decoded frames are damaged; they may be missing or distorted.`,
  ];
}

/** Pictures kept on disk, by their frames' timestamps. */
interface JpegStore extends Disposable {
  /** Keeps a picture if there is room for it. */
  put(timestamp: number, jpeg: Uint8Array): void;
  get(timestamp: number): Uint8Array | undefined;
}

/** 3,000 pictures in 1080p. Frames of further pictures are decoded again. */
const MAX_STORED_BYTES = 1024 ** 3;

/**
 * Keeps pictures on disk: some 300 KB a picture are too much for memory. The file is unlinked at once, so it disappears
 * with the process, however that ends.
 * @param path of the file, which exists for a moment when the first picture is stored
 */
export function createJpegStore(path: string): JpegStore {
  const places = new Map<number, { readonly position: number; readonly length: number }>();
  let descriptor: number | undefined;
  let end = 0;
  let full = false;

  const open = (): number => {
    const opened = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return opened;
  };

  return {
    put(timestamp, jpeg) {
      if (full || end + jpeg.length > MAX_STORED_BYTES) return;
      try {
        descriptor ??= open();
        const length = writeSync(descriptor, jpeg, 0, jpeg.length, end);
        if (length < jpeg.length) return;
        places.set(timestamp, { position: end, length });
        end += length;
      } catch {
        // The disk is full or not writable. The frame can be decoded again instead.
        full = true;
      }
    },
    get(timestamp) {
      const place = places.get(timestamp);
      if (!place || descriptor === undefined) return undefined;
      const jpeg = new Uint8Array(place.length);
      return readSync(descriptor, jpeg, 0, place.length, place.position) === place.length ? jpeg : undefined;
    },
    [Symbol.dispose]() {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
      places.clear();
    },
  };
}
