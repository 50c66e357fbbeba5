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

/**
 * Moves a demuxer to a packet, which becomes its current one.
 * @returns false: the packet was not found
 */
function goToPacket(demuxer: Demuxer, index: PacketIndex, position: number): boolean {
  const target = { pts: index.pts[position]!, dts: index.dts[position]! };
  const behind = target.dts - demuxer.head.dts;
  if (behind >= 0 && behind <= READ_ON * typicalTicks(index)) {
    if (isAt(demuxer, target) || readOnTo(demuxer, target, READ_ON)) return true;
  }
  demuxer.seek(target);
  if (readOnTo(demuxer, target, index.count)) return true;
  // The file's table is wrong: read from the beginning.
  demuxer.seek({ pts: index.pts[0]!, dts: index.dts[0]! });
  return readOnTo(demuxer, target, index.count);
}

/**
 * Reads on to a keyframe's packet.
 * @returns false: the packet was not found
 */
function readOnTo(demuxer: Demuxer, target: Ticks, packets = Number.POSITIVE_INFINITY): boolean {
  const { head, identity } = demuxer;
  for (let read = 0; read < packets && demuxer.next(); read++) {
    if (isAt(demuxer, target)) return true;
    // Keyframes are shown in the order in which they are decoded.
    if (head.key && head[identity] > target[identity]) return false;
  }
  return false;
}

type Ticks = Pick<PacketHead, 'pts' | 'dts'>;

function isAt({ head, identity }: Demuxer, target: Ticks): boolean {
  return head.key && head[identity] === target[identity];
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

/** When the budget is used up, no more frames are decoded: first those between keyframes, then keyframes. */
export function createFrameSource(
  file: VideoFile,
  { skip: leftOut, ...limits }: FrameSourceOptions,
  budget: DecodingBudget,
  tally: DecodingTally,
): NativeFrameSource {
  using stack = new DisposableStack();
  const { index, track } = file;
  const thumbnailer = stack.use(createThumbnailer(thumbnailSize(track.codedSize)));
  const open = (skip: 'nonkey' | FrameSourceOptions['skip']): { demuxer: Demuxer; decoder: Decoder } => {
    const demuxer = owned.use(openDemuxer(file.source));
    const alone = skip === 'nonkey' && file.codec === 'hevc';
    const decoder = owned.use(createDecoder(demuxer, file.codec, { ...limits, skip, alone }));
    return { demuxer, decoder };
  };
  /** Opened on first use: for most videos the keyframes suffice. */
  let walking: { demuxer: Demuxer; decoder: Decoder } | undefined;

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
    pts === undefined ? undefined : toSeconds(pts, track.secondsPerTick, startTime);

  const owned = stack.move();
  return {
    *keyframes(positions) {
      const { demuxer, decoder } = open('nonkey');
      if (positions[0] !== 0) introduceEncoder(demuxer, decoder);
      demuxer.keyframesOnly();
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
      for (const position of positions) {
        if (!budget.allowsKeyframes) {
          cut(position);
          break;
        }
        const [pts, dts] = [index.pts[position]!, index.dts[position]!];
        if (!readOnTo(demuxer, { pts, dts })) continue;
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
        introduceEncoder(walking.demuxer, walking.decoder);
      }
      const { demuxer, decoder } = walking;
      decoder.reset();
      const failures = decoder.failures;
      let packets = 0;
      const seen = function* (frames: Generator<DecodedFrame>) {
        for (const frame of frames) {
          const timestamp = timestampOf(frame, demuxer.startTime);
          if (timestamp !== undefined) yield see(frame, timestamp, packets);
        }
      };
      try {
        if (!goToPacket(demuxer, index, position)) return;
        do {
          packets++;
          tally.packets++;
          const before = decoder.pixels;
          try {
            yield* seen(decoder.decode(demuxer));
          } finally {
            budget.spend(costSince(before, decoder));
          }
          if (!budget.allowsWalking) {
            cut(Math.min(position + packets, index.count - 1));
            break;
          }
        } while (demuxer.next());
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

/**
 * Decodes frames again, at full size, each from its keyframe. Frames of the same keyframe are decoded in one pass. If a
 * frame cannot be decoded this time, the next decodable frame replaces it.
 * @param timestamps of chosen frames, ascending
 * @returns pictures, and `undefined` regularly while no picture is ready. It ends early when the budget is used up.
 */
export function* decodeJpegs(
  file: VideoFile,
  limits: DecodingLimits,
  budget: DecodingBudget,
  timestamps: readonly number[],
): Generator<FrameJpeg | undefined> {
  const { index, track } = file;
  using stack = new DisposableStack();
  const open = () => stack.use(openDemuxer(file.source));
  let demuxer = open();
  using decoder = createDecoder(demuxer, file.codec, { ...limits, skip: 'nothing' });
  introduceEncoder(demuxer, decoder);
  using encoder = createJpegEncoder(track.pixelAspect, track.orientation, pixelsOfEach(timestamps.length));

  const waiting = timestamps.map((timestamp) => ({ timestamp, position: positionOf(index, timestamp) }));
  while (waiting.length > 0 && budget.allowsKeyframes) {
    const start = keyframeBefore(index, waiting[0]!.position);
    decoder.reset();
    if (!goToPacket(demuxer, index, start)) {
      // The file's table is wrong: read from the beginning, as the first time.
      demuxer = open();
      if (!readOnTo(demuxer, { pts: index.pts[start]!, dts: index.dts[start]! })) {
        waiting.shift();
        continue;
      }
    }
    let reached: number | undefined;

    const answer = function* (frames: Generator<DecodedFrame>): Generator<FrameJpeg> {
      for (const frame of frames) {
        for (
          let next = waiting[0];
          next && isAtOrAfter(frame, index.pts[next.position]!);
          next = waiting[0]
        ) {
          waiting.shift();
          reached = next.position;
          yield { timestamp: next.timestamp, jpeg: encoder.encode(frame) };
        }
      }
    };
    do {
      const before = decoder.pixels;
      yield* answer(decoder.decode(demuxer));
      budget.spend(Math.max(decoder.pixels - before, MIN_FRAME_PIXELS));
      if (!budget.allowsKeyframes) break;
      yield undefined;
      // Continuing decodes every frame up to the next wanted one. A later keyframe may be closer to it.
      const next = waiting[0];
      if (!next || (reached !== undefined && keyframeBefore(index, next.position) > start)) break;
    } while (demuxer.next());
    yield* answer(decoder.flush());
    // The file has no later frame that can be decoded.
    if (reached === undefined) waiting.shift();
  }
}

function isAtOrAfter({ pts }: DecodedFrame, target: number): boolean {
  return pts !== undefined && pts >= target;
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
function keyframeBefore({ keys, pts }: PacketIndex, position: number): number {
  for (let at = keys.lastIndexOf(1, position); at > 0; at = keys.lastIndexOf(1, at - 1)) {
    if (at === position || pts[at]! <= pts[position]!) return at;
  }
  return Math.max(0, keys.indexOf(1));
}
