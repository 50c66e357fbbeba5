import { type ByteRange, CheckpointError, type CheckpointFile } from './checkpoint.ts';

/** One dimension of a strided array. Strides count elements. */
interface Axis {
  readonly size: number;
  /** Elements between neighbours in the file. */
  readonly stride: number;
  /** Elements between neighbours in the row-major result. */
  readonly targetStride: number;
}

/** A part of a strided array whose elements are close together in the file. */
interface Window {
  /** From the array's first element to the part's first one. */
  readonly offset: number;
  /** Elements from the part's first to its last, both included. */
  readonly span: number;
  readonly targetOffset: number;
  readonly axes: readonly Axis[];
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

/** Strides of an array without gaps whose last index runs fastest. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Elements from the first to the last, both included, of an array that is not empty. */
export function spanOf(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((span, size, axis) => span + (size - 1) * strides[axis]!, 1);
}

/**
 * Whether two indices may share an element, except by a stride of 0, which repeats elements on purpose. Windows over
 * such an array could read the same bytes without end.
 */
export function stridesOverlap(shape: readonly number[], strides: readonly number[]): boolean {
  const axes = shape
    .map((size, axis) => ({ size, stride: strides[axis]! }))
    .filter(({ size, stride }) => size > 1 && stride > 0)
    .sort((a, b) => a.stride - b.stride);
  let innerSpan = 1;
  for (const { size, stride } of axes) {
    if (stride < innerSpan) return true;
    innerSpan += (size - 1) * stride;
  }
  return false;
}

/**
 * Cuts a strided array into parts that span at most `maxSpan` elements each, so that the memory for reading it does
 * not depend on its strides.
 */
export function windows(
  shape: readonly number[],
  strides: readonly number[],
  maxSpan: number,
): Generator<Window> {
  const targetStrides = rowMajorStrides(shape);
  const axes = shape.map((size, axis) => ({
    size,
    stride: strides[axis]!,
    targetStride: targetStrides[axis]!,
  }));
  return split(mergeAxes(axes), 0, 0, maxSpan);
}

function* split(
  axes: readonly Axis[],
  offset: number,
  targetOffset: number,
  maxSpan: number,
): Generator<Window> {
  const span = axes.reduce((sum, { size, stride }) => sum + (size - 1) * stride, 1);
  if (span <= maxSpan) {
    yield { offset, span, targetOffset, axes };
    return;
  }
  const outer = axes.reduce((widest, axis) =>
    axis.size > 1 && (widest.size === 1 || axis.stride > widest.stride) ? axis : widest,
  );
  // At most half of the axis, so that the parts get small enough.
  const step = Math.max(1, Math.min(Math.floor(maxSpan / outer.stride), Math.ceil(outer.size / 2)));
  for (let start = 0; start < outer.size; start += step) {
    const part = { ...outer, size: Math.min(step, outer.size - start) };
    yield* split(
      axes.map((axis) => (axis === outer ? part : axis)),
      offset + start * outer.stride,
      targetOffset + start * outer.targetStride,
      maxSpan,
    );
  }
}

/** Removes axes of one element, and joins those that are one run in the file and in the result. */
function mergeAxes(axes: readonly Axis[]): Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes) {
    const outer = merged.at(-1);
    if (axis.size === 1) continue;
    const joins =
      outer !== undefined &&
      outer.stride === axis.size * axis.stride &&
      outer.targetStride === axis.size * axis.targetStride;
    if (joins) merged[merged.length - 1] = { ...axis, size: outer.size * axis.size };
    else merged.push(axis);
  }
  return merged;
}

/** Copies a window's elements to their row-major places. `source[0]` is the window's first element. */
export function gather(source: Float32Array, { axes, targetOffset }: Window, target: Float32Array): void {
  const inner = axes.at(-1);
  if (inner === undefined) {
    target[targetOffset] = source[0]!;
    return;
  }
  const { size, stride, targetStride } = inner;
  const outerAxes = axes.slice(0, -1);
  const copyRuns = (depth: number, from: number, to: number): void => {
    const axis = outerAxes[depth];
    if (axis !== undefined) {
      for (let i = 0; i < axis.size; i++) {
        copyRuns(depth + 1, from + i * axis.stride, to + i * axis.targetStride);
      }
    } else if (stride === 1 && targetStride === 1) {
      target.set(source.subarray(from, from + size), to);
    } else {
      for (let i = 0; i < size; i++) target[to + i * targetStride] = source[from + i * stride]!;
    }
  };
  copyRuns(0, 0, targetOffset);
}

