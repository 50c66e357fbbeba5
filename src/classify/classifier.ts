import type { PrecisionReport } from '../clip/graph/compiled-model.ts';
import type { LoadingProgress } from '../clip/store/progress-display.ts';
import type { Fit, QuestionOptions, Rules } from '../contract/options.ts';
import type { ErrorCode, ServiceError } from '../errors.ts';
import type { FrameJpeg, FrameProgress, VideoDescription } from '../media/video/video.ts';
import type { Precision } from '../precision.ts';
import type { WorkContext } from '../work-context.ts';
import type { Synonyms } from './synonyms.ts';

/** The model, as `/health` and detailed answers show it. */
export interface ModelSummary {
  readonly name: string;
  readonly sha256: string;
  readonly precision: Precision;
  readonly embeddingDimension: number;
  readonly imageResolution: number;
  /** Cosines are multiplied by it before they become scores. */
  readonly logitScale: number;
  /** How int8 compares with fp32 on this model's weights; absent if they were not compared. */
  readonly precisionReport?: PrecisionReport;
}

/** How categories become text: each template has one `{}`; several are averaged and renormalised. Default: `{}`. */
export type LabelOptions = Pick<QuestionOptions, 'template'>;

/** `others` and `several` of the rules: candidates compete with the background, instead of with each other. */
export interface RankingOptions extends LabelOptions, Rules {
  /**
   * How many candidates each ranking keeps. Scores are still computed over all of them. With `several`, a ranking of
   * categories also keeps all that are good enough. Default: all.
   */
  readonly limit?: number;
  /** Called with the number of candidates that a ranking keeps. If it throws, so does the ranking. */
  readonly onKept?: (candidates: number) => void;
}

/** The phrase of the background that fits a picture best. */
export interface BackgroundMatch {
  readonly phrase: string;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
}

/** How well one candidate fits. */
export interface CandidateScore<Name = string> {
  /** The candidate: a category for a file, a file or a frame's timestamp for a category. */
  readonly name: Name;
  /** Softmax of logitScale · similarity over all candidates, or over this one and the background; 0 to 1. */
  readonly score: number;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
  /** What it competed with: of its picture. Absent if it competed with the other candidates. */
  readonly background?: BackgroundMatch | undefined;
}

/**
 * The best candidates of one subject (a file, or a category), best first; ties by input order. If pictures compete with
 * the background, those that are good enough come first: each picture has its own background.
 */
export interface Ranking<Candidate = string> {
  readonly name: string;
  readonly candidates: readonly CandidateScore<Candidate>[];
}

/** A picture that cannot be used, and the reason. */
export interface BrokenFile {
  readonly file: string;
  readonly code: ErrorCode;
  readonly error: string;
}

/** A picture that is used although a part of it is missing, and a sentence about that part. */
export interface FileWarning {
  readonly file: string;
  readonly warning: string;
}

/** A picture that browsers do not show, as a JPEG file of what the model has looked at. */
export interface FileThumbnail {
  readonly file: string;
  readonly jpeg: Uint8Array;
}

/** Makes the error of one picture from a fault that was thrown while it was read or encoded. */
export type FaultOf = (thrown: unknown) => ServiceError | undefined;

/** A parsed categories document. */
export interface Categories {
  /** Distinct labels in the order sent. */
  readonly labels: readonly string[];
  /** The texts of each label, at least one, which are averaged. Absent: each label is its text. */
  readonly phrases?: readonly (readonly string[])[] | undefined;
}

/** A complete picture. Its bytes may be on the disk until there is memory for them. */
export interface StoredPicture {
  readonly byteLength: number;
  /** The first bytes, enough to recognise the format. May be called before `read`. */
  head(): Promise<Uint8Array> | Uint8Array;
  /** Called once, and once more after `putBack`. */
  read(): Promise<Uint8Array> | Uint8Array;
  /** Called with what `read` returned if that would take memory for too long. */
  putBack(bytes: Uint8Array): void;
}

/** A picture as the model sees it. */
export interface PictureEmbedding {
  readonly file: string;
  /** [tiles, D] float32, row-major; each row is L2-normalised. One row unless the fit is `tiles`. */
  readonly embedding: Float32Array;
  /** A sentence about the part of the picture that is missing. */
  readonly warning?: string | undefined;
  /** A JPEG file. */
  readonly thumbnail?: Uint8Array | undefined;
}

/** What became of a picture. */
export type PictureOutcome = PictureEmbedding | BrokenFile;

