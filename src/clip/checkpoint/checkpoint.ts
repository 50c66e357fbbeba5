import type { ClipArchitecture } from '../architecture.ts';

/** One named weight. It stays in its file until it is read, so that a checkpoint never lies in memory whole. */
export interface WeightTensor {
  readonly shape: readonly number[];
  /**
   * Reads the values, widened to float32, row-major whatever the file's strides were. Memory beside the result
   * is a few megabytes.
   * @throws CheckpointError where the file cannot be read any more; its sentence does not name the file
   */
  read(): Float32Array;
}

/**
 * How the file was laid out: a TorchScript module tree as OpenAI published them, a dictionary with the same names
 * (PyTorch's or as safetensors; OpenCLIP's, too), Hugging Face's CLIPModel, or no file at all but constructed in code.
 */
export type CheckpointLayout = 'torchscript' | 'state_dict' | 'huggingface' | 'constructed';

/**
 * An open checkpoint: every weight of the architecture, under the reference's names (`visual.conv1.weight`,
 * `token_embedding.weight`, …) and with its shapes. Disposing closes the file.
 */
export interface Checkpoint extends Disposable {
  /** The model family that the weights belong to, by its name. */
  readonly family: string;
  readonly layout: CheckpointLayout;
  readonly architecture: ClipArchitecture;
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** A sentence for the operator, where something about the model was taken for granted. */
  readonly assumption?: string;
}
