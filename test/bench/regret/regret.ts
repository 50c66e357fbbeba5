/** What scoring all frames of a video says about one category. */
export interface Truth {
  /** Similarities of the best and the worst frame. */
  readonly best: number;
  readonly worst: number;
  readonly bestTime: number;
}

/** Frames of nearly the same similarity: which one wins is chance. A cosine. */
export const LEAST_RANGE = 0.02;

/** @param similarities of the frames at `times`, at least one */
export function truthOf(times: readonly number[], similarities: Float64Array): Truth {
  const best = similarities.reduce((a, b) => Math.max(a, b));
  const worst = similarities.reduce((a, b) => Math.min(a, b));
  return { best, worst, bestTime: times[similarities.indexOf(best)] ?? 0 };
}

/** @returns how far a winner is from the best frame, as a share of the range: 0 is the best, 1 the worst */
export function regretOf({ best, worst }: Truth, similarity: number): number {
  return Math.max(0, (best - similarity) / (best - worst));
}

/** @returns the similarity of the best one among the frames that are shown at these seconds */
export function bestAt(
  seconds: readonly number[],
  times: readonly number[],
  similarities: Float64Array,
): number {
  return Math.max(...seconds.map((second) => similarities[shownAt(times, second)] ?? Number.NaN));
}

/** @returns index of the last frame that begins until then; of the first one before it */
export function shownAt(times: readonly number[], second: number): number {
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((times[middle] as number) <= second + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Times of frames spread evenly, each in the middle of its part. */
export function evenly(count: number, seconds: number): number[] {
  return Array.from({ length: count }, (_, order) => ((order + 0.5) / count) * seconds);
}

/** 0, 1, 2 … seconds. */
export function everySecond(seconds: number): number[] {
  return Array.from({ length: Math.max(1, Math.ceil(seconds)) }, (_, second) => second);
}

/** The smallest value that is not exceeded by this share of the values; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