/** The pictures of one request: encoded while they arrive, kept as embeddings only. */
export interface PictureCollection {
  /**
   * Adds one picture. Resolves when the caller may add the next one: awaiting it is the back-pressure. A picture
   * that cannot be used does not throw; `broken()` names it.
   * @param name the file's name, exactly as sent; a second picture of the same name becomes `name (2)`
   * @param picture its bytes belong to the collection, which frees their memory after decoding. Bytes on the disk are
   *   read before this resolves
   * @returns a promise of what became of the picture. If it rejects, the methods that wait for the pictures do, too
   */
  add(
    name: string,
    picture: Uint8Array | StoredPicture,
  ): Promise<{ readonly settled: Promise<PictureOutcome> }>;
  /**
   * Adds a picture by its embedding, of this model at this precision. It is ranked exactly as the picture would be.
   * @param name as in `add`
   * @param tiles [D] float32 each, L2-normalised; one unless the fit is `tiles`. They belong to the collection
   * @returns all of them, as `PictureEmbedding` has them
   * @throws ServiceError embeddings_invalid
   */
  addEmbedding(name: string, tiles: readonly Float32Array[]): Float32Array;
  /** Adds a picture that the caller could not receive completely, for example because it has too many bytes. */
  refuse(name: string, fault: ServiceError): void;
  /** The names in the answer of all pictures added and refused so far, in the order sent. */
  names(): readonly string[];
  /** Waits for all pictures added so far. @returns in the order sent */
  broken(): Promise<readonly BrokenFile[]>;
  /** Waits for all pictures added so far. @returns in the order sent */
  warnings(): Promise<readonly FileWarning[]>;
  /** Waits for all pictures added so far. @returns in the order sent; none without `onThumbnail` */
  thumbnails(): Promise<readonly FileThumbnail[]>;
  /** Waits for all pictures added so far. @returns the usable ones, in the order sent */
  embeddings(): Promise<readonly PictureEmbedding[]>;
  /** Ranks the categories for every usable picture. @returns in the order sent, the best category first */
  rankCategories(categories: Categories, options: RankingOptions): Promise<readonly Ranking[]>;
  /** Ranks the usable pictures for every category. @returns in the order sent, the best picture first */
  rankFiles(categories: Categories, options: RankingOptions): Promise<readonly Ranking[]>;
}

export interface CollectOptions {
  /** How pictures are fitted into the model's square. Default: `crop`. */
  readonly fit?: Fit | undefined;
  /**
   * Called with the bytes of each picture's further tiles, which are kept until the answer. If it throws, calls that
   * wait for the pictures reject with the error.
   */
  readonly onTiles?: ((bytes: number) => void) | undefined;
  /** The colour behind transparent pictures, `#rrggbb`. Default: opacity is dropped. */
  readonly background?: string | undefined;
  /**
   * Called with the bytes of each thumbnail that is kept until the answer. If it throws, calls that wait for the
   * pictures reject with the error. Default: there are no thumbnails.
   */
  readonly onThumbnail?: ((bytes: number) => void) | undefined;
  /**
   * Turns an error that is not about a picture into that picture's fault. Without it, or if it returns undefined, every
   * call that waits for the pictures rejects with the error.
   */
  readonly faultOf?: FaultOf;
}

/** Compares pictures with several categories, for callers that keep only the similarities. */
export interface Comparison {
  /** How many similarities a picture has. */
  readonly width: number;
  /**
   * @param embedding of a picture, [tiles, D] float32
   * @returns its similarity with each category, and with each phrase of the background if there is one
   */
  compare(embedding: Float32Array): readonly number[];
  /**
   * @param similarities [width] of all pictures: with the first category, the second, …
   * @param category its place
   * @returns the best pictures by their places, exactly as `rankFiles` finds them
   */
  rank(similarities: readonly Float64Array[], category: number): readonly CandidateScore<number>[];
}

/** @param embedding of a picture, [tiles, D] float32 */
export type RankPicture = (embedding: Float32Array) => readonly CandidateScore[];

