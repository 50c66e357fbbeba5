import { AvError } from '../../../native/av/av-error.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import { createPictureScaler, type PicturePlacement } from '../../../native/av/picture-scaler.ts';
import { createFrameBudget } from './frame-budget.ts';
import { findFrames } from './frame-finder.ts';
import { decodeJpegs, type FrameJpeg } from './frame-jpegs.ts';
import { createFrameSource, type DecodingTally, type FrameCapture } from './frame-source.ts';
import { packetHabits } from './gaps.ts';
import { createJpegStore } from './jpeg-store.ts';
import { chooseKeyframes } from './keyframe-choice.ts';
import type { ChosenFrame } from './scene-tracker.ts';
import { brokenVideo } from './video-errors.ts';
import { lookIntoFile, MAXIMUM_PIXELS, type VideoFile } from './video-file.ts';

/** What a video is, as a player shows it. */
export interface VideoDescription {
  /** Seconds until the last frame has been shown. */
  readonly duration: number;
  readonly width: number;
  readonly height: number;
  /** Frames a second, on average. */
  readonly frameRate: number;
  /** `h264`, `hevc`, `av1`, `vp9`, `vp8` or `mpeg4`. */
  readonly codec: string;
}

/** A frame worth looking at, as the model takes it. */
export interface FoundFrame {
  /** Seconds since the video's beginning. */
  readonly timestamp: number;
  /** Counts scenes from 0. */
  readonly scene: number;
  /** [side, side, 3] u8 RGB, row-major. */
  readonly pixels: Uint8Array;
}

export interface SessionLimits {
  readonly videoSeconds: number;
  readonly threads: number;
}

/** A step of `find`: how far it has come, with or without a frame. */
export interface FindStep {
  readonly seconds: number;
  readonly frame?: FoundFrame;
}

/** What is known after `find`. */
export interface FindSummary {
  readonly scenes: number;
  /** What was wrong with the file, in sentences for a person. */
  readonly warnings: readonly string[];
  /** How much had to be decoded. */
  readonly tally: Readonly<DecodingTally>;
}

/** A video file that is being looked at, in this thread: every step blocks it for some milliseconds. */
export interface VideoSession extends Disposable {
  readonly description: VideoDescription;
  /**
   * Finds the frames worth looking at, in time order.
   * @param maximumFrames spread over the video
   * @throws ServiceError video_broken where nothing can be decoded
   */
  find(placement: PicturePlacement, maximumFrames: number): Generator<FindStep, FindSummary>;
  /** Full-size JPEGs of found frames, by their timestamps, ascending. Damaged ones may be left out. */
  jpegs(timestamps: readonly number[]): Generator<FrameJpeg>;
}

/** More threads than this only hold more frames. */
const MAXIMUM_THREADS = 4;
/** Decoding so many packets again costs more than keeping a picture of the frame, which takes some 15 ms. */
const KEEP_AFTER_PACKETS = 300;

/**
 * Opens a video file.
 * @param path of a file that stays where it is until the session is disposed
 * @param onIndexed called now and then with the seconds that have been indexed
 * @throws ServiceError video_unsupported, video_too_large, video_broken
 */
export async function openVideoSession(
  path: string,
  limits: SessionLimits,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoSession> {
  const file = await lookIntoFile(path, limits.videoSeconds, onIndexed);
  return createSession(file, Math.min(limits.threads, MAXIMUM_THREADS));
}

function createSession(file: VideoFile, threads: number): VideoSession {
  const { index, track, codec } = file;
  const decoding = { threads, maximumPixels: MAXIMUM_PIXELS };
  const kept = createJpegStore(`${file.source.path}.frames`);

  function* find(placement: PicturePlacement, maximumFrames: number): Generator<FindStep, FindSummary> {
    using scaler = createPictureScaler(placement, track.orientation);
    using jpegEncoder = createJpegEncoder(track.pixelAspect, track.orientation);
    const tally: DecodingTally = { packets: 0, frames: 0, damaged: 0 };
    using source = createFrameSource(file, decoding, tally);
    const use = ({ timestamp, scene, capture }: ChosenFrame<FrameCapture>): FoundFrame => {
      using _held = capture;
      if (capture.packetsDecoded > KEEP_AFTER_PACKETS) kept.put(timestamp, jpegEncoder.encode(capture.frame));
      return { timestamp, scene, pixels: scaler.scale(capture.frame) };
    };
    const budget = createFrameBudget(maximumFrames, index.end);
    const keyframes = chooseKeyframes(index, maximumFrames);
    const steps = findFrames(index, keyframes, source, budget, packetHabits(codec));
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      const { seconds, chosen } = step.value;
      yield chosen ? { seconds, frame: use(chosen) } : { seconds };
    }
    if (tally.frames === 0) throw brokenVideo('is damaged: none of its frames can be decoded');
    return { scenes: step.value.scenes, warnings: [...file.warnings, ...damageWarnings(tally)], tally };
  }

  function* jpegs(timestamps: readonly number[]): Generator<FrameJpeg> {
    const missing: number[] = [];
    for (const timestamp of timestamps) {
      const jpeg = kept.get(timestamp);
      if (jpeg) yield { timestamp, jpeg };
      else missing.push(timestamp);
    }
    yield* decodeJpegs(file, decoding, missing);
  }

  return {
    description: {
      duration: index.end,
      ...track.shownSize,
      frameRate: track.frameRate ?? index.count / Math.max(index.end - index.start, 1e-3),
      codec,
    },
    find: (placement, maximumFrames) => withOurErrors(find(placement, maximumFrames)),
    jpegs: (timestamps) => withOurErrors(jpegs(timestamps)),
    [Symbol.dispose]: () => kept[Symbol.dispose](),
  };
}

/** What libav cannot make sense of is the file's fault. */
function* withOurErrors<Value, Result>(steps: Generator<Value, Result>): Generator<Value, Result> {
  try {
    return yield* steps;
  } catch (fault) {
    throw fault instanceof AvError ? brokenVideo('is damaged and cannot be decoded', fault) : fault;
  }
}

function damageWarnings({ damaged, packets }: DecodingTally): string[] {
  if (damaged === 0) return [];
  const share = `${Math.min(damaged, packets)} of ${packets}`;
  return [`Of the frames that were decoded, ${share} are damaged; they may be missing or distorted.`];
}
