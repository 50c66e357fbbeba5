import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  elementCount,
  gather,
  rowMajorStrides,
  spanOf,
  stridesOverlap,
  windows,
} from '../../../src/clip/checkpoint/stored-tensor.ts';

/** Reads a strided array as the product does: window by window. */
function gathered(
  storage: Float32Array,
  shape: readonly number[],
  strides: readonly number[],
  maxSpan: number,
): number[] {
  const target = new Float32Array(elementCount(shape));
  for (const window of windows(shape, strides, maxSpan)) {
    expect(window.span).toBeLessThanOrEqual(maxSpan);
    gather(storage.slice(window.offset, window.offset + window.span), window, target);
  }
  return [...target];
}

/** The definition: index (i, j, …) is at i·stride₀ + j·stride₁ + … */
function indexed(storage: Float32Array, shape: readonly number[], strides: readonly number[]): number[] {
  let offsets = [0];
  for (const [axis, size] of shape.entries()) {
    offsets = offsets.flatMap((offset) =>
      Array.from({ length: size }, (_, i) => offset + i * strides[axis]!),
    );
  }
  return offsets.map((offset) => storage[offset]!);
}

const counting = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => i);

describe('gathering', () => {
  const storage = counting(12);

  test('a row-major matrix is taken as it is', () => {
    expect(gathered(storage, [2, 3], [3, 1], 100)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('a column-major matrix is turned round', () => {
    expect(gathered(storage, [2, 3], [1, 2], 100)).toEqual([0, 2, 4, 1, 3, 5]);
  });

  test('a slice leaves out the elements between its rows', () => {
    expect(gathered(storage, [3, 2], [4, 1], 100)).toEqual([0, 1, 4, 5, 8, 9]);
  });

  test('a stride of 0 repeats', () => {
    expect(gathered(storage, [2, 3], [0, 1], 100)).toEqual([0, 1, 2, 0, 1, 2]);
  });

  test('a single number has no axes', () => {
    expect(gathered(storage, [], [], 1)).toEqual([0]);
  });

  test('windows of one element are enough', () => {
    expect(gathered(storage, [2, 3], [1, 2], 1)).toEqual([0, 2, 4, 1, 3, 5]);
  });
});

/** Views as PyTorch makes them: a larger array, sliced with steps, permuted, some axes repeated. */
const views = fc
  .array(
    fc.record({
      size: fc.integer({ min: 1, max: 5 }),
      gap: fc.integer({ min: 1, max: 3 }),
      repeated: fc.boolean(),
    }),
    {
      maxLength: 4,
    },
  )
  .chain((axes) =>
    fc.shuffledSubarray([...axes.keys()], { minLength: axes.length }).map((order) => {
      const whole = rowMajorStrides(axes.map(({ size, gap }) => size * gap));
      const strides = axes.map(({ gap, repeated }, axis) => (repeated ? 0 : whole[axis]! * gap));
      return { shape: order.map((axis) => axes[axis]!.size), strides: order.map((axis) => strides[axis]!) };
    }),
  );

test('any view read in windows of any size equals the definition', () => {
  fc.assert(
    fc.property(views, fc.integer({ min: 1, max: 40 }), ({ shape, strides }, maxSpan) => {
      const storage = counting(spanOf(shape, strides));
      expect(stridesOverlap(shape, strides)).toBe(false);
      expect(gathered(storage, shape, strides, maxSpan)).toEqual(indexed(storage, shape, strides));
    }),
    { numRuns: 500 },
  );
});

test('rows that share elements overlap', () => {
  expect(stridesOverlap([4, 4], [1, 1])).toBe(true);
  expect(stridesOverlap([4, 4], [3, 1])).toBe(true);
  expect(stridesOverlap([4, 4], [4, 1])).toBe(false);
  expect(stridesOverlap([1, 4], [3, 1])).toBe(false);
});
