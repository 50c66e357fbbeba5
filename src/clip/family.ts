import { invariant } from '../errors.ts';
import type { ClipArchitecture } from './architecture.ts';
import type { Checkpoint, CheckpointFile } from './checkpoint/checkpoint.ts';
import type { TensorCollection } from './checkpoint/torch-archive.ts';
import { clipFamily } from './clip-family.ts';
import type { NamedWeights } from './graph/named-weights.ts';
import type { Parts } from './graph/transformer.ts';
import type { placePicture } from './preprocessing.ts';

/** text → ids [L] int32, start and end token included. @throws ServiceError label_too_long */
export type Tokenize = (text: string) => Int32Array;

/** Cosines of one subject with all candidates → the score of each candidate. Both in the same order. */
export type Score = (similarities: Float64Array) => Float64Array;

/** What a score needs besides cosines. Written into `model.json`. */
interface ScoreParameters {
  /** Cosines are multiplied by it. */
  readonly logitScale: number;
}

/** Models that share a tokenizer, a preprocessing, a score, a graph, and the names of their weights. */
interface ModelFamily {
  /** Written into `model.json`, so it must not change. */
  readonly name: string;
  /** Number of the tokenizer's ids, start and end included. */
  readonly vocabularySize: number;
  /** For error sentences. */
  readonly tokenizerName: string;
  /** Whether these tensors belong to a model of the family. */
  recognises(stored: TensorCollection): boolean;
  /**
   * Finds the architecture and its weights, and checks every shape.
   * @throws CheckpointError
   */
  describe(
    stored: TensorCollection,
    file: CheckpointFile,
  ): Pick<Checkpoint, 'layout' | 'architecture' | 'weights' | 'assumption'>;
  /** @param contextLength the most tokens of a text, start and end included */
  createTokenizer(contextLength: number): Tokenize;
  /** How a picture becomes squares of the model's input. */
  readonly placePicture: typeof placePicture;
  readScoreParameters(weights: NamedWeights): ScoreParameters;
  createScore(parameters: ScoreParameters): Score;
  /**
   * Builds the graph of one tower: `pixels` uint8 [N, S, S, 3] or `input_ids` int32 [N, L] → `embeddings` float32
   * [N, D], L2-normalised.
   */
  buildGraph(tower: 'vision' | 'text', parts: Parts, architecture: ClipArchitecture): Promise<void>;
}

/** The first family that recognises a checkpoint reads it. If none does, the last one says why. */
const families = [clipFamily] as const satisfies readonly ModelFamily[];

export function familyOf(stored: TensorCollection): ModelFamily {
  return families.find((family) => family.recognises(stored)) ?? families.at(-1)!;
}

/** @param name as in `model.json` and in an open checkpoint */
export function familyNamed(name: string): ModelFamily {
  const family = families.find((known) => known.name === name);
  invariant(family, `there is no model family ${name}`);
  return family;
}
