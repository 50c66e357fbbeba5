import type { Comparison, RankingOptions, RankPicture } from '../../classify/classifier.ts';
import type { FoundFile } from '../files/find-files.ts';
import type { ReadFile } from '../files/read-picture.ts';
import type { AnsweringModel } from '../output/provenance.ts';
import type { BrokenFile, SkippedFile } from './answers.ts';

/** What was read is a picture whose embedding is known. */
interface KnownPicture {
  readonly kind: 'known';
  /** [D] float32. */
  readonly embedding: Float32Array;
}

interface EmbeddedFile {
  readonly kind: 'embedded';
  readonly file: string;
  /** [D] float32, L2-normalised. */
  readonly embedding: Float32Array;
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
  /** @returns ranks the categories for one picture */
  createRanker(labels: readonly string[], options: RankingOptions): Promise<RankPicture>;
  /** @returns ranks pictures for each category */
  createComparison(labels: readonly string[], options: RankingOptions): Promise<Comparison>;
}
