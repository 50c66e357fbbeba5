import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import fc from 'fast-check';
import { openSession } from '../../../native/onnx/session.ts';
import type { FixedCoding } from '../../../src/clip/graph/calibration.ts';
import { GraphBuilder, WeightFile } from '../../../src/clip/graph/graph-builder.ts';
import {
  createLinear,
  type LinearWeights,
  quantiseColumns,
  quantiseColumnsDiffused,
  type ValueRange,
} from '../../../src/clip/graph/linear.ts';
import { temporaryDirectory } from './compiled.ts';
import { randomNumbers } from './random-checkpoint.ts';

type Rows = readonly (readonly number[])[];

/** x · weight + bias by a graph of this one layer. @param range `pixels`: x are bytes */
async function byGraph(
  x: Rows,
  weights: LinearWeights,
  range: ValueRange | 'pixels',
  coding?: FixedCoding,
): Promise<Rows> {
  await using directory = await temporaryDirectory();
  const graphPath = join(directory.path, 'linear.onnx');
  {
    await using weightFile = await WeightFile.create(join(directory.path, 'linear.weights'));
    const graph = new GraphBuilder('linear', weightFile, 'linear.weights');
    const linear = createLinear(graph, 'int8');
    const type = range === 'pixels' ? 'uint8' : 'float32';
    const input = graph.input('x', type, ['M', weights.inputWidth]);
    const output =
      range === 'pixels'
        ? await linear.pixelProduct('y', input, weights)
        : await linear.product(
            'y',
            linear.input('rows', input, { width: weights.inputWidth, rows: 'positions', range, coding }),
            weights,
          );
    graph.output(output, 'float32', ['M', weights.outputWidth]);
    await Bun.write(graphPath, graph.encode());
  }
  await using session = await openSession(graphPath, { threads: 2 });
  const dims = [x.length, weights.inputWidth];
  const y = {
    type: 'float32',
    dims: [x.length, weights.outputWidth],
    data: new Float32Array(x.length * weights.outputWidth),
  } as const;
  await session.run(
    {
      x:
        range === 'pixels'
          ? { type: 'uint8', dims, data: Uint8Array.from(x.flat()) }
          : { type: 'float32', dims, data: Float32Array.from(x.flat()) },
    },
    { y },
  );
  return x.map((_, row) => [...y.data.subarray(row * weights.outputWidth, (row + 1) * weights.outputWidth)]);
}

const { fround } = Math;
const codings = {
  any: { zeroPoint: 128, steps: 127, smallest: 0 },
  gelu: { zeroPoint: 32, steps: 223, smallest: fround((0.17 / 32) * 223) },
  silu: { zeroPoint: 32, steps: 223, smallest: fround((0.28 / 32) * 223) },
} as const;

/** The same in whole numbers, with float32 only where the graph has it. */
function byHand(x: Rows, weights: LinearWeights, range: ValueRange): Rows {
  const { values, scales } = quantiseColumns(weights);
  const { zeroPoint, steps, smallest } = codings[range];
  return x.map((row) => {
    const peak = range === 'any' ? Math.max(...row.map(Math.abs)) : Math.max(...row, smallest);
    const rowScale = fround(fround(peak) * fround(1 / steps));
    // What a row of zeros is quantised to does not matter.
    const quantised = row.map((value) =>
      rowScale === 0 ? 0 : clamp(roundHalfToEven(fround(value / rowScale)) + zeroPoint) - zeroPoint,
    );
    return Array.from({ length: weights.outputWidth }, (_, column) => {
      const sum = quantised.reduce(
        (total, value, input) => total + value * (values[input * weights.outputWidth + column] ?? Number.NaN),
        0,
      );
      const product = fround(fround(fround(sum) * (scales[column] ?? Number.NaN)) * rowScale);
      return fround(product + (weights.bias?.[column] ?? 0));
    });
  });
}

/** The same with one known scale. */
function byHandFixed(x: Rows, weights: LinearWeights, { scale, zeroPoint }: FixedCoding): Rows {
  const { values, scales } = quantiseColumns(weights);
  return x.map((row) => {
    const quantised = row.map(
      (value) => clamp(roundHalfToEven(fround(value / scale)) + zeroPoint) - zeroPoint,
    );
    return Array.from({ length: weights.outputWidth }, (_, column) => {
      const sum = quantised.reduce(
        (total, value, input) => total + value * values[input * weights.outputWidth + column]!,
        0,
      );
      return sum * fround(scale * scales[column]!) + (weights.bias?.[column] ?? 0);
    });
  });
}

const clamp = (value: number) => Math.min(255, Math.max(0, value));

function roundHalfToEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function randomWeights(inputWidth: number, outputWidth: number, seed: number): Required<LinearWeights> {
  const next = randomNumbers(seed);
  return {
    weight: Float32Array.from({ length: inputWidth * outputWidth }, next),
    inputWidth,
    outputWidth,
    bias: Float32Array.from({ length: outputWidth }, next),
  };
}

const widths = fc.record({
  inputWidth: fc.constantFrom(1, 3, 4, 7, 16, 33, 64, 130),
  outputWidth: fc.constantFrom(1, 2, 15, 16, 17, 48),
  seed: fc.nat(),
});
const magnitude = fc.constantFrom(1e-30, 1e-3, 1, 30, 1e4, 1e30);

