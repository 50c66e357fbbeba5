import type { Categories } from '../../classify/classifier.ts';
import type { FoundFile } from '../files/find-files.ts';
import type { FileFaultCode } from '../files/read-picture.ts';
import type { AnsweringModel } from '../output/provenance.ts';

/** What is asked of every picture. */
export interface Question {
  readonly categories: Categories;
  /** Each with one `{}`; undefined: labels verbatim. */
  readonly templates: readonly string[] | undefined;
  /** Least score that counts, 0 to 1. */
  readonly threshold: number | undefined;
  /** How many candidates are listed beside the best. */
  readonly topK: number;
}

export interface Standing {
  /** Softmax over all candidates; 0 to 1. */
  readonly score: number;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
}

/** A picture's best category. */
export interface AnsweredFile extends Standing {
  readonly kind: 'answered';
  readonly file: string;
  /** null: the best one stays below the threshold. */
  readonly category: string | null;
  /** Best first. */
  readonly scores: readonly ({ readonly category: string } & Standing)[];
}

export interface BrokenFile {
  readonly kind: 'broken';
  readonly file: string;
  readonly code: FileFaultCode;
  readonly error: string;
}

/** Lay in a folder and is no picture. */
export interface SkippedFile {
  readonly kind: 'skipped';
  readonly file: string;
  readonly what: string;
}

export type FileOutcome = AnsweredFile | BrokenFile | SkippedFile;

/** A category's best picture. The standing is null where there is no sound picture at all. */
export interface BestFile {
  readonly category: string;
  /** null: the best one stays below the threshold, or there is none. */
  readonly file: string | null;
  readonly score: number | null;
  readonly similarity: number | null;
  readonly scores: readonly ({ readonly file: string } & Standing)[];
}

/** A category's best frame. */
export interface BestFrame extends Standing {
  readonly category: string;
  /** Seconds from the beginning of the video; null: the best one stays below the threshold. */
  readonly timestamp: number | null;
  readonly scores: readonly ({ readonly timestamp: number } & Standing)[];
}

/** Whose best frame it is. */
export function categoriesOf(frames: readonly BestFrame[], timestamp: number): readonly string[] {
  return frames.filter((frame) => frame.timestamp === timestamp).map(({ category }) => category);
}

export interface VideoAnswer {
  readonly frames: readonly BestFrame[];
  /** Sentences about what could not be used of the video. */
  readonly warnings: readonly string[];
}

export interface VideoRequest {
  readonly path: string;
  /** Told how far the search has come; the total is undefined while it is not known. */
  readonly onProgress: (secondsDone: number, secondsTotal: number | undefined) => void;
  /**
   * Takes the frames that are an answer, one by one.
   * @param categories whose best frame it is
   * @param jpeg a JPEG file
   */
  readonly takeJpeg?: (timestamp: number, categories: readonly string[], jpeg: Uint8Array) => Promise<void>;
}

/** Whoever answers: the engine in this process, or a server. */
export interface Answers extends AsyncDisposable {
  /** Which model answers; undefined while nobody knows. */
  readonly model: AnsweringModel | undefined;
  /** Answers file by file, in their order, as they come; keeps nothing of those that were given. */
  categorize(files: readonly FoundFile[]): AsyncIterable<FileOutcome>;
  /**
   * Compares all files with each other.
   * @param tell hears of every file: its fault, or that it was taken; of some faults after that
   */
  best(files: readonly FoundFile[], tell: (outcome: TakenFile) => void): Promise<readonly BestFile[]>;
  video(request: VideoRequest): Promise<VideoAnswer>;
}

export type TakenFile = { readonly kind: 'taken'; readonly file: string } | BrokenFile | SkippedFile;
