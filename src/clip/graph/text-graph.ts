import type { ClipArchitecture } from '../architecture.ts';
import type { Value } from './graph-builder.ts';
import {
  embeddingHead,
  type Parts,
  type ReadOut,
  type Sequence,
  type Tower,
  transformer,
} from './transformer.ts';

/** A score plus this is 0 after a softmax. */
const UNSEEN = -1e30;

/**
 * The reference's `encode_text`.
 *
 * input_ids [N, L] int32, L ≤ contextLength → embeddings [N, D] float32, L2-normalised.
 *
 * The mask is causal, and the embedding is read at the end token, so later tokens change nothing: L need only reach the
 * end token, where the reference pads to contextLength.
 */
export async function buildTextGraph(
  parts: Parts,
  { text, embeddingDimension, activation }: ClipArchitecture,
): Promise<void> {
  const { width } = text;
  const tower: Tower = { ...parts, name: 'text', activation, ...text };
  const { graph } = parts;
  const inputIds = graph.input('input_ids', 'int32', ['N', 'L']);
  const length = graph.node('length', 'Shape', [inputIds], { start: 1, end: 2 });

  const embedded = await embedTokens(parts, inputIds, length, text); // [L, N, W]
  const stream = graph.node('stream', 'Reshape', [embedded, graph.integers('stream.shape', [-1, width])]);
  const mask = await causalMask(parts, length, text.contextLength);
  const endToken = await transformer(
    tower,
    stream,
    headsOf(tower, length, mask),
    readEndToken(parts, inputIds, mask),
  );
  await embeddingHead(
    tower,
    endToken,
    { layerNorm: 'ln_final', projection: 'text_projection' },
    embeddingDimension,
  );
}

/**
 * The embedding of each token and of its position.
 * @param inputIds [N, L]
 * @returns [L, N, W]
 */
async function embedTokens(
  { graph, weights, precision }: Parts,
  inputIds: Value,
  length: Value,
  { width, contextLength, vocabularySize }: ClipArchitecture['text'],
): Promise<Value> {
  // The table is mapped from the file, so memory holds only the pages of used words.
  const table = weights.read('token_embedding.weight', [vocabularySize, width]);
  const stored = precision === 'int8' ? halved(table) : table;
  const tokenEmbedding = await graph.weight('token_embedding.weight', [vocabularySize, width], stored);
  const ids = graph.node('token_embedding.ids', 'Transpose', [inputIds], { perm: [1, 0] }); // [L, N]
  const gathered = graph.node('token_embedding', 'Gather', [tokenEmbedding, ids], { axis: 0 }); // [L, N, W]
  const tokens =
    stored instanceof Float16Array ? graph.cast('token_embedding.float', gathered, 'float32') : gathered;

  const positionalEmbedding = await graph.weight(
    'positional_embedding.weight',
    [contextLength, 1, width],
    weights.read('positional_embedding', [contextLength, width]),
  );
  const first = graph.integers('positional_embedding.start', [0]);
  const positions = graph.node('positional_embedding', 'Slice', [positionalEmbedding, first, length]); // [L, 1, W]
  return graph.node('embedded', 'Add', [tokens, positions]);
}

/** Halves file and memory if no value is too large. The lost precision is far below an int8 step. */
function halved(values: Float32Array): Float32Array | Float16Array {
  const half = Float16Array.from(values);
  return half.every(Number.isFinite) ? half : values;
}

/** [L, L]: row q hides the keys after q from query q. */
async function causalMask({ graph }: Parts, length: Value, contextLength: number): Promise<Value> {
  const table = Float32Array.from({ length: contextLength ** 2 }, (_, index) =>
    index % contextLength > Math.floor(index / contextLength) ? UNSEEN : 0,
  );
  return graph.node('mask', 'Slice', [
    await graph.weight('mask.table', [contextLength, contextLength], table),
    graph.integers('mask.start', [0, 0]),
    graph.node('mask.shape', 'Concat', [length, length], { axis: 0 }),
  ]);
}

function headsOf({ graph, width, heads }: Tower, length: Value, mask: Value): Sequence {
  const rest = graph.integers('heads.rest', [-1, heads, width / heads]);
  return { headShape: graph.node('heads', 'Concat', [length, rest], { axis: 0 }), mask };
}

/**
 * The end token has the largest id. If there are two, the first counts, as with `argmax`.
 * @param inputIds [N, L]
 */
function readEndToken({ graph }: Parts, inputIds: Value, mask: Value): ReadOut {
  const position = graph.node('end_token', 'ArgMax', [inputIds], { axis: 1, keepdims: 0 }); // [N] int64
  const counts = graph.node('texts.shape', 'Shape', [inputIds], { start: 0, end: 1 }); // [1] int64
  const count = graph.node('texts.count', 'Squeeze', [counts]);
  const texts = graph.node('texts', 'Range', [
    graph.integers('texts.from', 0),
    count,
    graph.integers('texts.by', 1),
  ]); // [N]: 0, 1, 2, …
  const rows = graph.node('end_token.rows', 'Add', [
    graph.node('end_token.first_rows', 'Mul', [position, count]),
    texts,
  ]); // [N]: position · N + n
  const seen = graph.node('end_token.mask.rows', 'Gather', [mask, position], { axis: 0 }); // [N, L]
  const axes = graph.integers('end_token.mask.axes', [1, 2]);
  return {
    rows: (name, x) => graph.node(name, 'Gather', [x, rows], { axis: 0 }),
    mask: graph.node('end_token.mask', 'Unsqueeze', [seen, axes]), // [N, 1, 1, L]
  };
}