describe('a product in int8', () => {
  test('rounds each row to 127 steps of its own, and each column of the weights', async () => {
    const weights = { weight: Float32Array.of(1, 4, -1, 2), inputWidth: 2, outputWidth: 2 };
    const [loud, quiet] = await byGraph(
      [
        [127, 0.4],
        [0.127, 0.0004],
      ],
      weights,
      'any',
    );
    // 127 · 1 − 0 · 1 and 127 · 4 + 0 · 2: 0.4 is less than half a step of a row that reaches 127.
    expect(loud?.map((value) => Math.round(value * 1000))).toEqual([127_000, 508_000]);
    expect(quiet?.map((value) => Math.round(value * 1e6))).toEqual([127_000, 508_000]);
  });

  test('is exact in whole numbers', async () => {
    await fc.assert(
      fc.asyncProperty(
        widths,
        fc.array(magnitude, { minLength: 1, maxLength: 9 }),
        async (sizes, loudness) => {
          const weights = randomWeights(sizes.inputWidth, sizes.outputWidth, sizes.seed);
          const next = randomNumbers(sizes.seed + 1);
          const x = loudness.map((most) =>
            Array.from({ length: sizes.inputWidth }, () => fround(most * next())),
          );
          expect(await byGraph(x, weights, 'any')).toEqual(byHand(x, weights, 'any'));
        },
      ),
      { numRuns: 30 },
    );
  });

  test('with a fixed scale takes it for all rows, and cuts what is beyond', async () => {
    await fc.assert(
      fc.asyncProperty(
        widths,
        fc.constantFrom(0, 32, 128, 255),
        fc.array(fc.constantFrom(0, 0.1, 1, 3), { minLength: 1, maxLength: 9 }),
        async (sizes, zeroPoint, peaks) => {
          const weights = randomWeights(sizes.inputWidth, sizes.outputWidth, sizes.seed);
          const coding = { scale: fround(2 / 127), zeroPoint };
          const next = randomNumbers(sizes.seed + 1);
          const x = peaks.map((peak) =>
            Array.from({ length: sizes.inputWidth }, () => fround(peak * next())),
          );
          const actual = (await byGraph(x, weights, 'any', coding)).flat();
          const expected = byHandFixed(x, weights, coding).flat();
          // The product may be rounded before the bias is added, or after.
          const tolerance = 1e-6 * Math.max(1, ...expected.map(Math.abs));
          for (const [index, value] of actual.entries()) {
            expect(Math.abs(value - expected[index]!)).toBeLessThanOrEqual(tolerance);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('with a fixed scale gives a row the same bits alone as among others', async () => {
    const weights = randomWeights(130, 48, 1);
    const coding = { scale: 0.01, zeroPoint: 120 };
    const next = randomNumbers(2);
    const rows = Array.from({ length: 7 }, () => Array.from({ length: 130 }, () => fround(2 * next())));
    const together = await byGraph(rows, weights, 'any', coding);
    for (const [index, row] of rows.entries()) {
      expect(await byGraph([row], weights, 'any', coding)).toEqual([together[index]!]);
    }
  });

  test.each(['gelu', 'silu'] as const)('of what a %s gave has nearly all steps above zero', async (range) => {
    const lowest = range === 'gelu' ? -0.17 : -0.28;
    await fc.assert(
      fc.asyncProperty(
        widths,
        fc.array(fc.constantFrom(0, 0.1, 1, 3, 50), { minLength: 1 }),
        async (sizes, peaks) => {
          const weights = randomWeights(sizes.inputWidth, sizes.outputWidth, sizes.seed);
          const next = randomNumbers(sizes.seed + 1);
          const x = peaks.map((peak) =>
            Array.from({ length: sizes.inputWidth }, () => fround(Math.max(lowest, peak * next()))),
          );
          expect(await byGraph(x, weights, range)).toEqual(byHand(x, weights, range));
        },
      ),
      { numRuns: 30 },
    );
  });

  test('of a row of zeros is the bias, beside whatever rows', async () => {
    const weights = randomWeights(20, 5, 1);
    const zeros = Array.from({ length: 20 }, () => 0);
    const ones = Array.from({ length: 20 }, () => 1);
    const [first, , third] = await byGraph([zeros, ones, zeros], weights, 'any');
    expect(first).toEqual([...weights.bias]);
    expect(third).toEqual([...weights.bias]);
  });

  test('of the loudest bytes does not overflow', async () => {
    const inputWidth = 4096;
    const weight = new Float32Array(inputWidth).fill(1);
    const x = [Array.from({ length: inputWidth }, () => 1), Array.from({ length: inputWidth }, () => -1)];
    const [up, down] = await byGraph(x, { weight, inputWidth, outputWidth: 1 }, 'any');
    expect(up?.[0]).toBeCloseTo(inputWidth, 2);
    expect(down?.[0]).toBeCloseTo(-inputWidth, 2);
  });

  test('of pixels takes them as they are', async () => {
    await fc.assert(
      fc.asyncProperty(widths, fc.integer({ min: 1, max: 9 }), async (sizes, rows) => {
        const weights = randomWeights(sizes.inputWidth, sizes.outputWidth, sizes.seed);
        const next = randomNumbers(sizes.seed + 1);
        const x = Array.from({ length: rows }, () =>
          Array.from({ length: sizes.inputWidth }, () => Math.floor((next() + 1) * 127.99)),
        );
        const { values, scales } = quantiseColumnsDiffused(weights, 3);
        const expected = x.map((row) =>
          Array.from({ length: sizes.outputWidth }, (_, column) => {
            const sum = row.reduce(
              (total, value, input) =>
                total + value * (values[input * sizes.outputWidth + column] ?? Number.NaN),
              0,
            );
            return fround(
              fround(fround(sum) * (scales[column] ?? Number.NaN)) + (weights.bias[column] ?? Number.NaN),
            );
          }),
        );
        expect(await byGraph(x, weights, 'pixels')).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });
});
