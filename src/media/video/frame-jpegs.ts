import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import type { DecodedFrame } from '../../../native/av/decoded-frame.ts';
import { createDecoder, introduceEncoder } from '../../../native/av/decoder.ts';
import { openDemuxer } from '../../../native/av/demuxer.ts';
import { createJpegEncoder } from '../../../native/av/jpeg-encoder.ts';
import { type DecodingBudget, LEAST_FRAME_PIXELS } from './decoding-budget.ts';
import { type DecodingLimits, goToPacket, readOnTo } from './frame-source.ts';
import type { PacketIndex } from './packet-index.ts';
import type { VideoFile } from './video-file.ts';

/** Pictures kept on disk, by their frames' timestamps. */
interface JpegStore extends Disposable {
  /** Keeps a picture if there is room for it. */
  put(timestamp: number, jpeg: Uint8Array): void;
  get(timestamp: number): Uint8Array | undefined;
}

/** 3,000 pictures in 1080p. Frames of further pictures are decoded again. */
const MAX_BYTES = 1024 ** 3;

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
      if (full || end + jpeg.length > MAX_BYTES) return;
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
 * @returns pictures, and `undefined` now and then while none is ready. It ends early when the budget is used up.
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
  // Chosen frames are reference frames, so all others can be left out.
  using decoder = createDecoder(demuxer, file.codec, { ...limits, skip: 'nonreference' });
  introduceEncoder(demuxer, decoder);
  using encoder = createJpegEncoder(track.pixelAspect, track.orientation, pixelsOfEach(timestamps.length));

  const waiting = timestamps.map((timestamp) => ({ timestamp, position: positionOf(index, timestamp) }));
  while (waiting.length > 0 && budget.allowsKeyframes) {
    const start = keyframeBefore(index, (waiting[0] as { position: number }).position);
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
      budget.spend(Math.max(decoder.pixels - before, LEAST_FRAME_PIXELS));
      if (!budget.allowsKeyframes) break;
      yield undefined;
      // Going on decodes every frame up to the next one wanted. A later keyframe may be closer.
      const next = waiting[0];
      if (!next || (reached !== undefined && keyframeBefore(index, next.position) > start)) break;
    } while (demuxer.next());
    yield* answer(decoder.flush());
    // No decodable frame follows.
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
