import type { BackgroundMatch, Categories, Moment, Synonyms } from '../../classify/classifier.ts';
import type { QuestionOptions } from '../../contract/options.ts';
import type { VideoSearchOptions } from '../arguments.ts';
import type { FoundFile } from '../files/find-files.ts';
import type { AnsweringModel } from '../output/provenance.ts';

/** The question about every picture: the options, named as on the wire, and the categories. */
export interface Question extends QuestionOptions {
  readonly categories: Categories;
}

export interface Standing {
  /** Softmax over all candidates, or over this one and the background; 0 to 1. */
  readonly score: number;
  /** Cosine; −1 to 1. */
  readonly similarity: number;
  /** What it competed with. Absent if it competed with the other candidates. */
  readonly background?: BackgroundMatch | undefined;
}

/** Called once with the categories that mean almost the same to the model, before the first answer or with it. */
export type TellSynonyms = (found: readonly Pick<Synonyms, 'warning'>[]) => void;

/** A picture's best category. */
export interface AnsweredFile extends Standing {
  readonly kind: 'answered';
  readonly file: string;
  /** A sentence about the part of the picture that is missing. */
  readonly warning?: string | undefined;
  /** null: the best category is not good enough. */
  readonly category: string | null;
  /** All that are good enough, best first, if several are asked for. */
  readonly categories?: readonly string[] | undefined;
  /** Best first. */
  readonly scores: readonly ({ readonly category: string } & Standing)[];
}

export interface BrokenFile {
  readonly kind: 'broken';
  readonly file: string;
  /** `file_unreadable` for a fault of the disk, otherwise a code of the service, perhaps of a later version. */
  readonly code: string;
  readonly error: string;
}

/** A file of a folder that is not a picture. */
export interface SkippedFile {
  readonly kind: 'skipped';
  readonly file: string;
  readonly what: string;
}

export type FileOutcome = AnsweredFile | BrokenFile | SkippedFile;

/** A category's best picture. Score and similarity are null if no picture can be used. */
export interface BestFile {
  readonly category: string;
  /** null: no picture is good enough. */
  readonly file: string | null;
  readonly score: number | null;
  readonly similarity: number | null;
  readonly background?: BackgroundMatch | undefined;
  readonly scores: readonly ({ readonly file: string } & Standing)[];
}

/** A category's best frame. */
export interface BestFrame extends Standing {
  readonly category: string;
  /** Seconds from the beginning of the video; null: no frame is good enough. */
  readonly timestamp: number | null;
  readonly scores: readonly ({ readonly timestamp: number } & Standing)[];
  /** If they were asked for: the one with the best frame first. */
  readonly moments?: readonly Moment[] | undefined;
}

/** The categories whose best frame is the one at this timestamp. */
export function categoriesOf(frames: readonly BestFrame[], timestamp: number): readonly string[] {
  return frames.filter((frame) => frame.timestamp === timestamp).map(({ category }) => category);
}

export interface VideoAnswer {
  readonly frames: readonly BestFrame[];
  /** Sentences about the parts of the video that could not be used. */
  readonly warnings: readonly string[];
}

export interface VideoRequest extends VideoSearchOptions {
  readonly path: string;
  /** Called with the progress of the search; the total is undefined while it is not known. */
  readonly onProgress: (secondsDone: number, secondsTotal: number | undefined) => void;
  /**
   * Called with each frame that is an answer.
   * @param categories whose answer it is
   * @param jpeg a JPEG file
   */
  readonly takeJpeg?: (timestamp: number, categories: readonly string[], jpeg: Uint8Array) => Promise<void>;
}

/** A picture of a search, with the cosine of what was searched for. */
export interface SimilarFile {
  readonly file: string;
  /** −1 to 1. */
  readonly similarity: number;
}

/** A picture that looks like another one. */
export interface DuplicateFile extends SimilarFile {
  /** From 1. The first file of a group is the one that the others are compared with. */
  readonly group: number;
}

export interface SearchOptions {
  /** The most that are listed. */
  readonly limit: number;
  readonly minSimilarity: number;
}

/** Called once for every file: it was taken, or why not. */
export type TellFile = (outcome: TakenFile) => void;

/** Questions about a whole folder whose answers are pictures. */
export interface PhotoLibrary {
  /** @returns the pictures that fit the words, best first */
  search(
    words: string,
    files: readonly FoundFile[],
    options: SearchOptions,
    tell: TellFile,
  ): Promise<readonly SimilarFile[]>;
  /** @returns the pictures that look like this one, without itself, best first; the fault of the photo itself */
  similar(
    photo: FoundFile,
    files: readonly FoundFile[],
    options: SearchOptions,
    tell: TellFile,
  ): Promise<readonly SimilarFile[] | BrokenFile>;
  /**
   * @param tellCompared called with the number of pictures that have been compared with all others
   * @returns the pictures that look like an earlier one, by groups
   */
  duplicates(
    files: readonly FoundFile[],
    minSimilarity: number,
    tell: TellFile,
    tellCompared: (done: number, total: number) => void,
  ): Promise<readonly DuplicateFile[]>;
}

/** The engine in this process, or a server. */
export interface Answers extends AsyncDisposable {
  /** The model that answers; undefined until a server has answered. */
  readonly model: AnsweringModel | undefined;
  /** Answers file by file, in their order. Keeps no answers. */
  categorize(files: readonly FoundFile[]): AsyncIterable<FileOutcome>;
  /**
   * Compares all files with each other.
   * @param tell called for every file, when it is taken or with its fault. A fault may come after its file was taken
   */
  best(files: readonly FoundFile[], tell: (outcome: TakenFile) => void): Promise<readonly BestFile[]>;
  /** So far. */
  readonly counts?: { readonly fromIndex: number } | undefined;
  /** undefined: a server that gives no embeddings */
  readonly library?: PhotoLibrary | undefined;
  video(request: VideoRequest): Promise<VideoAnswer>;
}

/** A file that is used although a part of it is missing. It comes after the file was taken. */
export interface WarnedFile {
  readonly kind: 'warned';
  readonly file: string;
  readonly warning: string;
}

export type TakenFile =
  | { readonly kind: 'taken'; readonly file: string }
  | WarnedFile
  | BrokenFile
  | SkippedFile;
