import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { AvError } from '../../../native/av/av-error.ts';
import {
  createPictureScaler,
  createThumbnailer,
  type PicturePlacement,
} from '../../../native/av/frame-filter.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import { invariant } from '../../errors.ts';
import {
  createDecodingBudget,
  MIN_FRAME_PIXELS,
  plausibleKeyframes,
  plausiblePixels,
  plausibleSeconds,
} from './decoding-budget.ts';
import {
  type ChosenFrame,
  chooseFrames,
  type FrameSource,
  SAME_DIFFERENCE,
  type SeenFrame,
} from './frame-finder.ts';
import {
  createFrameSource,
  type DecodingTally,
  decodeJpegs,
  type FrameCapture,
  type FrameJpeg,
  type FrameLook,
  LOOK_SIZE,
  PICTURE_PIXELS,
  type WantedFrame,
} from './frame-source.ts';
import { firstKeyframe, keyframePositions, planDecoding, SAMPLE_SECONDS } from './gaps.ts';
import { difference, makeThumbnail, type Thumbnail, thumbnailSize } from './thumbnail.ts';
import { brokenVideo, IMPLAUSIBLE_WORK, tooManyPictures } from './video-errors.ts';
import { lookIntoFile, MAX_PIXELS, type PacketIndex, type VideoFile } from './video-file.ts';
import type { Range, VideoDescription } from './video-process.ts';

/** Keyframes to decode for each frame that may be chosen: enough to choose from. */
const KEYFRAMES_PER_FRAME = 8;

/**
 * Chooses the keyframes to decode: all that are shown, but no more than are useful.
 * @param maximumFrames that may be chosen in all
 * @returns positions in the packet index, ascending
 */
export function chooseKeyframes(index: PacketIndex, maximumFrames: number): number[] {
  const distance = Math.max(
    SAMPLE_SECONDS,
    (index.end - index.start) / (KEYFRAMES_PER_FRAME * maximumFrames),
  );
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
  /** [side, side, 3] u8 RGB, row-major; if there are several squares, the picture that they are cut out of. */
  readonly pixels: Uint8Array;
}

interface SessionLimits {
  readonly videoSeconds: number;
  readonly threads: number;
  /** The pixels that decoding a file may cost, by its bytes and seconds; tests set it. */
  readonly pixels?: (bytes: number, seconds: number) => number;
  /** The most bytes that all frames of a video may need to be held in memory; tests set it. */
  readonly heldBytes?: number;
}

/** A step of `find` or `refine`: the time it has reached, in seconds, and a frame if one was chosen. */
export interface FindStep {
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

/** The result of `refine`. */
interface RefineSummary {
  /** The ranges that would have cost too much, if parts of the video are unseen. */
  readonly leftOut: number;
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
  find(
    placement: PicturePlacement,
    maximumFrames: number,
    thorough?: boolean,
  ): Generator<FindStep, FindSummary>;
  /**
   * Finds all frames in parts of the video, after `find`, ascending. Frames found before are left out.
   * @param ranges the most important first: the last ones are left out when the video has cost too much
   */
  refine(ranges: readonly Range[]): Generator<FindStep, RefineSummary>;
  /**
   * JPEGs of found frames, by their timestamps, ascending: at full size, unless there are hundreds in 8K. Damaged
   * ones may be left out. Yields `undefined` regularly while no picture is ready.
   * @throws ServiceError video_too_large
   */
  jpegs(timestamps: readonly number[]): Generator<FrameJpeg | undefined>;
}

/** More threads than this only hold more frames. */
const MAX_THREADS = 4;
/**
 * Decoding more packets than this again, once for all pictures of an answer, costs more than keeping a picture of every
 * frame that the model looks at, which needs some 15 ms each.
 */
const KEEP_AFTER_PACKETS = 1500;
/** Frames beyond 4K need some 50 MB each, and every thread holds several. */
const LARGE_PIXELS = 4096 * 2304;
/** Of smaller frames, threads cost more than they decode. */
const SMALL_PIXELS = 640 * 360;
/** Making a picture of a frame costs as much as decoding this number of frames. */
const PICTURE_COST = 6;
/** All pictures of an answer together: 8,000 in 1080p. */
const MAX_PICTURE_BYTES = 2 * 1024 ** 3;
/** What a search decodes: frames of this duration, a share of the whole, or of a small video as many as cost this. */
const DECODED = { seconds: 60, share: 1 / 10, pixels: 90 * 30 * 1280 * 720 };
/** The share of that for the first pass. The rest is for refining. */
const FIRST_PASS = 2 / 3;
/** No search costs more than this, in full decodes. */
const MOST_DECODES = 1.4;
/** The share of what may still be decoded that one call of `refine` spends. */
const ONE_LOOK = 2 / 3;
/** Encoders write up to this number of frames in a row that no other depends on. */
const MOST_NONREFERENCE = 3;
/** All frames of a smaller video are held in memory. */
const MAX_HELD_BYTES = 256 * 1024 ** 2;
/** Of videos with fewer frames, all are compared. */
const FEW_FRAMES = 256;

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
  const { pixels = plausiblePixels, heldBytes = MAX_HELD_BYTES } = limits;
  const { index, track, codec } = file;
  const framePixels = track.codedSize.width * track.codedSize.height;
  const isSmall = framePixels < SMALL_PIXELS;
  const threads = isSmall || framePixels > LARGE_PIXELS ? 1 : Math.min(limits.threads, MAX_THREADS);
  const decoding = { threads, maximumPixels: MAX_PIXELS };
  // A container's tables may refer to the same bytes repeatedly.
  const plausible = pixels(Math.min(index.bytes, file.bytes), index.end - index.start);
  const budget = createDecodingBudget(plausible);
  /** All frames of a small video: they are decoded once. */
  const held: HeldFrames = new Map();
  const isHeld =
    index.count * track.frameBytes <= heldBytes &&
    index.count * Math.max(framePixels, MIN_FRAME_PIXELS) <= plausible;
  const looks = new Map<number, FrameLook>();
  const kept = createJpegStore(`${file.source.path}.frames`);

