/**
 * Limits how much of a video is decoded, in pixels. A file with a few bytes a frame can demand a year of decoding. The
 * limit grows with the bytes that the client sent and with the duration of the video.
 */
export interface DecodingBudget {
  /** Whether frames between keyframes may still be decoded. The share reserved for keyframes is not available to them. */
  readonly allowsWalking: boolean;
  /** Whether keyframes may still be decoded. */
  readonly allowsKeyframes: boolean;
  /** Reserves a share for keyframes. The rest is for the frames between them. */
  reserve(pixels: number): void;
  /** Spends from the share reserved for keyframes. */
  spendOnKeyframe(pixels: number): void;
  spend(pixels: number): void;
}

/** One minute of 1080p at 30 frames a second. Every video may cost this much, however few bytes it has. */
const BASE_PIXELS = 1920 * 1080 * 30 * 60;

/**
 * Pixels a byte. Videos of cameras have 50 to 200, x264 at its default quality 100 to 500, a talking head in 1080p at
 * 200 kbit/s 2,500 if all of it is decoded, which is seldom necessary. 8K frames that repeat the one before have
 * 2.7 million.
 */
const PIXELS_PER_BYTE = 2000;

/** Still screens need few bytes: 1080p at 30 frames a second is plausible at any file size. */
const PIXELS_PER_SECOND = 1920 * 1080 * 30;
/** A longer duration does not add to the budget: a hostile file may declare any duration. */
const MAX_SECONDS = 600;

/** The largest share for keyframes. The rest is for the frames between them. */
const KEYFRAME_SHARE = 1 / 2;

/** The least cost of a frame: reading, comparing and counting it costs as much as decoding this number of pixels. */
export const MIN_FRAME_PIXELS = 100_000;

/**
 * Nanoseconds of processor time a pixel: 1 for frames that repeat the one before, 4 for H.264, up to 8 for HEVC
 * and AV1 in 10 bits. A process that needs more than twice the worst of these is not decoding the pixels it counts.
 */
const NANOSECONDS_PER_PIXEL = 20;

/**
 * The pixels that decoding a video may cost.
 * @param bytes of the video track
 * @param seconds its duration
 */
export function plausiblePixels(bytes: number, seconds: number): number {
  return Math.round(
    BASE_PIXELS + PIXELS_PER_BYTE * bytes + PIXELS_PER_SECOND * Math.min(seconds, MAX_SECONDS),
  );
}

/** How many keyframes of this size may be decoded: at least one. */
export function plausibleKeyframes(budgetPixels: number, framePixels: number): number {
  const each = Math.max(framePixels, MIN_FRAME_PIXELS);
  return Math.max(1, Math.floor((budgetPixels * KEYFRAME_SHARE) / each));
}

/** Processor time that decoding these pixels may need on a slow machine, in seconds. */
export function plausibleSeconds(pixels: number): number {
  return (pixels * NANOSECONDS_PER_PIXEL) / 1e9;
}

export function createDecodingBudget(pixels: number): DecodingBudget {
  let spent = 0;
  let reserved = 0;
  return {
    get allowsWalking() {
      return spent + reserved < pixels;
    },
    get allowsKeyframes() {
      return spent < pixels;
    },
    reserve(share) {
      reserved = Math.min(share, pixels * KEYFRAME_SHARE);
    },
    spendOnKeyframe(taken) {
      spent += taken;
      reserved = Math.max(0, reserved - taken);
    },
    spend(taken) {
      spent += taken;
    },
  };
}
