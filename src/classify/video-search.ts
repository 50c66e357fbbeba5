import type { FrameJpeg, VideoDescription } from '../media/video/video.ts';
import type { Categories, RankingOptions, WorkTimes } from './classifier.ts';

export type { FrameJpeg, VideoDescription };

/** How far the search through a video has come. */
export type SearchProgress =
  /** Other videos are being looked through first. */
  | { readonly stage: 'waiting' }
  /** What frames there are is read. */
  | { readonly stage: 'indexing'; readonly secondsDone: number }
  | {
      readonly stage: 'searching';
      /** Seconds of the video. */
      readonly secondsDone: number;
      readonly secondsTotal: number;
      /** Found worth looking at so far. */
      readonly frames: number;
    };

export interface VideoSearchOptions extends RankingOptions {
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: SearchProgress) => void;
  /** Called when it has its place: no other videos are waited for any more. */
  readonly onBegin?: () => void;
  /** What the work takes is added to. */
  readonly times?: WorkTimes;
}

/** One frame's standing for a category. */
export interface FrameScore {
  /** Seconds from the beginning of the video. */
  readonly timestamp: number;
  /** Softmax of logitScale · similarity over all frames considered; 0 to 1. */
  readonly score: number;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
}

/** The best frames for one category, best first; of equal ones the earliest. Never empty. */
export interface FrameRanking {
  readonly category: string;
  readonly frames: readonly FrameScore[];
}

/**
 * A video that was looked through. It holds one of the few places for videos until it is disposed of.
 */
export interface VideoSearch extends AsyncDisposable {
  readonly video: VideoDescription;
  readonly framesConsidered: number;
  readonly scenes: number;
  /** In the order of the categories. */
  readonly rankings: readonly FrameRanking[];
  /** Sentences about what could not be used of the video. */
  readonly warnings: readonly string[];
  /**
   * Frames as they are displayed, at full size. All at once cost much less than one by one.
   * @param timestamps of frames in the rankings, in any order
   * @returns one JPEG file for each, ascending
   * @throws ServiceError video_broken; the reason of the search's signal
   */
  jpegs(timestamps: readonly number[]): AsyncIterable<FrameJpeg>;
}

/**
 * Finds the best frame of a video for each category.
 * @param path a file that stays until the search is disposed of
 * @throws ServiceError video_unsupported, video_broken, video_too_large; the signal's reason
 */
export type SearchVideo = (
  path: string,
  categories: Categories,
  options: VideoSearchOptions,
) => Promise<VideoSearch>;