  const rate = packetRateOf(index);
  const usual = Math.max(
    DECODED.seconds * rate,
    DECODED.share * index.count,
    DECODED.pixels / Math.max(framePixels, MIN_FRAME_PIXELS),
  );
  let found:
    | {
        readonly placement: PicturePlacement;
        readonly timestamps: Set<number>;
        readonly hasUnseenParts: boolean;
        /** Packets that may still be decoded. */
        left: number;
      }
    | undefined;

  function* find(
    placement: PicturePlacement,
    maximumFrames: number,
    thorough = false,
  ): Generator<FindStep, FindSummary> {
    using use = createUse(placement);
    const tally = emptyTally();
    const areFew = index.count < FEW_FRAMES;
    // Otherwise frames that no other depends on are left out at first.
    const skip = isHeld ? 'nothing' : 'nonreference';
    using decoder = createFrameSource(file, { ...decoding, skip }, budget, tally);
    const source = isHeld ? holding(decoder, held) : decoder;
    const affordable = thorough ? Number.POSITIVE_INFINITY : usual;
    const useful = isHeld ? [] : chooseKeyframes(index, maximumFrames);
    const keyframes = thinOut(useful, plausibleKeyframes(plausible, framePixels));
    const areAll = keyframes.length === useful.length;
    budget.reserve(keyframes.length * Math.max(framePixels, MIN_FRAME_PIXELS));
    const plan = isHeld
      ? { keyframes: [], runs: [{ first: firstKeyframe(index), end: index.count }], unseenSeconds: 0 }
      : planDecoding(index, keyframes, areAll ? Math.max(0, affordable * FIRST_PASS - keyframes.length) : 0);
    found = {
      placement,
      timestamps: new Set(),
      hasUnseenParts: plan.unseenSeconds > 0,
      left: thorough ? Number.POSITIVE_INFINITY : Math.min(usual, MOST_DECODES * index.count),
    };
    const steps = chooseFrames({
      index,
      plan,
      source,
      maximumFrames,
      sampleSeconds: areFew ? 0 : SAMPLE_SECONDS,
    });
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      const { seconds, chosen } = step.value;
      using _capture = chosen?.capture;
      yield chosen ? { seconds, frame: use.frame(chosen) } : { seconds };
    }
    found.left -= tally.frames;
    if (tally.frames === 0) throw brokenVideo('is damaged: none of its frames can be decoded');
    const isImplausible = tally.cutAt !== undefined || !areAll;
    const warnings = [
      ...file.warnings,
      ...damageWarnings(tally),
      ...(isImplausible ? [workWarning(tally, !areAll)] : unseenWarnings(plan.unseenSeconds)),
    ];
    return { scenes: step.value.scenes, warnings, tally };
  }

  function* refine(ranges: readonly Range[]): Generator<FindStep, RefineSummary> {
    invariant(found, 'a video was refined before its frames were found.');
    using use = createUse(found.placement);
    const tally = emptyTally();
    const { timestamps } = found;
    let last: Thumbnail | undefined;
    const look = (picks: Picker, timestamp: number, thumbnailOf: () => Thumbnail): boolean => {
      if (!picks(timestamp) || timestamps.has(timestamp)) return false;
      const thumbnail = thumbnailOf();
      if (last && difference(last, thumbnail) < SAME_DIFFERENCE) return false;
      last = thumbnail;
      return true;
    };
    if (isHeld) {
      using thumbnailer = createThumbnailer(thumbnailSize(track.codedSize));
      const picks = createPicker(ranges);
      for (const [timestamp, capture] of held) {
        const isWanted = look(picks, timestamp, () => makeThumbnail(thumbnailer.make(capture.frame)));
        yield isWanted
          ? { seconds: timestamp, frame: use.frame({ timestamp, capture }) }
          : { seconds: timestamp };
      }
      return { leftOut: 0, tally };
    }
    const isCoarse = ranges.every(([, , step]) => step * rate >= MOST_NONREFERENCE + 1);
    const skip = isCoarse ? 'nonreference' : 'nothing';
    using source = createFrameSource(file, { ...decoding, skip }, budget, tally);
    const { runs, leftOut } = planRefining(index, ranges, found.left * ONE_LOOK);
    for (const { first, until, ranges: parts } of runs) {
      const picks = createPicker(parts);
      for (const { timestamp, damaged, thumbnail, capture } of source.from(first)) {
        if (timestamp > until) break;
        yield { seconds: timestamp };
        if (damaged || timestamp < index.timestamps[first]!) continue;
        if (!look(picks, timestamp, thumbnail)) continue;
        using wanted = capture();
        yield { seconds: timestamp, frame: use.frame({ timestamp, capture: wanted }) };
      }
    }
    found.left -= tally.frames;
    // Without unseen parts, what is left out is at most a fraction of a second beside a frame that was compared.
    return { leftOut: found.hasUnseenParts ? leftOut : 0, tally };
  }

  /** Makes the model's input of chosen frames. */
  function createUse(placement: PicturePlacement) {
    using stack = new DisposableStack();
    const scaler = stack.use(createPictureScaler(placement, track.orientation));
    const jpegEncoder = stack.use(createJpegEncoder(track.pixelAspect, track.orientation));
    const looker = stack.use(createThumbnailer(LOOK_SIZE));
    const owned = stack.move();
    return {
      frame({ timestamp, capture }: ChosenFrame<FrameCapture>): FoundFrame {
        found?.timestamps.add(timestamp);
        const { frame, packetsDecoded } = capture;
        const pixels = scaler.scale(frame);
        if (isHeld) return { timestamp, pixels };
        looks.set(timestamp, looker.make(frame).pixels);
        if (packetsDecoded > KEEP_AFTER_PACKETS) {
          kept.put(timestamp, jpegEncoder.encode(frame));
          budget.spend(PICTURE_COST * frame.width * frame.height);
        }
        return { timestamp, pixels };
      },
      [Symbol.dispose]: () => owned.dispose(),
    };
  }

  function* jpegs(timestamps: readonly number[]): Generator<FrameJpeg | undefined> {
    const missing: WantedFrame[] = [];
    let bytes = 0;
    const counted = (jpeg: Uint8Array): Uint8Array => {
      bytes += jpeg.length;
      if (bytes > MAX_PICTURE_BYTES) throw tooManyPictures(MAX_PICTURE_BYTES);
      return jpeg;
    };
    using encoder = createJpegEncoder(track.pixelAspect, track.orientation);
    for (const timestamp of timestamps) {
      const frame = held.get(timestamp)?.frame;
      const jpeg = frame ? encoder.encode(frame) : kept.get(timestamp);
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
      frameRate: track.frameRate ?? rate,
      codec,
    },
    cpuSeconds: CPU_SECONDS_BESIDE + plausibleSeconds(workOf(index, framePixels, plausible)),
    find: (placement, maximumFrames, thorough) => withOurErrors(find(placement, maximumFrames, thorough)),
    refine: (ranges) => withOurErrors(refine(ranges)),
    jpegs: (timestamps) => withOurErrors(jpegs(timestamps)),
    [Symbol.dispose]() {
      for (const capture of held.values()) capture[Symbol.dispose]();
      held.clear();
      kept[Symbol.dispose]();
    },
  };
}

