import { closeSync, openSync, readSync } from 'node:fs';
import { AvError } from '../../../native/av/av-error.ts';
import { type Demuxer, type MediaSource, openDemuxer } from '../../../native/av/demuxer.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import { createPictureScaler, type PicturePlacement } from '../../../native/av/picture-scaler.ts';
import { SNIFFED_BYTES, sniffContainer } from './container.ts';
import { createFrameBudget } from './frame-budget.ts';
import { findFrames } from './frame-finder.ts';
import { decodeJpegs, type FrameJpeg } from './frame-jpegs.ts';
import { createFrameSource, type DecodingTally, type VideoFile } from './frame-source.ts';
import { packetHabits } from './gaps.ts';
import { createJpegStore } from './jpeg-store.ts';
import { chooseKeyframes } from './keyframe-choice.ts';
import { type PacketIndex, readPacketIndex } from './packet-index.ts';
import type { ChosenFrame } from './scene-tracker.ts';
import {
  brokenVideo,
  emptyVideo,
  notAVideo,
  noVideoTrack,
  tooLong,
  tooManyPackets,
  tooManyPixels,
  unsupportedCodec,
} from './video-errors.ts';

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

/** HEVC's largest level; 8K. A frame of 10 bits takes 107 MB. */
const MAXIMUM_PIXELS = 8192 * 4352;
/** Four hours at 240 frames a second. The index takes 30 bytes a packet. */
const MAXIMUM_PACKETS = 3_500_000;
/** More threads than this only hold more frames. */
const MAXIMUM_THREADS = 4;
/** Decoding so many packets again costs more than keeping a picture of the frame, which takes some 30 ms. */
const KEEP_AFTER_PACKETS = 300;
/** A file that ends so much before its container says has been cut short. */
const MISSING_SECONDS = 1;

/**
 * Looks into a file: what it is, and all of its packets' heads.
 * @param path of a file that stays where it is until the session is disposed
 * @param onIndexed called now and then with the seconds that have been indexed
 * @throws ServiceError video_unsupported, video_too_large, video_broken
 */
export async function openVideoSession(
  path: string,
  limits: SessionLimits,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<VideoSession> {
  const container = sniff(path);
  const shown = await look({ path, container, ignoreEdits: false }, limits, onIndexed);
  // An edit list of no length hides everything: careless muxers write one for a single frame.
  const hidden = shown.file.index.hidden.indexOf(0) < 0;
  const { file, warnings } = hidden
    ? await look({ path, container, ignoreEdits: true }, limits, onIndexed)
    : shown;
  return createSession(file, Math.min(limits.threads, MAXIMUM_THREADS), warnings);
}

async function look(
  source: MediaSource,
  limits: SessionLimits,
  onIndexed: (seconds: number) => Promise<void>,
): Promise<{ file: VideoFile; warnings: readonly string[] }> {
  using demuxer = openChecked(source);
  const { track } = demuxer;
  if (!track) throw noVideoTrack();
  if (!track.codec) throw unsupportedCodec(track.codecName);
  const { width, height } = track.codedSize;
  if (width * height > MAXIMUM_PIXELS) throw tooManyPixels(track.codedSize, MAXIMUM_PIXELS);

  const indexLimits = { seconds: limits.videoSeconds, packets: MAXIMUM_PACKETS };
  const index = await readPacketIndex(demuxer, track.secondsPerTick, indexLimits, onIndexed);
  if (index.end > indexLimits.seconds) throw tooLong(indexLimits.seconds);
  if (index.count > indexLimits.packets) throw tooManyPackets(indexLimits.packets);
  if (index.count === 0) throw brokenVideo('has no frames');
  return { file: { source, codec: track.codec, track, index }, warnings: endWarnings(index, demuxer) };
}

function createSession(file: VideoFile, threads: number, endWarnings: readonly string[]): VideoSession {
  const { index, track, codec } = file;
  const decoding = { threads, maximumPixels: MAXIMUM_PIXELS };
  const kept = createJpegStore(`${file.source.path}.frames`);
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

  function* find(placement: PicturePlacement, maximumFrames: number): Generator<FindStep, FindSummary> {
    using scaler = createPictureScaler(placement, track.orientation);
    using jpegEncoder = createJpegEncoder(track.pixelAspect, track.orientation);
    const tally: DecodingTally = { packets: 0, frames: 0, damaged: 0 };
    using source = createFrameSource(file, decoding, tally, (frame, packetsDecoded) => ({
      pixels: scaler.scale(frame),
      jpeg: packetsDecoded > KEEP_AFTER_PACKETS ? jpegEncoder.encode(frame) : undefined,
    }));
    const budget = createFrameBudget(maximumFrames, index.end);
    const keyframes = chooseKeyframes(index, maximumFrames);
    const steps = findFrames(index, keyframes, source, budget, packetHabits(codec));
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      const { seconds, chosen } = step.value;
      yield chosen ? { seconds, frame: keep(chosen) } : { seconds };
    }
    if (tally.frames === 0) throw brokenVideo('is damaged: none of its frames can be decoded');
    return { scenes: step.value.scenes, warnings: [...endWarnings, ...damageWarnings(tally)], tally };
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

  function keep({ timestamp, scene, capture }: ChosenFrame<Capture>): FoundFrame {
    if (capture.jpeg) kept.put(timestamp, capture.jpeg);
    return { timestamp, scene, pixels: capture.pixels };
  }
}

/** What libav cannot make sense of is the file's fault. */
function* withOurErrors<Value, Result>(steps: Generator<Value, Result>): Generator<Value, Result> {
  try {
    return yield* steps;
  } catch (fault) {
    throw fault instanceof AvError ? brokenVideo('is damaged and cannot be decoded', fault) : fault;
  }
}

interface Capture {
  readonly pixels: Uint8Array;
  readonly jpeg: Uint8Array | undefined;
}

function sniff(path: string) {
  const beginning = new Uint8Array(SNIFFED_BYTES);
  const descriptor = openSync(path, 'r');
  try {
    if (readSync(descriptor, beginning) === 0) throw emptyVideo();
  } finally {
    closeSync(descriptor);
  }
  const sniffed = sniffContainer(beginning);
  if ('other' in sniffed) throw notAVideo(sniffed.other);
  return sniffed.container;
}

function openChecked(source: MediaSource): Demuxer {
  try {
    return openDemuxer(source);
  } catch (fault) {
    if (!(fault instanceof AvError)) throw fault;
    const part =
      source.container === 'mov' ? 'the index of its frames (the moov box)' : 'the description of its tracks';
    throw brokenVideo(`is cut short or damaged: ${part} is missing or cannot be read`, fault);
  }
}

function endWarnings(index: PacketIndex, { declaredDuration }: Demuxer): string[] {
  if (!index.brokenOff && declaredDuration - index.end <= MISSING_SECONDS) return [];
  const declared = declaredDuration > index.end ? ` of ${declaredDuration.toFixed(1)}` : '';
  return [
    `The video's data end after ${index.end.toFixed(1)}${declared} seconds; what comes later is missing.`,
  ];
}

function damageWarnings({ damaged, packets }: DecodingTally): string[] {
  if (damaged === 0) return [];
  const share = `${Math.min(damaged, packets)} of ${packets}`;
  return [`Of the frames that were decoded, ${share} are damaged; they may be missing or distorted.`];
}
