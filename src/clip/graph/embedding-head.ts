import { readNorm } from './block-weights.ts';
import { createFloatLinear } from './float-linear.ts';
import type { Value } from './graph-builder.ts';
import { layerNorm, type Tower } from './transformer.ts';

/**
 * Ends a tower: the read-out position is normalised, projected into the space that pictures and texts share,
 * and given length 1, as `CLIP.forward` does. Becomes the graph's output `embeddings` [N, D] float32.
 * It is little work, and the last that could be made up for: it stays in float32.
 * @param position [N, W]
 * @param names of the last LayerNorm, and of the projection [W, D], which the reference stores as it multiplies
 */
export async function embeddingHead(
  tower: Tower,
  position: Value,
  names: { readonly layerNorm: string; readonly projection: string },
  embeddingDimension: number,
): Promise<void> {
  const { graph, weights, width } = tower;
  const normed = await layerNorm(tower, names.layerNorm, position, readNorm(weights, names.layerNorm, width));
  const linear = createFloatLinear(graph);
  const input = linear.input(names.layerNorm, normed, width, 'read_outs', 'any');
  const projected = await linear.product(names.projection, input, {
    weight: weights.read(names.projection, [width, embeddingDimension]),
    inputWidth: width,
    outputWidth: embeddingDimension,
  }); // [N, D]
  const embeddings = graph.node('embeddings', 'LpNormalization', [projected], { axis: -1, p: 2 });
  graph.output(embeddings, 'float32', ['N', embeddingDimension]);
}
