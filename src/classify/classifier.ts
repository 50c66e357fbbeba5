import type { PrecisionReport } from '../clip/graph/compiled-model.ts';
import type { EncodeTimes } from '../clip/image-encoder.ts';
import type { LoadingProgress } from '../clip/store/progress-display.ts';
import type { ErrorCode, ServiceError } from '../errors.ts';
import type { FrameJpeg, VideoDescription } from '../media/video/video.ts';

/** Which model answers: shown by `/health` and by detailed answers. */
export interface ModelSummary {
  readonly name: string;
  readonly sha256: string;
  readonly precision: 'fp32' | 'int8';
  readonly embeddingDimension: number;
  readonly imageResolution: number;
  /** How int8 compares with fp32 on its weights; absent where nothing was compared. */
  readonly precisionReport?: PrecisionReport;
}

/** How categories become text: each template has one `{}`; several are averaged and renormalised. */
export interface LabelOptions {
  /** Default: the label verbatim. */
  readonly templates?: readonly string[];
}

export interface RankingOptions extends LabelOptions {
  /** How many candidates each ranking keeps (scores are still over all of them). Default: all. */
  readonly limit?: number;
}

/** One candidate's standing. */
export interface CandidateScore<Name = string> {
  /** The candidate: a category for a file, a file or a frame's timestamp for a category. */
  readonly name: Name;
  /** Softmax of logitScale · similarity over all candidates; 0 to 1. */
  readonly score: number;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
}

/** The best candidates of one subject (a file, or a category), best first; ties by input order. */
export interface Ranking<Candidate = string> {
  readonly name: string;
  readonly candidates: readonly CandidateScore<Candidate>[];
}

/** A picture that could not be used, and why. */
export interface BrokenFile {
  readonly file: string;
  readonly code: ErrorCode;
  readonly error: string;
}

/** What to say of a picture at which something was thrown. */
export type FaultOf = (thrown: unknown) => ServiceError | undefined;

/** A parsed categories document. */
export interface Categories {
  /** Distinct labels in the order sent. */
  readonly labels: readonly string[];
}

/**
 * Where the time of one request goes. Its pictures are worked on side by side, and with those of others: what they
 * take is added up, and may be more than has passed.
 */
export interface WorkTimes extends EncodeTimes {
  /** Waiting for a place. */
  queueMs: number;
  decodeMs: number;
  /** Until all labels are there, from the cache or encoded. */
  labelsMs: number;
}

/** A complete picture, whose bytes may lie elsewhere until there is room for them. */
export interface StoredPicture {
  readonly byteLength: number;
  /** Its first bytes, by which its format is told; may be called before `read`. */
  head(): Promise<Uint8Array> | Uint8Array;
  /** Called once at most. */
  read(): Promise<Uint8Array> | Uint8Array;
}

/** The pictures of one request: encoded while they arrive, kept as embeddings only. */
export interface PictureCollection {
  /**
   * Takes one picture. Resolves as soon as the caller may hand over the next one: awaiting it is the
   * back-pressure. A picture that cannot be used does not throw; it ends up in `broken()`.
   * @param name the file's name, exactly as sent; a second picture of the same name becomes `name (2)`
   * @param picture its bytes are the collection's from now on: their memory is given back once they are decoded.
   *   What is stored elsewhere is read before this resolves
   * @returns a promise that settles when the work on the picture is over
   */
  add(name: string, picture: Uint8Array | StoredPicture): Promise<{ readonly settled: Promise<void> }>;
  /** Takes note, in its place, of a picture that the shell could not take whole (too many bytes, say). */
  refuse(name: string, fault: ServiceError): void;
  /** What the pictures taken and refused so far are called in the answer, in the order sent. */
  names(): readonly string[];
  /** Waits for all pictures taken so far. In the order sent. */
  broken(): Promise<readonly BrokenFile[]>;
  /** For every sound picture, in the order sent: the categories, best first. */
  rankCategories(categories: Categories, options: RankingOptions): Promise<readonly Ranking[]>;
  /** For every category, in the order sent: the sound pictures, best first. */
  rankFiles(categories: Categories, options: RankingOptions): Promise<readonly Ranking[]>;
}

/** The use cases, as the HTTP shell sees them. It knows no HTTP, and the shell knows no pixels. */
export interface Classifier {
  readonly model: ModelSummary;
  /**
   * @param signal aborted when the client leaves: queued work is dropped, waiting calls reject
   * @param times what the work takes is added to
   * @param faultOf makes a picture's fault of what was thrown for a reason that is none of a picture's; undefined, or
   * where it returns undefined: all that asks for outcomes rejects
   */
  collect(signal: AbortSignal, times?: WorkTimes, faultOf?: FaultOf): PictureCollection;
  readonly searchVideo: SearchVideo;
  /** @throws ServiceError categories_malformed, categories_missing, categories_too_many */
  parseCategories(document: Uint8Array): Categories;
  /** @throws ServiceError label_too_long, categories_too_many, before any picture work is wasted */
  checkLabels(categories: Categories, options: LabelOptions, signal: AbortSignal): Promise<void>;
}

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

interface VideoSearchOptions extends RankingOptions {
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
interface FrameRanking {
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

export type { LoadingProgress };

/**
 * What the service can do right now. `sentence` is for a person; where the model cannot be had it
 * names the file to put where.
 */
export type EngineState =
  | { readonly state: 'loading'; readonly sentence: string; readonly progress: LoadingProgress }
  | { readonly state: 'unavailable'; readonly sentence: string; readonly retryAfterSeconds: number }
  | { readonly state: 'ready'; readonly classifier: Classifier };
