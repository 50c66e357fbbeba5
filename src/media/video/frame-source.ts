import { AvError } from '../../../native/av/av-error.ts';
import {
  createDecoder,
  type DecodedFrame,
  type Decoder,
  type HeldFrame,
  holdFrame,
  introduceEncoder,
} from '../../../native/av/decoder.ts';
import { type Demuxer, openDemuxer, type PacketHead } from '../../../native/av/demuxer.ts';
import { createThumbnailer } from '../../../native/av/frame-filter.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import { type DecodingBudget, MIN_FRAME_PIXELS } from './decoding-budget.ts';
import type { FrameSource, SeenFrame } from './frame-finder.ts';
import { makeThumbnail, thumbnailSize } from './thumbnail.ts';
import { type PacketIndex, toSeconds, type VideoFile } from './video-file.ts';

/** Skipping fewer packets than this costs less than a seek in a file without a table of packets. */
const READ_ON = 300;

/** Reads a file's packets from any keyframe on. */
interface PacketReader extends Disposable {
  /** Its current packet is the one that `goTo` found, or a later one. */
  readonly demuxer: Demuxer;
  /**
   * Moves to a packet: a keyframe, or the first packet.
   * @returns false: the packet was not found
   */
  goTo(position: number): boolean;
}

function createPacketReader({ source, index }: VideoFile): PacketReader {
  let demuxer = openDemuxer(source);
  return {
    get demuxer() {
      return demuxer;
    },
    goTo(position) {
      const target = targetAt(index, position);
      const behind = target.dts - demuxer.head.dts;
      if (behind >= 0 && behind <= READ_ON * typicalTicks(index)) {
        if (isAt(demuxer, target) || readOnTo(demuxer, target, READ_ON)) return true;
      }
      if (demuxer.seek(target) && readOnTo(demuxer, target)) return true;
      // The file's table is wrong, or it names no keyframe: read from the beginning.
      demuxer[Symbol.dispose]();
      demuxer = openDemuxer(source);
      return readOnTo(demuxer, target);
    },
    [Symbol.dispose]: () => demuxer[Symbol.dispose](),
  };
}

/**
 * Reads on to a packet.
 * @returns false: the packet was not found
 */
function readOnTo(demuxer: Demuxer, target: Target, packets = Number.POSITIVE_INFINITY): boolean {
  const { head, identity } = demuxer;
  for (let read = 0; read < packets && moveOn(demuxer); read++) {
    if (isAt(demuxer, target)) return true;
    // Keyframes are shown in the order in which they are decoded.
    if (head.key && head[identity] > target[identity]) return false;
  }
  return false;
}

type Target = Pick<PacketHead, 'pts' | 'dts' | 'key'>;

function targetAt({ pts, dts, keys }: PacketIndex, position: number): Target {
  return { pts: pts[position]!, dts: dts[position]!, key: keys[position] === 1 };
}

function isAt({ head, identity }: Demuxer, target: Target): boolean {
  return head.key === target.key && head[identity] === target[identity];
}

function typicalTicks({ dts, count }: PacketIndex): number {
  return count > 1 ? (dts[count - 1]! - dts[0]!) / (count - 1) : 0;
}

interface DecodingLimits {
  readonly threads: number;
  /** Of one frame. */
  readonly maximumPixels: number;
}

/** Counts of what was decoded. */
export interface DecodingTally {
  /** Packets given to a decoder. */
  packets: number;
  frames: number;
  damaged: number;
  /** Of all frames whose packets were given to a decoder. */
  pixels: number;
  /** The time at which the budget was used up, in seconds; undefined: the budget sufficed. */
  cutAt: number | undefined;
}

/** A tiny picture of a frame, to recognise it when it is decoded again. [16, 16, 3] u8 RGB. */
export type FrameLook = Uint8Array;
export const LOOK_SIZE = { width: 16, height: 16 };
/** The mean difference of two looks of one frame, of 255. Only the repair of damage differs at all. */
const SAME_LOOK = 2;

