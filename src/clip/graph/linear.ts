import type { Precision } from './compiled-model.ts';
import { createFloatLinear } from './float-linear.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';
import { createInt8Linear } from './int8-linear.ts';

/** The weights of y = x · weight + bias. */
export interface LinearWeights {
  /** [inputWidth, outputWidth], row-major: the transpose of PyTorch's `nn.Linear`. */
  readonly weight: Float32Array;
  readonly inputWidth: number;
  readonly outputWidth: number;
  /** [outputWidth] */
  readonly bias?: Float32Array;
}

/** Which rows a matrix has: one for each position of each picture or text, or one for each of those. */
export type Rows = 'positions' | 'read_outs';

/** What is known of a matrix's values; `activated`: a GELU made them, which gives nothing below −0.17. */
export type ValueRange = 'any' | 'activated';

/** The left side of one or several products, in the form that they take it in. */
export interface LinearInput {
  /** [M, inputWidth] */
  readonly matrix: Value;
  /** Present where `matrix` is quantised: x = rowScales · (matrix − zeroPoint). */
  readonly quantised?: {
    /** [M, 1] float32 */
    readonly rowScales: Value;
    /** uint8, one for all rows */
    readonly zeroPoint: Value;
  };
}

/**
 * Adds linear layers to a graph: the one place that decides how the matrix products of a model are computed
 * and how their weights are stored.
 */
export interface Linear {
  /**
   * Prepares a matrix once for all products that it enters.
   * @param x [M, width] float32
   */
  input(name: string, x: Value, width: number, rows: Rows, range: ValueRange): LinearInput;
  /** @returns [M, outputWidth] float32 */
  product(name: string, input: LinearInput, weights: LinearWeights): Promise<Value>;
  /**
   * A product of pixels.
   * @param pixels [M, inputWidth] uint8: RGB, RGB, …
   * @returns [M, outputWidth] float32
   */
  pixelProduct(name: string, pixels: Value, weights: LinearWeights): Promise<Value>;
}

export function createLinear(graph: GraphBuilder, precision: Precision): Linear {
  return precision === 'fp32' ? createFloatLinear(graph) : createInt8Linear(graph);
}
