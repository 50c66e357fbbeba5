import type { ModelSummary } from '../../classify/classifier.ts';
import type { VideoSearch } from '../../classify/video-search.ts';
import { wireModel } from '../answers.ts';
import type { VideoDetails } from '../schemas.ts';
import type { StoredFile } from '../spool.ts';
import { frameName } from './frame-name.ts';

type Result = Omit<VideoDetails['results'][number], 'image'> & {
  /** null: below the threshold; undefined: not asked for. */
  readonly image: StoredFile | null | undefined;
};

/** What a search has found, complete but for the pictures, which lie on the disk. */
export interface VideoAnswer extends Omit<VideoDetails, 'results'> {
  readonly results: readonly Result[];
}

/** The frames that are an answer, each once, in the order of time. */
export function winningTimestamps({ rankings }: VideoSearch, threshold = 0): readonly number[] {
  const winners = rankings
    .flatMap(({ frames }) => frames.slice(0, 1))
    .filter(({ score }) => score >= threshold);
  return [...new Set(winners.map(({ timestamp }) => timestamp))].toSorted((a, b) => a - b);
}

/**
 * @param videoName as its client has it
 * @param images of the winners, by timestamp; undefined where none is asked for
 */
export function composeAnswer(
  model: ModelSummary,
  search: VideoSearch,
  videoName: string,
  images: ReadonlyMap<number, StoredFile> | undefined,
  threshold = 0,
): VideoAnswer {
  const { duration, width, height, frameRate, codec } = search.video;
  const { framesConsidered, scenes, warnings } = search;
  return {
    model: wireModel(model),
    video: { duration, width, height, frameRate, codec, framesConsidered, scenes },
    results: search.rankings.map(({ category, frames }) => {
      const [best] = frames;
      if (!best) throw new Error('a ranking without a frame: this is a bug');
      const { timestamp, score, similarity } = best;
      const standing = { category, score, similarity, scores: [...frames] };
      if (score < threshold) return { ...standing, file: null, timestamp: null, image: images && null };
      return { ...standing, file: frameName(videoName, timestamp), timestamp, image: images?.get(timestamp) };
    }),
    warnings: [...warnings],
  };
}
