import { invariant } from '../../errors.ts';
import type { Precision } from '../../precision.ts';
import type { FixedCoding } from './calibration.ts';
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
 * below zero are enough for −0.17 if a row's peak counts as at least 1.2, and for a SiLU's −0.28 if as at least 1.95.
 */
const codings: Readonly<Record<ValueRange, RowCoding & { readonly smallestPeak?: number }>> = {
  any: { zeroPoint: 128, steps: 127 },
  gelu: { zeroPoint: 32, steps: 223, smallestPeak: (0.17 / 32) * 223 },
  silu: { zeroPoint: 32, steps: 223, smallestPeak: (0.28 / 32) * 223 },
};

/** RGB */
const CHANNELS = 3;

/** How a product's activations are rounded: in steps of one known scale, or each row in steps of its own. */
type Rounding = 'fixed' | 'rows';

interface Int8Linear extends Omit<Linear, 'product'> {
  product(name: string, input: LinearInput, weights: LinearWeights, rounding: Rounding): Promise<Value>;
}

/**
 * Products of int8 weights, with a scale for each output channel, and uint8 activations, with one scale known from
 * calibration, or a scale for each row. A fixed scale takes a quarter of the work around the product: no search for
 * peaks, and the bias is added where the integers become floats. A row's scale depends only on the row, and integers
 * add up exactly, so a text or picture gets the same bits alone as in a batch. ONNX Runtime's fastest kernels take
 * this pair of types.
 */
function createInt8Linear(graph: GraphBuilder): Int8Linear {
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
    const { smallestPeak } = codings[range];
    if (smallestPeak !== undefined) {
      return graph.node(`${name}.peaks`, 'Max', [highest, scalar(`${range}.smallest_peak`, smallestPeak)]);
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

  const write = async (
    name: string,
    { inputWidth, outputWidth, bias }: LinearWeights,
    { values, scales }: QuantisedColumns,
  ): Promise<Int8Constants> => ({
    values: await graph.weight(`${name}.weight`, [inputWidth, outputWidth], values),
    columnScales: await graph.weight(`${name}.weight.scales`, [outputWidth], scales),
    ...(bias && { bias: await graph.weight(`${name}.bias`, [outputWidth], bias) }),
  });

  const quantiseFixed = (
    name: string,
    x: Value,
    { scale, zeroPoint: zero }: FixedCoding,
  ): QuantisedMatrix => {
    const scaleValue = graph.scalar(`${name}.fixed.scale`, 'float32', scale);
    const zeroPointValue = graph.scalar(`${name}.fixed.zero_point`, 'uint8', zero);
    const matrix = graph.node(`${name}.fixed`, 'QuantizeLinear', [x, scaleValue, zeroPointValue]);
    return { matrix, scale: scaleValue, zeroPoint: zeroPointValue };
  };

  const quantiseRows = (name: string, x: Value, { width, rows, range = 'any' }: InputForm): QuantisedRows => {
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
      let rows: QuantisedRows | undefined;
      let fixed: QuantisedMatrix | undefined;
      const { coding } = form;
      return {
        matrix: x,
        rows() {
          rows ??= quantiseRows(name, x, form);
          return rows;
        },
        ...(coding && {
          fixed() {
            fixed ??= quantiseFixed(name, x, coding);
            return fixed;
          },
        }),
      };
    },

    async product(name, { rows, fixed }, weights, rounding) {
      const { values, columnScales, bias } = await write(name, weights, quantiseColumns(weights));
      if (rounding === 'fixed') {
        invariant(fixed, `the input of ${name} has no fixed scale`);
        const { matrix, scale, zeroPoint } = fixed();
        const inputs = [matrix, values, scale, columnScales, zeroPoint];
        // There is no zero point of weights.
        return graph.node(name, PRODUCT, bias ? [...inputs, ABSENT, bias] : inputs);
      }
      invariant(rows, `the rows of ${name} are not quantised`);
      const { matrix, rowScales, zeroPoint } = rows();
      const integer = graph.node(`${name}.columns`, PRODUCT, [
        matrix,
        values,
        scalar('one', 1),
        columnScales,
        zeroPoint,
      ]);
      if (!bias) return graph.node(name, 'Mul', [integer, rowScales]);
      return graph.node(name, 'Add', [graph.node(`${name}.product`, 'Mul', [integer, rowScales]), bias]);
    },

    async pixelProduct(name, pixels, weights) {
      // Pixels are bytes already: only the weights are rounded.
      const rounded = quantiseColumnsDiffused(weights, CHANNELS);
      const { values, columnScales, bias } = await write(name, weights, rounded);
      const inputs = [pixels, values, scalar('one', 1), columnScales];
      return graph.node(name, PRODUCT, bias ? [...inputs, ABSENT, ABSENT, bias] : inputs);
    },
  };
}

const PRODUCT = 'com.microsoft.MatMulIntegerToFloat';

/** The name of an optional input that a node does not get. */
const ABSENT: Value = '';

