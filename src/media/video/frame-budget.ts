/** How many frames may be chosen, spread over a video whose scenes are not known beforehand. */
export interface FrameBudget {
  readonly spent: number;
  /** Whether one more frame may be chosen at this time of the video, in seconds. */
  has(timestamp: number): boolean;
  spend(): void;
}

/** What may be spent at once, at the beginning or anywhere else. The rest comes evenly with the video's time. */
const BURST_SHARE = 1 / 4;

/**
 * What quiet stretches leave is saved for busy ones.
 * @param frames that may be chosen in all
 * @param seconds the video's duration
 */
export function createFrameBudget(frames: number, seconds: number): FrameBudget {
  const burst = Math.ceil(frames * BURST_SHARE);
  const perSecond = seconds > 0 ? (frames - burst) / seconds : 0;
  let spent = 0;
  return {
    get spent() {
      return spent;
    },
    has: (timestamp) => spent < Math.min(frames, burst + perSecond * Math.max(0, timestamp)),
    spend: () => {
      spent++;
    },
  };
}
