import { describe, expect, test } from 'bun:test';
import type { ObservedInput } from '../../../src/clip/graph/calibration.ts';
import type { LinearWeights } from '../../../src/clip/graph/linear.ts';
import { type BlockWeights, blockInputs, smoothBlock } from '../../../src/clip/graph/transformer.ts';
import { randomNumbers } from './random-checkpoint.ts';

const WIDTH = 8;
const names = blockInputs('block');

function block(): Required<Omit<BlockWeights, 'hiddenScales' | 'codings'>> {
  const next = randomNumbers(1);
  const vector = (length: number) => Float32Array.from({ length }, next);
  const linear = (inputWidth: number, outputWidth: number): Required<LinearWeights> => ({
    weight: vector(inputWidth * outputWidth),
    inputWidth,
    outputWidth,
    bias: vector(outputWidth),
  });
  return {
    attentionNorm: { weight: vector(WIDTH), bias: vector(WIDTH) },
    query: linear(WIDTH, WIDTH),
    key: linear(WIDTH, WIDTH),
    value: linear(WIDTH, WIDTH),
    attentionOut: linear(WIDTH, WIDTH),
    mlpNorm: { weight: vector(WIDTH), bias: vector(WIDTH) },
    mlpIn: linear(WIDTH, 4 * WIDTH),
    mlpOut: linear(4 * WIDTH, WIDTH),
  };
}

/** Channels as loud as 1, but for one; no row. */
function loudness(width: number, channel: number, value: number): ObservedInput {
  const highest = Float32Array.from({ length: width }, (_, index) => (index === channel ? value : 1));
  return { lowest: highest.map((high) => -high), highest, rows: new Float32Array() };
}

/** diag(scale) · weight: what both together do to a channel. */
function scaledRows(scale: Float32Array, { weight, outputWidth }: LinearWeights): number[] {
  return [...weight].map((value, index) => value * (scale[Math.floor(index / outputWidth)] ?? Number.NaN));
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((value, index) => {
    expect(value).toBeCloseTo(expected[index] ?? Number.NaN, 5);
  });
}

const largest = (values: Iterable<number>) => Math.max(...[...values].map(Math.abs));
const row = ({ weight, outputWidth }: LinearWeights, index: number) =>
  weight.subarray(index * outputWidth, (index + 1) * outputWidth);

describe('smoothBlock', () => {
  const before = block();
  const loud = new Map([
    [names.attention, loudness(WIDTH, 2, 100)],
    [names.attentionOut, loudness(WIDTH, 3, 100)],
    [names.mlpIn, loudness(WIDTH, 4, 100)],
    [names.mlpOut, loudness(4 * WIDTH, 5, 100)],
  ]);
  const after = smoothBlock(before, 'block', loud);

  test('changes nothing that is not known to be loud', () => {
    expect(smoothBlock(before, 'block', new Map())).toMatchObject(before);
  });

  test('does not change what the block computes', () => {
    for (const part of ['query', 'key'] as const) {
      for (const norm of ['weight', 'bias'] as const) {
        expectClose(
          scaledRows(after.attentionNorm[norm], after[part]),
          scaledRows(before.attentionNorm[norm], before[part]),
        );
      }
      expect(after[part].bias).toEqual(before[part].bias);
    }
    // Through the values: norm · value · out.
    const through = ({ attentionNorm, value, attentionOut }: BlockWeights) =>
      Array.from({ length: WIDTH ** 2 }, (_, index) => {
        const [from, to] = [Math.floor(index / WIDTH), index % WIDTH];
        let sum = 0;
        for (let middle = 0; middle < WIDTH; middle++) {
          const scaled = (attentionNorm.weight[from] ?? 0) * (value.weight[from * WIDTH + middle] ?? 0);
          sum += scaled * (attentionOut.weight[middle * WIDTH + to] ?? 0);
        }
        return sum;
      });
    expectClose(through(after), through(before));
    const valueBias = ({ value, attentionOut }: BlockWeights) =>
      scaledRows(value.bias ?? new Float32Array(), attentionOut);
    expectClose(valueBias(after), valueBias(before));
    expect(after.attentionOut.bias).toEqual(before.attentionOut.bias);

    expectClose(
      scaledRows(after.mlpNorm.weight, after.mlpIn),
      scaledRows(before.mlpNorm.weight, before.mlpIn),
    );
    expect(after.mlpIn.bias).toEqual(before.mlpIn.bias);
    expectClose(scaledRows(after.hiddenScales ?? new Float32Array(), after.mlpOut), [
      ...before.mlpOut.weight,
    ]);
  });

  test('makes a channel as loud as the weights that hear it are large', () => {
    // √(100 / w) for a channel with loudness 100: both become √(100 · w).
    const quieted = 100 * ((after.mlpNorm.weight[4] ?? 0) / (before.mlpNorm.weight[4] ?? 0));
    expect(quieted).toBeCloseTo(largest(row(after.mlpIn, 4)), 4);
  });

  test('multiplies activated channels only to make loud ones quieter', () => {
    const scales = after.hiddenScales ?? new Float32Array();
    expect(largest(scales)).toBe(1);
    expect(scales[5]).toBeLessThan(0.3);
  });

  test('saves the multiplication where no activated channel is loud', () => {
    const even = smoothBlock(before, 'block', new Map([[names.mlpOut, loudness(4 * WIDTH, 5, 1.5)]]));
    expect(even.hiddenScales).toBeUndefined();
    expect(even.mlpOut).toEqual(before.mlpOut);
  });

  test('leaves channels alone that were never heard, or that nothing listens to', () => {
    const deaf = block();
    row(deaf.mlpIn, 1).fill(0);
    const silent = loudness(WIDTH, 0, 0);
    const { mlpNorm } = smoothBlock(deaf, 'block', new Map([[names.mlpIn, silent]]));
    expect(mlpNorm.weight[0]).toBe(deaf.mlpNorm.weight[0]!);
    expect(mlpNorm.weight[1]).toBe(deaf.mlpNorm.weight[1]!);
    expect(mlpNorm.weight.every(Number.isFinite)).toBe(true);
  });
});
