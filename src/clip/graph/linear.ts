import type { Precision } from './compiled-model.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';

/** The weights of y = x · weight + bias. */
export interface LinearWeights {
  /** [inputWidth, outputWidth], row-major: the transpose of PyTorch's `nn.Linear`. */
  readonly weight: Float32Array;
  readonly inputWidth: number;
  readonly outputWidth: number;
  /** [outputWidth] */
  readonly bias?: Float32Array;
}

/**
 * Adds a linear layer to a graph. The one place that decides how the matrix products of a model are
 * computed and how their weights are stored.
 * @param x [..., inputWidth] float32
 * @returns [..., outputWidth] float32
 */
export type Linear = (name: string, x: Value, weights: LinearWeights) => Promise<Value>;

/** @throws when graphs of this precision cannot be built */
export function createLinear(graph: GraphBuilder, precision: Precision): Linear {
  if (precision !== 'fp32') throw new Error(`graphs of precision ${precision} cannot be built`);
  return async (name, x, { weight, inputWidth, outputWidth, bias }) => {
    // ONNX Runtime folds all leading dimensions into the rows of one product, packs a constant weight
    // when it loads, and then computes a single row as it computes many: a text or picture gets the
    // same bits alone as in a batch.
    const matrix = await graph.weight(`${name}.weight`, [inputWidth, outputWidth], weight);
    if (!bias) return graph.node(name, 'MatMul', [x, matrix]);
    const product = graph.node(`${name}.product`, 'MatMul', [x, matrix]);
    return graph.node(name, 'Add', [product, await graph.weight(`${name}.bias`, [outputWidth], bias)]);
  };
}
