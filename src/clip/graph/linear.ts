import { invariant } from '../../errors.ts';
import type { Precision } from '../../precision.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';

/** The largest magnitude of a quantised weight: −128 has no positive counterpart. */
const LARGEST = 127;

/** weight ≈ values · scales, with a scale for each column (output channel). */
interface QuantisedColumns {
  /** [inputWidth, outputWidth], −127 to 127 */
  readonly values: Int8Array;
  /** [outputWidth] */
  readonly scales: Float32Array;
}

/** Rounds each weight to the nearest of its column's 255 steps. */
export function quantiseColumns({ weight, inputWidth, outputWidth }: LinearWeights): QuantisedColumns {
  const scales = columnScales(weight, outputWidth);
  const values = new Int8Array(weight.length);
  for (let row = 0; row < inputWidth; row++) {
    for (let column = 0; column < outputWidth; column++) {
      const index = row * outputWidth + column;
      values[index] = Math.round(weight[index]! / scales[column]!);
    }
  }
  return { values, scales };
}

/**
 * Adds the rounding error of each weight to the next one of its kind. If rows of a kind are multiplied by nearly the
 * same value, as neighbouring pixels are, the errors cancel in the product.
 * @param kinds rows r, r + kinds, r + 2 · kinds, … are of one kind: 3 for RGB
 */
export function quantiseColumnsDiffused(
  { weight, inputWidth, outputWidth }: LinearWeights,
  kinds: number,
): QuantisedColumns {
  const scales = columnScales(weight, outputWidth);
  const values = new Int8Array(weight.length);
  const lost = new Float64Array(kinds * outputWidth);
  for (let row = 0; row < inputWidth; row++) {
    for (let column = 0; column < outputWidth; column++) {
      const index = row * outputWidth + column;
      const carry = (row % kinds) * outputWidth + column;
      const wanted = weight[index]! / scales[column]! + lost[carry]!;
      const value = Math.min(LARGEST, Math.max(-LARGEST, Math.round(wanted)));
      values[index] = value;
      lost[carry] = wanted - value;
    }
  }
  return { values, scales };
}

/** A column's largest magnitude becomes 127. */
function columnScales(weight: Float32Array, outputWidth: number): Float32Array {
  const peaks = new Float32Array(outputWidth);
  for (let index = 0; index < weight.length; index++) {
    const column = index % outputWidth;
    peaks[column] = Math.max(peaks[column]!, Math.abs(weight[index]!));
  }
  // A column of zeros gets the scale 1, and so does one whose scale would be subnormal.
  return peaks.map((peak) => (peak / LARGEST >= SMALLEST_NORMAL ? peak / LARGEST : 1));
}

const SMALLEST_NORMAL = 2 ** -126;

/** The coding of a float32 row as uint8: q = round(x / scale) + zeroPoint, with scale = peak / steps. */
interface RowCoding {
  readonly zeroPoint: number;
  /** Steps from zero to the row's peak. */
  readonly steps: number;
}

/**
 * A row of any values reaches ±127 steps. A GELU's row has little below zero, so it gets more steps above: 32 steps
 * below zero are enough for −0.17 if a row's peak counts as at least 1.2.
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
 * Products of int8 weights, with a scale for each output channel, and uint8 activations, with a scale for each row.
 * A row's scale depends only on the row, and integers add up exactly, so a text or picture gets the same bits alone
 * as in a batch. ONNX Runtime's fastest kernels take this pair of types.
 */
