/**
 * How much of a video may be decoded, in pixels. A file of a few bytes a frame can name a year of decoding; what it
 * may cost is in proportion to what its client sent, and to what the time that it is shown for makes plausible.
 */
export interface DecodingBudget {
  /** All that may be spent. */
  readonly pixels: number;
  readonly spent: number;
  /** Whether frames between keyframes may still be decoded: what the chosen keyframes take is kept for them. */
  readonly allowsWalking: boolean;
  /** Whether keyframes may still be decoded. */
  readonly allowsKeyframes: boolean;
  /** Keeps a share for keyframes: what remains is for walking. */
  reserve(pixels: number): void;
  /** A keyframe of those that a share was kept for. */
  spendOnKeyframe(pixels: number): void;
  spend(pixels: number): void;
}

/** One minute of 1080p at 30 frames a second: a short clip may cost so much, however few bytes it has. */
const BASE_PIXELS = 1920 * 1080 * 30 * 60;

/**
 * Pixels a byte. Videos of cameras have 50 to 200, x264 at its default quality 100 to 500, a talking head in
 * 1080p at 200 kbit/s 2,500 where all of it is decoded, of which a third is seldom needed. 8K frames that
 * repeat the one before have 2.7 million.
 */
const PIXELS_PER_BYTE = 2000;

/** Screens that stand still cost no bytes: 1080p at 30 frames a second is plausible whatever it weighs, */
const PIXELS_PER_SECOND = 1920 * 1080 * 30;
/** but not for long, as a duration costs a client nothing. */
const MAX_SECONDS = 600;

/** At most so much of it for keyframes: the rest is for what lies between them. */
const KEYFRAME_SHARE = 1 / 2;

/** The least that a frame costs: to read, compare and count it takes as long as to decode so many pixels. */
export const LEAST_FRAME_PIXELS = 100_000;

/**
 * Nanoseconds of processor time a pixel: 1 for frames that repeat the one before, 4 for H.264, up to 8 for HEVC
 * and AV1 in 10 bits. More than twice the worst of them has not decoded what it seems to.
 */
const NANOSECONDS_PER_PIXEL = 20;

/**
 * What decoding a video may cost.
 * @param bytes of the file that are the video's
 * @param seconds that it is shown for
 * @returns pixels
 */
export function plausiblePixels(bytes: number, seconds: number): number {
  return Math.round(
    BASE_PIXELS + PIXELS_PER_BYTE * bytes + PIXELS_PER_SECOND * Math.min(seconds, MAX_SECONDS),
  );
}

/** How many keyframes of so many pixels may be decoded: one at least. */
export function plausibleKeyframes(budgetPixels: number, framePixels: number): number {
  const each = Math.max(framePixels, LEAST_FRAME_PIXELS);
  return Math.max(1, Math.floor((budgetPixels * KEYFRAME_SHARE) / each));
}

/** Processor time that so many pixels may take on a slow machine, in seconds. */
export function plausibleSeconds(pixels: number): number {
  return (pixels * NANOSECONDS_PER_PIXEL) / 1e9;
}

export function createDecodingBudget(pixels: number): DecodingBudget {
  let spent = 0;
  let reserved = 0;
  return {
    pixels,
    get spent() {
      return spent;
    },
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
