import { type QuantisedColumns, quantiseColumns, quantiseColumnsDiffused } from './column-quantisation.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';
import type { Linear, LinearWeights, Rows, ValueRange } from './linear.ts';

/** How a row of float32 becomes uint8: q = round(x / scale) + zeroPoint, and scale = peak / steps. */
interface RowCoding {
  readonly zeroPoint: number;
  /** Steps from zero to the row's peak. */
  readonly steps: number;
}

/**
 * A row of any values reaches ±127 steps. One that went through a GELU has hardly anything below zero, so
 * nearly all steps are for what is above: 32 steps below zero are enough for −0.17 if a row's peak counts
 * as 1.2 at least.
 */
const codings: Readonly<Record<ValueRange, RowCoding>> = {
  any: { zeroPoint: 128, steps: 127 },
  activated: { zeroPoint: 32, steps: 223 },
};
const LOWEST_ACTIVATED = -0.17;
const SMALLEST_ACTIVATED_PEAK = (-LOWEST_ACTIVATED / codings.activated.zeroPoint) * codings.activated.steps;

/** RGB */
const CHANNELS = 3;

/**
 * Products of int8 weights, with a scale for each output channel, and uint8 activations, with a scale for
 * each row. A row's scale is its own affair and integers add up exactly, so a text or picture gets the same
 * bits alone as in a batch. This pair of types is the one that ONNX Runtime's fastest kernels take.
 */
export function createInt8Linear(graph: GraphBuilder): Linear {
  const constants = new Map<string, Value>();
  const once = (name: string, make: (name: string) => Value): Value => {
    const made = constants.get(name) ?? make(`int8.${name}`);
    constants.set(name, made);
    return made;
  };
  const scalar = (name: string, value: number) => once(name, (full) => graph.scalar(full, 'float32', value));
  const zeroPoint = (range: ValueRange) =>
    once(`${range}.zero_point`, (name) => graph.scalar(name, 'uint8', codings[range].zeroPoint));
  const integers = (name: string, values: readonly number[]) =>
    once(name, (full) => graph.integers(full, values));

  /** [M, 1]: the largest magnitude that the row's steps must reach. */
  const peaks = (name: string, x: Value, range: ValueRange): Value => {
    const perRow = { keepdims: 1 };
    const axis = integers('row_axis', [1]);
    const highest = graph.node(`${name}.highest`, 'ReduceMax', [x, axis], perRow);
    if (range === 'activated') {
      return graph.node(`${name}.peaks`, 'Max', [highest, scalar('smallest_peak', SMALLEST_ACTIVATED_PEAK)]);
    }
    // Two passes that only read are faster than ReduceMax(Abs(x)), which writes one.
    const lowest = graph.node(`${name}.lowest`, 'ReduceMin', [x, axis], perRow);
    return graph.node(`${name}.peaks`, 'Max', [highest, graph.node(`${name}.negated`, 'Neg', [lowest])]);
  };

  /** [M, 1] uint8: QuantizeLinear wants a zero point for each row. */
  const zeroPoints = (rows: Rows, range: ValueRange, scales: Value): Value =>
    once(`${rows}.${range}.zero_points`, (name) =>
      graph.node(name, 'Expand', [zeroPoint(range), graph.node(`${name}.shape`, 'Shape', [scales])]),
    );

  const constantColumns = async (
    name: string,
    { inputWidth, outputWidth }: LinearWeights,
    { values, scales }: QuantisedColumns,
  ): Promise<[Value, Value]> => [
    await graph.weight(`${name}.weight`, [inputWidth, outputWidth], values),
    await graph.weight(`${name}.weight.scales`, [outputWidth], scales),
  ];

  return {
    input(name, x, width, rows, range) {
      const steps = scalar(`${range}.step`, 1 / codings[range].steps);
      // A row of zeros has the scale 0: whatever 0 / 0 is quantised to, the product's row is multiplied by 0.
      const rowScales = graph.node(`${name}.row_scales`, 'Mul', [peaks(name, x, range), steps]); // [M, 1]
      // A row is quantised as one block: ONNX Runtime shares blocks out among the threads, but would take one
      // row after another, were each a step of an axis.
      const matrix = graph.node(
        `${name}.quantised`,
        'QuantizeLinear',
        [x, rowScales, zeroPoints(rows, range, rowScales)],
        { axis: 1, block_size: width },
      );
      return { matrix, quantised: { rowScales, zeroPoint: zeroPoint(range) } };
    },

    async product(name, { matrix, quantised }, weights) {
      if (!quantised) throw new Error(`${name} got rows that are not quantised: this is a bug`);
      const [values, columnScales] = await constantColumns(name, weights, quantiseColumns(weights));
      const { rowScales, zeroPoint } = quantised;
      const integer = graph.node(`${name}.columns`, 'com.microsoft.MatMulIntegerToFloat', [
        matrix,
        values,
        scalar('one', 1),
        columnScales,
        zeroPoint,
      ]);
      if (!weights.bias) return graph.node(name, 'Mul', [integer, rowScales]);
      const product = graph.node(`${name}.product`, 'Mul', [integer, rowScales]);
      const bias = await graph.weight(`${name}.bias`, [weights.outputWidth], weights.bias);
      return graph.node(name, 'Add', [product, bias]);
    },

    async pixelProduct(name, pixels, weights) {
      // Pixels are bytes as they come: only the weights are rounded.
      const [values, columnScales] = await constantColumns(
        name,
        weights,
        quantiseColumnsDiffused(weights, CHANNELS),
      );
      const inputs = [pixels, values, scalar('one', 1), columnScales];
      const product = graph.node(`${name}.product`, 'com.microsoft.MatMulIntegerToFloat', inputs);
      if (!weights.bias) return product;
      const bias = await graph.weight(`${name}.bias`, [weights.outputWidth], weights.bias);
      return graph.node(name, 'Add', [product, bias]);
    },
  };
}