/** The use cases. Their callers are http and the command line, which know no pixels. */
export interface Classifier {
  readonly model: ModelSummary;
  collect(work: WorkContext, options?: CollectOptions): PictureCollection;
  /**
   * Encodes texts, for example the categories of a question.
   * @returns one embedding [D] float32, L2-normalised, per text: the average over the templates. Equal texts share one.
   *   The caller must not write to it
   * @throws ServiceError label_too_long; the signal's reason
   */
  embedTexts(
    texts: readonly string[],
    options: LabelOptions,
    work: WorkContext,
  ): Promise<readonly Float32Array[]>;
  /** How many tokens the model reads of these texts. @throws ServiceError label_too_long; the signal's reason */
  countTokens(texts: readonly string[], options: LabelOptions, work: WorkContext): Promise<number>;
  /**
   * Prepares a question about pictures that become known one by one.
   * @returns ranks the categories for one picture, exactly as `rankCategories` does; best first
   * @throws ServiceError label_too_long; the signal's reason
   */
  createRanker(categories: Categories, options: RankingOptions, work: WorkContext): Promise<RankPicture>;
  /**
   * Prepares the same for the best pictures of each category. The pictures are not kept, so there may be a million.
   * @throws ServiceError label_too_long; the signal's reason
   */
  createComparison(categories: Categories, options: RankingOptions, work: WorkContext): Promise<Comparison>;
  /** @returns pairs of categories that mean almost the same, the most similar first; a few. @throws the signal's reason */
  findSynonyms(
    categories: Categories,
    options: LabelOptions,
    work: WorkContext,
  ): Promise<readonly Synonyms[]>;
  readonly searchVideo: SearchVideo;
  /** @throws ServiceError categories_malformed, categories_missing, categories_too_many */
  parseCategories(document: Uint8Array): Categories;
  /**
   * Reads a document of texts to be embedded, which is written as one of categories is.
   * @throws ServiceError categories_malformed, categories_missing, categories_too_many
   */
  parseTexts(document: Uint8Array): readonly string[];
  /** @throws ServiceError label_too_long, categories_too_many */
  checkLabels(categories: Categories, options: LabelOptions & Rules, work: WorkContext): Promise<void>;
}

export type { FrameJpeg, Synonyms, VideoDescription };

/** The progress of a search. `waiting`: other videos are searched first. */
export type SearchProgress = { readonly stage: 'waiting' } | FrameProgress;

interface VideoSearchOptions extends RankingOptions {
  /** Decodes all of the video, whatever its length, and looks at more frames. Default: false. */
  readonly thorough?: boolean;
  /** How frames are fitted into the model's square. Default: `crop`. */
  readonly fit?: Fit;
  readonly onProgress?: (progress: SearchProgress) => void;
  /** Called when the search has its place and does not wait for other videos any more. */
  readonly onBegin?: () => void;
}

/** How well one frame fits a category. */
export interface FrameScore {
  /** Seconds from the beginning of the video. */
  readonly timestamp: number;
  /** Softmax of logitScale · similarity over frames at least a second apart, or over this one and the background; 0 to 1. */
  readonly score: number;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
  /** What it competed with. Absent if it competed with the other frames. */
  readonly background?: BackgroundMatch;
}

/**
 * A part of the video in which a category holds: its similarity is in the upper third of the category's range and, if
 * the category competes with the background, its score is good enough.
 */
export interface Moment {
  /** In seconds. It ends with the next frame that was looked at, or with the video. */
  readonly start: number;
  readonly end: number;
  /** Of the frame that fits best. */
  readonly timestamp: number;
  readonly similarity: number;
}

/** What fits one category. */
export interface FrameRanking {
  readonly category: string;
  /** Best first, at least a second apart; ties by time. Never empty. With the background, good enough ones come first. */
  readonly frames: readonly FrameScore[];
  /** The one with the best frame first. */
  readonly moments: readonly Moment[];
}

/** A video that was searched. It holds one of the few places for videos until it is disposed of. */
export interface VideoSearch extends AsyncDisposable {
  readonly video: VideoDescription;
  readonly framesConsidered: number;
  readonly scenes: number;
  /** In the order of the categories. */
  readonly rankings: readonly FrameRanking[];
  /** Sentences about the parts of the video that could not be used. */
  readonly warnings: readonly string[];
  /**
   * Frames as they are displayed, at full size. One call for all costs much less than one call each.
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
  work: WorkContext,
) => Promise<VideoSearch>;

export type { LoadingProgress };

/**
 * Whether the service can answer now. `sentence` is for a person. If the model is unavailable, it names the missing
 * file and its place.
 */
export type EngineState =
  | { readonly state: 'loading'; readonly sentence: string; readonly progress: LoadingProgress }
  | { readonly state: 'unavailable'; readonly sentence: string; readonly retryAfterSeconds: number }
  | { readonly state: 'ready'; readonly classifier: Classifier };