interface Int8Constants {
  /** [inputWidth, outputWidth] int8 */
  readonly values: Value;
  /** [outputWidth] float32 */
  readonly columnScales: Value;
  /** [outputWidth] float32 */
  readonly bias?: Value;
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

/** The values of a matrix; those of a GELU are never below −0.17, those of a SiLU never below −0.28. */
export type ValueRange = 'any' | 'gelu' | 'silu';

interface InputForm {
  readonly width: number;
  readonly rows: Rows;
  /** Default: `any`. */
  readonly range?: ValueRange;
  /** Absent: one scale for all rows would lose too much, or nothing is known of the values. */
  readonly coding?: FixedCoding | undefined;
}

/** x ≈ scale · (matrix − zeroPoint) */
interface QuantisedMatrix {
  /** [M, inputWidth] uint8 */
  readonly matrix: Value;
  /** float32, one for all rows */
  readonly scale: Value;
  /** uint8, one for all rows */
  readonly zeroPoint: Value;
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
  /** Quantises each row by its own scale when the first product needs it. Absent: no product does. */
  rows?(): QuantisedRows;
  /** Quantises all rows by the fixed scale when the first product needs it. Absent: there is none. */
  fixed?(): QuantisedMatrix;
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

/** Names of products of an int8 graph that are computed in another way than the cheapest. */
export interface Exceptions {
  /** In float32. */
  readonly fp32Products?: ReadonlySet<string> | undefined;
  /** With a scale for each row, although their input has a fixed one. */
  readonly rowProducts?: ReadonlySet<string> | undefined;
}

/** @param rowScaled each int8 product that gets a scale for each row is added to it */
export function createLinear(
  graph: GraphBuilder,
  precision: Precision,
  { fp32Products, rowProducts }: Exceptions = {},
  rowScaled: string[] = [],
): Linear {
  const float = createFloatLinear(graph);
  if (precision === 'fp32') return float;
  const int8 = createInt8Linear(graph);
  return {
    input: int8.input,
    product(name, input, weights) {
      if (fp32Products?.has(name)) return float.product(name, input, weights);
      const rounding = input.fixed && !rowProducts?.has(name) ? 'fixed' : 'rows';
      if (rounding === 'rows') rowScaled.push(name);
      return int8.product(name, input, weights, rounding);
    },
    pixelProduct: (name, pixels, weights) =>
      (fp32Products?.has(name) ? float : int8).pixelProduct(name, pixels, weights),
  };
}

/** The graph's input that `createSwitchedLinear` adds: [P] uint8, one of `Switch` for each product. */
export const SWITCHES = 'switches';

/** How a product is computed. Where it has only one form in int8, both numbers mean that. */
export const Switch = { fp32: 0, rows: 1, fixed: 2 } as const;

/** A product of a graph, as the cost of leaving it in float32 is known by. */
export interface Product {
  readonly name: string;
  /** Number of its weights. */
  readonly weights: number;
  /** Whether int8 has two forms of it, one of them with a fixed scale. */
  readonly hasFixed: boolean;
}

/**
 * Computes every product in each of its forms. An input of the graph chooses between them, so that one graph shows
 * what int8 changes in any of its products.
 * @param products each product is added to it, in the order of the switches
 */
export function createSwitchedLinear(graph: GraphBuilder, products: Product[]): Linear {
  const float = createFloatLinear(graph);
  const int8 = createInt8Linear(graph);
  const switches = graph.input(SWITCHES, 'uint8', ['P']);
  const isInt8 = graph.cast('switches.int8', switches, 'bool');
  const rows = graph.scalar('switches.rows', 'uint8', Switch.rows);
  const isFixed = graph.node('switches.fixed', 'Greater', [switches, rows]);
  const choose = (
    name: string,
    { inputWidth, outputWidth }: LinearWeights,
    forms: { readonly fp32: Value; readonly int8: Value; readonly fixed?: Value },
  ): Value => {
    const place = graph.integers(`${name}.place`, products.length);
    products.push({ name, weights: inputWidth * outputWidth, hasFixed: forms.fixed !== undefined });
    const read = (which: string, flags: Value) =>
      graph.node(`${name}.is_${which}`, 'Gather', [flags, place], { axis: 0 });
    const int8Form =
      forms.fixed === undefined
        ? forms.int8
        : graph.node(`${name}.int8`, 'Where', [read('fixed', isFixed), forms.fixed, forms.int8]);
    return graph.node(name, 'Where', [read('int8', isInt8), int8Form, forms.fp32]);
  };
  return {
    input: int8.input,
    async product(name, input, weights) {
      // Each form has weights of its own: where bytes could overflow, ONNX Runtime cannot convert shared ones.
      const product = (rounding: Rounding) => int8.product(`${name}.${rounding}`, input, weights, rounding);
      return choose(name, weights, {
        fp32: await float.product(`${name}.fp32`, input, weights),
        int8: await product('rows'),
        ...(input.fixed && { fixed: await product('fixed') }),
      });
    },
    async pixelProduct(name, pixels, weights) {
      return choose(name, weights, {
        fp32: await float.pixelProduct(`${name}.fp32`, pixels, weights),
        int8: await int8.pixelProduct(`${name}.pixels`, pixels, weights),
      });
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