/** Packets a second, on average. */
function packetRateOf({ count, start, end }: PacketIndex): number {
  return count / Math.max(end - start, 1e-3);
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

function workWarning({ cutAt }: DecodingTally, keyframesLeftOut: boolean): string {
  const seen =
    cutAt === undefined
      ? 'only some of its keyframes were looked at'
      : `from ${cutAt.toFixed(1)} s on, only ${keyframesLeftOut ? 'some of ' : ''}its keyframes were looked at`;
  return `Decoding the whole video takes ${IMPLAUSIBLE_WORK}: ${seen}.`;
}

function unseenWarnings(seconds: number): string[] {
  if (seconds === 0) return [];
  return [
    `The video is long: ${Math.round(seconds)} s of it were not looked at between keyframes; thorough=true looks at all of it.`,
  ];
}

const emptyTally = (): DecodingTally => ({ packets: 0, frames: 0, damaged: 0, pixels: 0, cutAt: undefined });

/** Frames that stay in memory, by their timestamps. */
type HeldFrames = Map<number, FrameCapture>;

/** Holds all intact frames that a source decodes. */
function holding(source: FrameSource<FrameCapture>, held: HeldFrames): FrameSource<FrameCapture> {
  function* hold<Frame extends SeenFrame<FrameCapture>>(frames: Generator<Frame>): Generator<Frame> {
    for (const frame of frames) {
      if (!frame.damaged && !held.has(frame.timestamp)) held.set(frame.timestamp, frame.capture());
      yield frame;
    }
  }
  return {
    keyframes: (positions) => hold(source.keyframes(positions)),
    from: (position) => hold(source.from(position)),
  };
}

type Picker = (timestamp: number) => boolean;

/** @returns whether a frame is wanted of one of the ranges. Call it in time order */
function createPicker(ranges: readonly Range[]): Picker {
  const lasts = ranges.map(() => Number.NEGATIVE_INFINITY);
  return (timestamp) => {
    let isWanted = false;
    for (const [order, [start, end, step]] of ranges.entries()) {
      if (timestamp < start || timestamp > end || timestamp - lasts[order]! < step - 1e-3) continue;
      lasts[order] = timestamp;
      isWanted = true;
    }
    return isWanted;
  };
}

interface RefiningRun {
  /** Position of the keyframe from which it is decoded. */
  readonly first: number;
  until: number;
  readonly ranges: Range[];
}

/**
 * Chooses the ranges that may be decoded. Ranges of the same group of frames are decoded in one run.
 * @param packets that may be decoded
 */
function planRefining(index: PacketIndex, ranges: readonly Range[], packets: number) {
  const keys = keyframePositions(index);
  const keyTimes = keys.map((position) => index.timestamps[position]!);
  const perSecond = packetRateOf(index);
  const runs = new Map<number, RefiningRun>();
  let left = packets;
  let leftOut = 0;
  for (const range of ranges) {
    const [start, until] = range;
    const order = lastUntil(keyTimes, start);
    const run = runs.get(order);
    const cost = Math.max(0, until - (run?.until ?? keyTimes[order] ?? 0)) * perSecond;
    if (cost > left) {
      leftOut++;
      continue;
    }
    left -= cost;
    if (run) {
      run.until = Math.max(run.until, until);
      run.ranges.push(range);
    } else runs.set(order, { first: keys[order] ?? 0, until, ranges: [range] });
  }
  const ascending = [...runs].sort(([a], [b]) => a - b).map(([, run]) => run);
  return { runs: ascending, leftOut };
}

/** @returns index of the last of the ascending times that is not after a time; 0 if all are */
function lastUntil(times: readonly number[], time: number): number {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (times[middle]! <= time) low = middle;
    else high = middle - 1;
  }
  return low;
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