function createInt8Linear(graph: GraphBuilder): Linear {
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

  /** [M, 1]: the largest magnitude of each row. */
  const peaks = (name: string, x: Value, range: ValueRange): Value => {
    const perRow = { keepdims: 1 };
    const axis = integers('row_axis', [1]);
    const highest = graph.node(`${name}.highest`, 'ReduceMax', [x, axis], perRow);
    if (range === 'activated') {
      return graph.node(`${name}.peaks`, 'Max', [highest, scalar('smallest_peak', SMALLEST_ACTIVATED_PEAK)]);
    }
    // Two reading passes are faster than ReduceMax(Abs(x)), which also writes.
    const lowest = graph.node(`${name}.lowest`, 'ReduceMin', [x, axis], perRow);
    return graph.node(`${name}.peaks`, 'Max', [highest, graph.node(`${name}.negated`, 'Neg', [lowest])]);
  };

  /** [M, 1] uint8: QuantizeLinear needs a zero point for each row. */
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

  const quantise = (name: string, x: Value, { width, rows, range = 'any' }: InputForm): QuantisedRows => {
    const steps = scalar(`${range}.step`, 1 / codings[range].steps);
    // A row of zeros has the scale 0. The quantised value of 0 / 0 does not matter: its product is multiplied by 0.
    const rowScales = graph.node(`${name}.row_scales`, 'Mul', [peaks(name, x, range), steps]); // [M, 1]
    // One block a row: ONNX Runtime distributes blocks among the threads, but not the steps of an axis.
    const matrix = graph.node(
      `${name}.quantised`,
      'QuantizeLinear',
      [x, rowScales, zeroPoints(rows, range, rowScales)],
      { axis: 1, block_size: width },
    );
    return { matrix, rowScales, zeroPoint: zeroPoint(range) };
  };

  return {
    input(name, x, form) {
      let quantised: QuantisedRows | undefined;
      return {
        matrix: x,
        quantised() {
          quantised ??= quantise(name, x, form);
          return quantised;
        },
      };
    },

    async product(name, { quantised }, weights) {
      invariant(quantised, `the rows of ${name} are not quantised`);
      const { matrix, rowScales, zeroPoint } = quantised();
      const [values, columnScales] = await constantColumns(name, weights, quantiseColumns(weights));
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
      // Pixels are bytes already: only the weights are rounded.
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

/** The weights of y = x · weight + bias. */
export interface LinearWeights {
  /** [inputWidth, outputWidth], row-major: the transpose of PyTorch's `nn.Linear`. */
  readonly weight: Float32Array;
  readonly inputWidth: number;
  readonly outputWidth: number;
  /** [outputWidth] */
  readonly bias?: Float32Array;
}

/** The rows of a matrix: one for each position of each picture or text, or one for each picture or text. */
export type Rows = 'positions' | 'read_outs';

/** The values of a matrix; `activated`: those of a GELU, which are never below −0.17. */
export type ValueRange = 'any' | 'activated';

interface InputForm {
  readonly width: number;
  readonly rows: Rows;
  /** Default: `any`. */
  readonly range?: ValueRange;
}

/** x ≈ rowScales · (matrix − zeroPoint) */
interface QuantisedRows {
  /** [M, inputWidth] uint8 */
  readonly matrix: Value;
  /** [M, 1] float32 */
  readonly rowScales: Value;
  /** uint8, one for all rows */
  readonly zeroPoint: Value;
}

/** The left side of one or several products. */
interface LinearInput {
  /** [M, inputWidth] float32 */
  readonly matrix: Value;
  /** Quantises the rows when the first product needs it. Absent: no product does. */
  quantised?(): QuantisedRows;
}

/**
 * Adds linear layers to a graph. Decides how the matrix products of a model are computed, and how their weights are
 * stored.
 */
export interface Linear {
  /**
   * Prepares a matrix once for all of its products.
   * @param x [M, width] float32
   */
  input(name: string, x: Value, form: InputForm): LinearInput;
  /** @returns [M, outputWidth] float32 */
  product(name: string, input: LinearInput, weights: LinearWeights): Promise<Value>;
  /**
   * A product of pixels.
   * @param pixels [M, inputWidth] uint8: RGB, RGB, …
   * @returns [M, outputWidth] float32
   */
  pixelProduct(name: string, pixels: Value, weights: LinearWeights): Promise<Value>;
}

/** @param fp32Products names of the products that stay in float32 although the others are in int8 */
export function createLinear(
  graph: GraphBuilder,
  precision: Precision,
  fp32Products: ReadonlySet<string> = new Set(),
): Linear {
  const float = createFloatLinear(graph);
  if (precision === 'fp32') return float;
  const int8 = createInt8Linear(graph);
  const linearOf = (name: string) => (fp32Products.has(name) ? float : int8);
  return {
    input: int8.input,
    product: (name, input, weights) => linearOf(name).product(name, input, weights),
    pixelProduct: (name, pixels, weights) => linearOf(name).pixelProduct(name, pixels, weights),
  };
}

/** The graph's input that `createSwitchedLinear` adds: [P] uint8, 1 for each product to compute in int8, 0 for float32. */
export const SWITCHES = 'switches';

/** A product of a graph, as the cost of leaving it in float32 is known by. */
export interface Product {
  readonly name: string;
  /** Number of its weights. */
  readonly weights: number;
}

/**
 * Computes every product in both precisions. An input of the graph chooses between them, so that one graph shows what
 * int8 changes in any of its products.
 * @param products each product is added to it, in the order of the switches
 */
export function createSwitchedLinear(graph: GraphBuilder, products: Product[]): Linear {
  const float = createFloatLinear(graph);
  const int8 = createInt8Linear(graph);
  const switches = graph.cast('switches.bool', graph.input(SWITCHES, 'uint8', ['P']), 'bool');
  const choose = (name: string, { inputWidth, outputWidth }: LinearWeights, forms: [Value, Value]): Value => {
    const place = graph.integers(`${name}.place`, products.length);
    products.push({ name, weights: inputWidth * outputWidth });
    const isInt8 = graph.node(`${name}.switch`, 'Gather', [switches, place], { axis: 0 });
    return graph.node(name, 'Where', [isInt8, ...forms]);
  };
  return {
    input: int8.input,
    async product(name, input, weights) {
      return choose(name, weights, [
        await int8.product(`${name}.int8`, input, weights),
        await float.product(`${name}.fp32`, input, weights),
      ]);
    },
    async pixelProduct(name, pixels, weights) {
      return choose(name, weights, [
        await int8.pixelProduct(`${name}.int8`, pixels, weights),
        await float.pixelProduct(`${name}.fp32`, pixels, weights),
      ]);
    },
  };
}

/** Products in float32. */
export function createFloatLinear(graph: GraphBuilder): Linear {
  const linear: Linear = {
    input: (_name, matrix) => ({ matrix }),
    async product(name, { matrix }, { weight, inputWidth, outputWidth, bias }) {
      // ONNX Runtime packs a constant weight when it loads, and computes a single row like many: a text or picture
      // gets the same bits alone as in a batch.
      const constant = await graph.weight(`${name}.weight`, [inputWidth, outputWidth], weight);
      if (!bias) return graph.node(name, 'MatMul', [matrix, constant]);
      const product = graph.node(`${name}.product`, 'MatMul', [matrix, constant]);
      return graph.node(name, 'Add', [product, await graph.weight(`${name}.bias`, [outputWidth], bias)]);
    },
    pixelProduct: (name, pixels, weights) =>
      linear.product(name, { matrix: graph.cast(`${name}.pixels`, pixels, 'float32') }, weights),
  };
  return linear;
}
