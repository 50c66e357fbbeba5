import type { VideoDetails } from '../../contract/schemas.ts';

/** The best frame of a video for one category. */
export interface Moment {
  readonly category: string;
  /** Seconds. */
  readonly timestamp: number;
  readonly score: number;
  readonly similarity: number;
  /** Further good frames, best first. */
  readonly others: readonly { readonly timestamp: number; readonly score: number }[];
}

/** A frame on the time line, and all categories that it is the best one for. */
export interface Mark {
  readonly timestamp: number;
  readonly categories: readonly string[];
}

/**
 * @param threshold least score that counts, 0 to 1; a category whose best frame has less is left out
 * @param topK how many frames of a category, the best one included
 */
export function momentsOf(
  { results }: Pick<VideoDetails, 'results'>,
  threshold: number,
  topK: number,
): Moment[] {
  return results.flatMap(({ category, timestamp, score, similarity, scores }) =>
    timestamp === null || score < threshold
      ? []
      : [
          {
            category,
            timestamp,
            score,
            similarity,
            others: scores.slice(1, topK).filter((frame) => frame.score >= threshold),
          },
        ],
  );
}

/** In the order of time. */
export function marksOf(moments: readonly Moment[]): Mark[] {
  const byTime = Map.groupBy(moments, ({ timestamp }) => timestamp);
  return [...byTime]
    .map(([timestamp, here]) => ({ timestamp, categories: here.map(({ category }) => category) }))
    .sort((a, b) => a.timestamp - b.timestamp);
}

/**
 * Places marks side by side where they would cover each other: each goes to the first lane with room.
 * @param positions along the line, ascending, in any unit
 * @param width of a mark, in the same unit
 * @param maxLanes further ones cover others of the last lane
 * @returns the lane of each, from 0
 */
export function lanesOf(positions: readonly number[], width: number, maxLanes: number): number[] {
  const ends: number[] = [];
  return positions.map((position) => {
    const free = ends.findIndex((end) => end <= position);
    const lane = free === -1 ? Math.min(ends.length, maxLanes - 1) : free;
    ends[lane] = position + width;
    return lane;
  });
}
