import type { GraphBuilder } from './graph-builder.ts';
import type { Linear } from './linear.ts';

/** Products in float32. */
export function createFloatLinear(graph: GraphBuilder): Linear {
  const linear: Linear = {
    input: (_name, matrix) => ({ matrix }),
    async product(name, { matrix }, { weight, inputWidth, outputWidth, bias }) {
      // ONNX Runtime packs a constant weight when it loads, and then computes a single row as it computes
      // many: a text or picture gets the same bits alone as in a batch.
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