function isAlike(a: FrameLook, b: FrameLook): boolean {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += Math.abs(a[at]! - b[at]!);
  return sum <= SAME_LOOK * a.length;
}

/** A frame that may be chosen. */
export interface FrameCapture extends Disposable {
  readonly frame: HeldFrame;
  /** How many packets were decoded from the keyframe up to this frame. */
  readonly packetsDecoded: number;
}

/** A file's frames as libav decodes them. */
interface NativeFrameSource extends FrameSource<FrameCapture>, Disposable {}

interface FrameSourceOptions extends DecodingLimits {
  /** The frames between keyframes that are left out. */
  readonly skip: 'nothing' | 'nonreference';
}

/** Moves to the next packet. What cannot be read ends the video, as when its packets were listed. */
function moveOn(demuxer: Demuxer): boolean {
  try {
    return demuxer.next();
  } catch (fault) {
    if (fault instanceof AvError && !fault.isOutOfMemory) return false;
    throw fault;
  }
}

/** AVI has no presentation times: the frames are counted instead, and none may be missing. */
function leftOutOf({ source }: VideoFile, skip: FrameSourceOptions['skip']): FrameSourceOptions['skip'] {
  return source.container === 'avi' ? 'nothing' : skip;
}

/** When the budget is used up, no more frames are decoded: first those between keyframes, then keyframes. */
export function createFrameSource(
  file: VideoFile,
  { skip: wanted, ...limits }: FrameSourceOptions,
  budget: DecodingBudget,
  tally: DecodingTally,
): NativeFrameSource {
  using stack = new DisposableStack();
  const { index, track } = file;
  const leftOut = leftOutOf(file, wanted);
  const thumbnailer = stack.use(createThumbnailer(thumbnailSize(track.codedSize)));
  const open = (skip: 'nonkey' | FrameSourceOptions['skip']): { reader: PacketReader; decoder: Decoder } => {
    const reader = owned.use(createPacketReader(file));
    const alone = skip === 'nonkey' && file.codec === 'hevc';
    const decoder = owned.use(createDecoder(reader.demuxer, file.codec, { ...limits, skip, alone }));
    return { reader, decoder };
  };
  /** Opened on first use: for most videos the keyframes suffice. */
  let walking: { reader: PacketReader; decoder: Decoder } | undefined;

  const see = (frame: DecodedFrame, timestamp: number, packetsDecoded: number): SeenFrame<FrameCapture> => {
    tally.frames++;
    if (frame.damaged) tally.damaged++;
    return {
      timestamp,
      damaged: frame.damaged,
      thumbnail: () => makeThumbnail(thumbnailer.make(frame)),
      capture() {
        const held = holdFrame(frame);
        return { frame: held, packetsDecoded, [Symbol.dispose]: () => held[Symbol.dispose]() };
      },
    };
  };
  /** @returns the cost of a packet in pixels, from the decoder's count before it */
  const costSince = (before: number, decoder: Decoder): number => {
    const pixels = decoder.pixels - before;
    tally.pixels += pixels;
    return Math.max(pixels, MIN_FRAME_PIXELS);
  };
  const cut = (position: number) => {
    tally.cutAt = Math.min(tally.cutAt ?? Number.POSITIVE_INFINITY, Math.max(0, index.timestamps[position]!));
  };
  const timestampOf = ({ pts }: DecodedFrame, startTime: number): number | undefined =>
    pts === undefined
      ? undefined
      : toSeconds(index.restamped.get(pts) ?? pts, track.secondsPerTick, startTime);

  const owned = stack.move();
  return {
    *keyframes(positions) {
      // A decoder keeps the memory of its frames: 107 MB each in 8K.
      if (positions.length === 0) return;
      const { reader, decoder } = open('nonkey');
      const { demuxer } = reader;
      if (positions[0] !== 0) introduceEncoder(demuxer, decoder);
      demuxer.keyframesOnly();
      const { head, identity } = demuxer;
      const wanted = new Map(positions.map((position) => [targetAt(index, position)[identity], position]));
      const inDecoder = new Map<number, number>();
      function* seen(frames: Generator<DecodedFrame>) {
        for (const frame of frames) {
          const timestamp = timestampOf(frame, demuxer.startTime);
          const position = inDecoder.get(frame.pts!);
          if (timestamp === undefined || position === undefined) continue;
          inDecoder.delete(frame.pts!);
          yield { ...see(frame, timestamp, 1), position };
        }
      }
      while (wanted.size > 0 && moveOn(demuxer)) {
        const position = wanted.get(head[identity]);
        if (position === undefined || !head.key) continue;
        wanted.delete(head[identity]);
        if (!budget.allowsKeyframes) {
          cut(position);
          break;
        }
        const pts = index.pts[position]!;
        demuxer.setPts(pts);
        inDecoder.set(pts, position);
        tally.packets++;
        const before = decoder.pixels;
        yield* seen(decoder.decode(demuxer));
        budget.spendOnKeyframe(costSince(before, decoder));
      }
      yield* seen(decoder.flush());
      tally.damaged += decoder.failures;
    },
    *from(position) {
      if (!budget.allowsWalking) {
        cut(position);
        return;
      }
      if (!walking) {
        walking = open(leftOut);
        introduceEncoder(walking.reader.demuxer, walking.decoder);
      }
      const { reader, decoder } = walking;
      decoder.reset();
      const failures = decoder.failures;
      let packets = 0;
      let sinceKeyframe = 0;
      const seen = function* (frames: Generator<DecodedFrame>) {
        for (const frame of frames) {
          const timestamp = timestampOf(frame, reader.demuxer.startTime);
          // Frames shown before their keyframe need the one before it.
          const whole =
            timestamp !== undefined && (!index.keys[position] || timestamp >= index.timestamps[position]!);
          if (whole) yield see(frame, timestamp, sinceKeyframe);
        }
      };
      try {
        if (!reader.goTo(position)) return;
        do {
          packets++;
          sinceKeyframe = reader.demuxer.head.key ? 1 : sinceKeyframe + 1;
          tally.packets++;
          const before = decoder.pixels;
          try {
            yield* seen(decoder.decode(reader.demuxer));
          } finally {
            budget.spend(costSince(before, decoder));
          }
          if (!budget.allowsWalking) {
            cut(Math.min(position + packets, index.count - 1));
            break;
          }
        } while (moveOn(reader.demuxer));
        yield* seen(decoder.flush());
      } finally {
        tally.damaged += decoder.failures - failures;
      }
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

export interface FrameJpeg {
  readonly timestamp: number;
  readonly jpeg: Uint8Array;
  /** The frame looks different from the one that was found: damage is repaired differently each time. */
  readonly differs?: boolean;
}

/**
 * The most pixels that all pictures of an answer together may have: 512 frames in 4K. Beyond it, each picture is made
 * smaller. Making a picture costs as much as decoding six frames.
 */
export const PICTURE_PIXELS = 512 * 3840 * 2160;

/** The largest size of each picture, in pixels. */
function pixelsOfEach(pictures: number): number {
  return PICTURE_PIXELS / Math.max(1, pictures);
}

/** A frame that was found. */
export interface WantedFrame {
  readonly timestamp: number;
  /** Undefined: its look is not known, and the frame at that time is taken. */
  readonly look: FrameLook | undefined;
}

/** How often the whole file may be decoded to reproduce frames that their keyframes do not reproduce. */
const MAX_RETRIES = 2;

/**
 * Decodes frames again, at full size, each from its keyframe. Frames of the same keyframe are decoded in one pass. If
 * the same picture does not appear at the same time, decoding begins at earlier keyframes: some streams refresh the
 * picture part by part, and some files mark frames as keyframes that are not. After that, a different picture at the same
 * time is returned, marked as such. A frame that does not appear at all is left out.
 * @param wanted frames, by ascending timestamps
 * @returns pictures, and `undefined` regularly while no picture is ready. It ends early when the budget is used up.
 */
export function* decodeJpegs(
  file: VideoFile,
  limits: DecodingLimits,
  budget: DecodingBudget,
  wanted: readonly WantedFrame[],
): Generator<FrameJpeg | undefined> {
  const { index, track } = file;
  using reader = createPacketReader(file);
  using decoder = createDecoder(reader.demuxer, file.codec, { ...limits, skip: 'nothing' });
  introduceEncoder(reader.demuxer, decoder);
  using encoder = createJpegEncoder(track.pixelAspect, track.orientation, pixelsOfEach(wanted.length));
  using looker = createThumbnailer(LOOK_SIZE);

  const shownAt = (pts: number) => index.restamped.get(pts) ?? pts;
  const waiting = wanted.map((frame) => {
    const position = positionOf(index, frame.timestamp);
    return {
      ...frame,
      ticks: shownAt(index.pts[position]!),
      start: keyframeBefore(index, position),
      retries: 0,
      different: undefined as Uint8Array | undefined,
    };
  });
  let packetsToRetry = MAX_RETRIES * index.count;
  /** A frame could not be decoded from its keyframe. Others may be no better. */
  let distrust = false;

  while (waiting.length > 0 && budget.allowsKeyframes) {
    const first = waiting[0]!;
    const { start } = first;
    decoder.reset();
    let next: (typeof waiting)[number] | undefined = first;
    let passed = !reader.goTo(start);

    const answer = function* (frames: Generator<DecodedFrame>): Generator<FrameJpeg> {
      for (const frame of frames) {
        const ticks = frame.pts === undefined ? undefined : shownAt(frame.pts);
        if (!next || ticks === undefined || ticks < next.ticks) continue;
        passed = ticks > next.ticks;
        if (passed) return;
        if (next.look && !isAlike(next.look, looker.make(frame).pixels)) {
          next.different = encoder.encode(frame);
          continue;
        }
        if (next.retries > 0) distrust = true;
        waiting.shift();
        yield { timestamp: next.timestamp, jpeg: encoder.encode(frame) };
        next = waiting[0];
      }
    };
    while (!passed) {
      const before = decoder.pixels;
      yield* answer(decoder.decode(reader.demuxer));
      budget.spend(Math.max(decoder.pixels - before, MIN_FRAME_PIXELS));
      if (first.retries > 0) packetsToRetry--;
      if (!budget.allowsKeyframes) return;
      yield undefined;
      // Continuing decodes every frame up to the next wanted one. A later keyframe may be closer to it.
      if (!next || (next !== first && next.start > start && !distrust)) break;
      if (passed || moveOn(reader.demuxer)) continue;
      yield* answer(decoder.flush());
      passed = true;
    }
    if (!passed || !next) continue;
    if (start === 0 || packetsToRetry <= 0) {
      waiting.shift();
      const { timestamp, different } = next;
      if (different) yield { timestamp, jpeg: different, differs: true };
    } else {
      next.start = keyframesBack(index, Math.min(start, next.start), 2 ** next.retries);
      next.retries++;
    }
  }
}

/** The packet that is shown closest to a time. */
function positionOf({ timestamps }: PacketIndex, timestamp: number): number {
  let closest = 0;
  for (let at = 1; at < timestamps.length; at++) {
    if (Math.abs(timestamps[at]! - timestamp) < Math.abs(timestamps[closest]! - timestamp)) closest = at;
  }
  return closest;
}

/** The keyframe from which a packet can be decoded. Frames shown before their keyframe need the one before it. */
function keyframeBefore({ keys, timestamps }: PacketIndex, position: number): number {
  for (let at = keys.lastIndexOf(1, position); at > 0; at = keys.lastIndexOf(1, at - 1)) {
    if (at === position || timestamps[at]! <= timestamps[position]!) return at;
  }
  return Math.max(0, keys.indexOf(1));
}

/** @returns the position of the keyframe that is `count` keyframes further back, or the first packet's */
function keyframesBack({ keys }: PacketIndex, position: number, count: number): number {
  let at = position;
  for (let step = 0; step < count && at > 0; step++) at = Math.max(0, keys.lastIndexOf(1, at - 1));
  return at;
}
