import { CheckpointError } from './checkpoint-error.ts';
import type { ByteRange, CheckpointFile } from './checkpoint-file.ts';
import { type ElementType, elementBytes, swapBytes, widen } from './element-types.ts';
import { elementCount, gather, rowMajorStrides, spanOf, stridesOverlap, windows } from './strides.ts';

/** PyTorch allows 64; a CLIP's weights have up to four. */
export const MAX_DIMENSIONS = 8;

/** Elements that are read at a time: 1 to 2 MB of file, small beside the largest tensor and large beside a call. */
const WINDOW_ELEMENTS = 256 * 1024;

/** A tensor in its file: known to lie within the file's bounds, not yet read. */
export interface StoredTensor {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  /** In elements. 0 repeats one element along the axis. */
  readonly strides: readonly number[];
  /** Of the first element, from the file's beginning. */
  readonly byteOffset: number;
  readonly bigEndian: boolean;
}

/** What a file claims about a tensor. */
export interface TensorClaim {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  /** Default: row-major without gaps. */
  readonly strides?: readonly number[];
  /** The storage's bytes. */
  readonly storage: ByteRange;
  /** Of the first element within the storage, in elements. */
  readonly storageOffset: number;
  readonly bigEndian?: boolean;
}

/**
 * Checks a tensor's claims against the bytes that are there, before anything is allocated for it.
 * @param which tells the tensor from others in an error's sentence: `tensor "logit_scale"`
 * @throws CheckpointError where an element would lie outside the storage, or where the tensor repeats itself
 *   to more elements than the whole file has bytes
 */
export function storedTensor(claim: TensorClaim, file: CheckpointFile, which: string): StoredTensor {
  const { elementType, shape, storage, storageOffset } = claim;
  const strides = claim.strides ?? rowMajorStrides(shape);
  if (shape.length > MAX_DIMENSIONS || strides.length !== shape.length) {
    throw new CheckpointError(
      `its ${which} has ${shape.length} dimensions with ${strides.length} strides; at most ${MAX_DIMENSIONS} of ` +
        'each, and equally many, are read',
    );
  }
  const layout = `shape [${shape}], strides [${strides}], offset ${storageOffset}`;
  if (![...shape, ...strides, storageOffset].every(isCount)) {
    throw new CheckpointError(`its ${which} has an impossible layout: ${layout}`);
  }
  const storageElements = Math.floor(storage.byteLength / elementBytes[elementType]);
  const count = elementCount(shape);
  if (count > 0 && storageOffset + spanOf(shape, strides) > storageElements) {
    throw new CheckpointError(
      `its ${which} reaches beyond its storage of ${storageElements} values: ${layout}`,
    );
  }
  if (count > file.byteLength) {
    throw new CheckpointError(`its ${which} would repeat its values beyond the file's own size: ${layout}`);
  }
  if (stridesOverlap(shape, strides))
    throw new CheckpointError(`its ${which} has rows that overlap: ${layout}`);
  return {
    elementType,
    shape,
    strides,
    byteOffset: storage.byteOffset + storageOffset * elementBytes[elementType],
    bigEndian: claim.bigEndian ?? false,
  };
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** The same elements with the order of axes reversed: a matrix's transpose. */
export function transposed(tensor: StoredTensor): StoredTensor {
  return { ...tensor, shape: tensor.shape.toReversed(), strides: tensor.strides.toReversed() };
}

/** Reads tensors of one file. Its two windows are made once, so that reading leaves no trail of garbage. */
export class TensorReader {
  readonly #file: CheckpointFile;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #values: Float32Array | undefined;

  constructor(file: CheckpointFile) {
    this.#file = file;
  }

  /**
   * Reads the values, widened to float32, row-major.
   * @param target as many elements as the tensor has
   * @throws CheckpointError where the file cannot be read any more
   */
  readInto(tensor: StoredTensor, target: Float32Array): void {
    if (target.length === 0) return;
    const { elementType, byteOffset } = tensor;
    const size = elementBytes[elementType];
    this.#bytes ??= new Uint8Array(WINDOW_ELEMENTS * Math.max(...Object.values(elementBytes)));
    this.#values ??= new Float32Array(WINDOW_ELEMENTS);
    for (const window of windows(tensor.shape, tensor.strides, WINDOW_ELEMENTS)) {
      const bytes = this.#bytes.subarray(0, window.span * size);
      this.#file.read(bytes, byteOffset + window.offset * size);
      if (tensor.bigEndian) swapBytes(elementType, bytes);
      const values = this.#values.subarray(0, window.span);
      widen(elementType, bytes, values);
      gather(values, window, target);
    }
  }
}
