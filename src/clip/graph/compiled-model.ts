import type { ClipArchitecture } from '../architecture.ts';

export type Precision = 'fp32' | 'int8';

/** What stands in a compiled model's `model.json`, beside its two graphs. */
export interface CompiledModelDescription {
  /** Name a person knows it by: `ViT-B/32`, `demo`, or the checkpoint's file name. */
  readonly name: string;
  /** sha256 of the checkpoint file, hex. */
  readonly sha256: string;
  readonly precision: Precision;
  readonly builderVersion: number;
  readonly architecture: ClipArchitecture;
  /** exp(logit_scale): cosines are multiplied with it before the softmax. */
  readonly logitScale: number;
}

/** A compiled model on disk: ONNX files that may refer to weight files beside them. */
export interface CompiledModel extends CompiledModelDescription {
  /** Input `pixels` uint8 [N, S, S, 3]; output `embeddings` float32 [N, D], L2-normalised. */
  readonly visionGraphPath: string;
  /** Input `input_ids` int32 [N, L], L ≤ contextLength; output `embeddings` float32 [N, D], L2-normalised. */
  readonly textGraphPath: string;
}
