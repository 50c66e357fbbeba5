import type { CandidateScore, Categories, LabelOptions, RankingOptions } from '../../classify/classifier.ts';
import type { FoundFile } from '../files/find-files.ts';
import type { ReadFile } from '../files/read-picture.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import type { BrokenFile, SkippedFile } from './answers.ts';

/** What was read is a picture whose embedding is known. */
interface KnownPicture {
  readonly kind: 'known';
  /** [tiles, D] float32. */
  readonly embedding: Float32Array;
}

interface EmbeddedFile {
  readonly kind: 'embedded';
  readonly file: string;
  /** [tiles, D] float32, row-major; each row is L2-normalised. */
  readonly embedding: Float32Array;
  /** A sentence about the part of the picture that is missing. */
  readonly warning?: string | undefined;
}

export type EmbeddingOutcome =
  | EmbeddedFile
  | (KnownPicture & { readonly file: string })
  | BrokenFile
  | SkippedFile;

/** Encodes pictures and words with one model, and ranks by its rules: the engine in this process, or a server. */
export interface Embedder extends AsyncDisposable {
  readonly model: AnsweringModel;
  /** Numbers of an embedding. */
  readonly dimension: number;
  /**
   * @param read reads one of the files; called again if a picture has to be sent again
   * @returns in the order of the files
   */
  embed(
    files: readonly FoundFile[],
    read: (file: FoundFile) => Promise<ReadFile | KnownPicture>,
  ): Promise<readonly EmbeddingOutcome[]>;
  /** @returns of these words in these templates, [D] float32, L2-normalised */
  embedText(words: string, options: LabelOptions): Promise<Float32Array>;
  /** @returns for each picture the ranked categories, best first */
  rankCategories(
    embeddings: readonly Float32Array[],
    categories: Categories,
    options: RankingOptions,
  ): Promise<readonly (readonly CandidateScore[])[]>;
  /** @returns for each category the ranked pictures by their places, best first; ties by place */
  rankPictures(
    pictures: ScannedPictures,
    categories: Categories,
    options: RankingOptions,
  ): Promise<readonly (readonly CandidateScore<number>[])[]>;
}

/** Many pictures whose embeddings need not be in memory together. */
export interface ScannedPictures {
  readonly count: number;
  /** Calls `visit` with each picture that can still be used, in any order. The embedding is valid during the call. */
  scan(visit: (place: number, embedding: Float32Array) => void): Promise<void>;
}
