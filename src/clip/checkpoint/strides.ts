/** One dimension of a strided array. Strides count elements. */
export interface Axis {
  readonly size: number;
  /** Elements between neighbours in the file. */
  readonly stride: number;
  /** Elements between neighbours in the row-major result. */
  readonly targetStride: number;
}

/** A part of a strided array whose elements lie close together in the file. */
export interface Window {
  /** First element of the part, from the array's first one on. */
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
 * Whether two indices may meet in one element other than by a stride of 0, which repeats elements on purpose.
 * Windows over such an array could read the same bytes without end.
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
 * Cuts a strided array into parts that span at most `maxSpan` elements each, so that the memory for
 * reading it does not depend on its strides.
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
  // At most half of the axis, so that every step gets nearer to a window that fits.
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

/** Leaves out axes of one element and joins those that are one run in the file and in the result. */
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
