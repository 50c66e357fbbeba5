import type { ClipArchitecture } from '../architecture.ts';

/** One named weight. It stays in its file until it is read, so that a checkpoint never lies in memory whole. */
export interface WeightTensor {
  readonly shape: readonly number[];
  /** Reads the values, widened to float32, row-major whatever the file's strides were. */
  read(): Float32Array;
}

export type CheckpointLayout = 'torchscript' | 'state_dict' | 'huggingface' | 'constructed';

/** An open checkpoint: weights under the reference's names (`visual.conv1.weight`, `token_embedding.weight`, …). */
export interface Checkpoint extends Disposable {
  readonly layout: CheckpointLayout;
  readonly architecture: ClipArchitecture;
  readonly weights: ReadonlyMap<string, WeightTensor>;
}
