import type { ClipArchitecture } from '../architecture.ts';
import { embeddingHead } from './embedding-head.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';
import type { Linear } from './linear.ts';
import type { NamedWeights } from './named-weights.ts';
import { type ReadOut, type Tower, transformer } from './transformer.ts';

/**
 * The reference's `encode_text`.
 *
 * input_ids [N, L] int32, L ≤ contextLength → embeddings [N, D] float32, L2-normalised.
 *
 * The mask is causal and the embedding is read at the end token, so whatever follows that token changes
 * nothing: L need only reach it, where the reference pads to contextLength.
 */
export async function buildTextGraph(
  graph: GraphBuilder,
  weights: NamedWeights,
  linear: Linear,
  { text, embeddingDimension, activation }: ClipArchitecture,
): Promise<void> {
  const { width, contextLength, vocabularySize } = text;
  const tower: Tower = { graph, weights, linear, activation, ...text };
  const inputIds = graph.input('input_ids', 'int32', ['N', 'L']);

  // float32 as in OpenAI's files. It is mapped from the file, so memory holds only the pages of words
  // that were asked for.
  const tokenEmbedding = await graph.weight(
    'token_embedding.weight',
    [vocabularySize, width],
    weights.read('token_embedding.weight', [vocabularySize, width]),
  );
  const tokens = graph.node('token_embedding', 'Gather', [tokenEmbedding, inputIds], { axis: 0 }); // [N, L, W]
  const positionalEmbedding = await graph.weight(
    'positional_embedding.weight',
    [contextLength, width],
    weights.read('positional_embedding', [contextLength, width]),
  );
  const positions = graph.node('positional_embedding', 'Slice', [
    positionalEmbedding,
    graph.integers('positional_embedding.start', [0]),
    graph.node('length', 'Shape', [inputIds], { start: 1, end: 2 }),
  ]); // [L, W]
  const embedded = graph.node('embedded', 'Add', [tokens, positions]); // [N, L, W]

  const endToken = await transformer(tower, 'transformer', embedded, 'causal', readEndToken(graph, inputIds));
  await embeddingHead(
    tower,
    endToken,
    { layerNorm: 'ln_final', projection: 'text_projection' },
    embeddingDimension,
  );
}

/**
 * The end token has the largest id; where it comes up twice, the first counts, as with `argmax`.
 * @param inputIds [N, L]
 */
function readEndToken(graph: GraphBuilder, inputIds: Value): ReadOut {
  const position = graph.node('end_token', 'ArgMax', [inputIds], { axis: 1, keepdims: 0 }); // [N] int64
  const index = graph.node('end_token.index', 'Reshape', [
    position,
    graph.integers('end_token.index.shape', [-1, 1, 1]),
  ]); // [N, 1, 1]
  // It attends to all positions up to its own.
  const length = graph.node('end_token.length', 'Add', [position, graph.integers('end_token.itself', 1)]); // [N]
  return {
    position: (name, x) => graph.node(name, 'GatherND', [x, index], { batch_dims: 1 }),
    attendedLength: graph.cast('end_token.attended', length, 'int32'),
  };
}