/** Number types of tensors in checkpoint files. */
export type ElementType =
  | 'float16'
  | 'bfloat16'
  | 'float32'
  | 'float64'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint8'
  | 'bool';

export const elementBytes: Readonly<Record<ElementType, number>> = {
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

type NumberView = new (buffer: ArrayBuffer, byteOffset: number, length: number) => ArrayLike<number>;

/** The types that JavaScript has arrays for. Setting a Float32Array from them rounds correctly. */
const numberViews: Readonly<Partial<Record<ElementType, NumberView>>> = {
  float16: Float16Array,
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/**
 * Widens numbers to float32; rounds those of 64 bits, and 32-bit integers.
 * @param bytes little-endian, `target.length` elements, aligned to the element's size
 */
export function widen(type: ElementType, bytes: Uint8Array<ArrayBuffer>, target: Float32Array): void {
  const { buffer, byteOffset } = bytes;
  const View = numberViews[type];
  if (View !== undefined) target.set(new View(buffer, byteOffset, target.length));
  else if (type === 'bfloat16') widenBfloat16(new Uint16Array(buffer, byteOffset, target.length), target);
  else widenInt64(new BigInt64Array(buffer, byteOffset, target.length), target);
}

/** A bfloat16 is the upper half of a float32. */
function widenBfloat16(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

function widenInt64(source: BigInt64Array, target: Float32Array): void {
  for (let i = 0; i < source.length; i++) target[i] = Number(source[i]!);
}

/** PyTorch allows 64; a CLIP's weights have up to four. */
export const MAX_DIMENSIONS = 8;

/** Elements that are read at a time, 1 to 2 MB: few calls, and little memory beside the largest tensor. */
const WINDOW_ELEMENTS = 256 * 1024;

/** A tensor in its file: within the file's bounds, not yet read. */
export interface StoredTensor {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  /** In elements. 0 repeats one element along the axis. */
  readonly strides: readonly number[];
  /** Of the first element, from the file's beginning. */
  readonly byteOffset: number;
}

/** A file's unchecked description of a tensor. */
interface TensorClaim {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  /** Default: row-major without gaps. */
  readonly strides?: readonly number[];
  /** The storage's bytes. */
  readonly storage: ByteRange;
  /** Of the first element within the storage, in elements. */
  readonly storageOffset: number;
}

/**
 * Checks a tensor's description before anything is allocated for it.
 * @param which names the tensor in error sentences: `tensor "logit_scale"`
 * @throws CheckpointError if an element would lie outside the storage, or if repeated elements make the tensor larger
 *   than the file has bytes
 */
export function storedTensor(claim: TensorClaim, file: CheckpointFile, which: string): StoredTensor {
  const { elementType, shape, storage, storageOffset } = claim;
  const strides = claim.strides ?? rowMajorStrides(shape);
  if (shape.length > MAX_DIMENSIONS || strides.length !== shape.length) {
    throw new CheckpointError(
      `its ${which} has ${shape.length} dimensions with ${strides.length} strides; at most ${MAX_DIMENSIONS}, ` +
        'and as many strides as dimensions, are supported',
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
  };
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** The same elements with the order of axes reversed: a matrix's transpose. */
export function transposed(tensor: StoredTensor): StoredTensor {
  return { ...tensor, shape: tensor.shape.toReversed(), strides: tensor.strides.toReversed() };
}

/** Reads tensors of one file. Its two buffers are allocated once, so that reading makes no garbage. */
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
   * @throws CheckpointError if the file cannot be read any more
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
      const values = this.#values.subarray(0, window.span);
      widen(elementType, bytes, values);
      gather(values, window, target);
    }
  }
}
