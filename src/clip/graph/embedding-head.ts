import type { Value } from './graph-builder.ts';
import { layerNorm, type Tower } from './transformer.ts';

/**
 * Ends a tower: the read-out position is normalised, projected into the space that pictures and texts share,
 * and given length 1, as `CLIP.forward` does. Becomes the graph's output `embeddings` [N, D] float32.
 * @param position [N, 1, W]
 * @param names of the last LayerNorm, and of the projection [W, D], which the reference stores as it multiplies
 */
export async function embeddingHead(
  tower: Tower,
  position: Value,
  names: { readonly layerNorm: string; readonly projection: string },
  embeddingDimension: number,
): Promise<void> {
  const { graph, weights, linear, width } = tower;
  const pooled = graph.node('pooled', 'Reshape', [position, graph.integers('pooled.shape', [-1, width])]); // [N, W]
  const normed = await layerNorm(tower, names.layerNorm, pooled);
  const projected = await linear(names.projection, normed, {
    weight: weights.read(names.projection, [width, embeddingDimension]),
    inputWidth: width,
    outputWidth: embeddingDimension,
  }); // [N, D]
  const embeddings = graph.node('embeddings', 'LpNormalization', [projected], { axis: -1, p: 2 });
  graph.output(embeddings, 'float32', ['N', embeddingDimension]);
}
