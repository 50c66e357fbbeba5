import type { Activation } from '../architecture.ts';
import { type ActivationRanges, blockInputs, blockPrefix, observeChannels } from './activation-ranges.ts';
import { type BlockWeights, type NormWeights, readBlock } from './block-weights.ts';
import type { Precision } from './compiled-model.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';
import type { Linear, Rows } from './linear.ts';
import type { NamedWeights } from './named-weights.ts';
import { smoothBlock } from './smoothing.ts';

/** `eps` of PyTorch's LayerNorm, which the reference leaves as it is. */
const LAYER_NORM_EPSILON = { float: 1e-5 };

/** What a graph's layers are built with. */
export interface Parts {
  readonly graph: GraphBuilder;
  readonly weights: NamedWeights;
  readonly linear: Linear;
  readonly precision: Precision;
  /** Loud channels of inputs listed here are made quieter; empty for products that do not round. */
  readonly ranges: ActivationRanges;
}

/** A tower's layers. */
export interface Tower extends Parts {
  readonly name: 'vision' | 'text';
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly activation: Activation;
}

/**
 * How the rows of the stream make up sequences. Row l · N + n is position l of picture or text n, as in the
 * reference ("NLD → LND"): heads are then split and joined without moving keys, values or queries.
 */
export interface Sequence {
  /** The shape [L, N, H, W / H]. */
  readonly headShape: Value;
  /** [L, L] float32, added to the scores of each query's keys; absent: 0. */
  readonly mask?: Value;
}

/** The one position of a sequence that becomes the embedding. */
export interface ReadOut {
  /** [L · N, W] → [N, W] */
  rows(name: string, x: Value): Value;
  /** [N, 1, 1, L] float32: its part of the mask. */
  readonly mask?: Value;
}

/** @param x [..., W] */
export async function layerNorm(
  { graph }: Parts,
  name: string,
  x: Value,
  { weight, bias }: NormWeights,
): Promise<Value> {
  const scale = await graph.weight(`${name}.weight`, [weight.length], weight);
  const shift = await graph.weight(`${name}.bias`, [bias.length], bias);
  return graph.node(name, 'LayerNormalization', [x, scale, shift], {
    axis: -1,
    epsilon: LAYER_NORM_EPSILON,
  });
}

/**
 * The residual attention blocks of one tower.
 * @param x [L · N, W]
 * @returns [N, W]: the read-out position after the last block
 */
export async function transformer(
  tower: Tower,
  x: Value,
  sequence: Sequence,
  readOut: ReadOut,
): Promise<Value> {
  let stream = x;
  for (let layer = 0; layer < tower.layers; layer++) {
    const prefix = blockPrefix(tower.name, layer);
    const block = smoothBlock(readBlock(tower.weights, prefix, tower.width), prefix, tower.ranges);
    const isLast = layer === tower.layers - 1;
    stream = await residualAttentionBlock(
      tower,
      prefix,
      block,
      stream,
      sequence,
      isLast ? readOut : undefined,
    );
  }
  return stream;
}

/**
 * x + attn(ln_1(x)), then x + mlp(ln_2(x)).
 * @param x [L · N, W]
 * @param readOut given for the last block: nothing reads the other positions any more, so only their keys
 *   and values are computed, which saves ten twelfths of the block
 * @returns [L · N, W], or [N, W] with `readOut`
 */
async function residualAttentionBlock(
  tower: Tower,
  prefix: string,
  block: BlockWeights,
  x: Value,
  sequence: Sequence,
  readOut: ReadOut | undefined,
): Promise<Value> {
  const { graph, linear, width } = tower;
  const names = blockInputs(prefix);
  const rows: Rows = readOut ? 'read_outs' : 'positions';

  const normed = await layerNorm(tower, names.attention, x, block.attentionNorm);
  observeChannels(graph, names.attention, normed, width);
  const input = linear.input(names.attention, normed, width, 'positions', 'any');
  const readName = `${names.attention}.read_out`;
  const queryInput = readOut
    ? linear.input(readName, readOut.rows(readName, normed), width, 'read_outs', 'any')
    : input;
  const attended = attention(tower, names.attentionOut, {
    query: await linear.product(`${prefix}.attn.query`, queryInput, block.query),
    key: await linear.product(`${prefix}.attn.key`, input, block.key),
    value: await linear.product(`${prefix}.attn.value`, input, block.value),
    sequence,
    readOut,
  });
  observeChannels(graph, names.attentionOut, attended, width);
  const attentionOut = await linear.product(
    `${prefix}.attn.out_proj`,
    linear.input(names.attentionOut, attended, width, rows, 'any'),
    block.attentionOut,
  );
  const residual = readOut ? readOut.rows(`${prefix}.read_out`, x) : x;
  // A plain Add and LayerNormalization: ONNX Runtime's fused SkipLayerNormalization is slower here.
  const afterAttention = graph.node(`${prefix}.attn.residual`, 'Add', [residual, attentionOut]);

  const mlpOut = await mlp(tower, prefix, block, afterAttention, rows);
  return graph.node(prefix, 'Add', [afterAttention, mlpOut]);
}

/**
 * Softmax(query · keyᵀ / √(W / H) + mask) · value, head by head.
 * @returns [L · N, W], or [N, W] with `readOut`
 */
function attention(
  { graph, width, heads }: Tower,
  name: string,
  {
    query,
    key,
    value,
    sequence,
    readOut,
  }: {
    /** [L · N, W], or [N, W] with `readOut` */
    readonly query: Value;
    /** [L · N, W] */
    readonly key: Value;
    /** [L · N, W] */
    readonly value: Value;
    readonly sequence: Sequence;
    readonly readOut: ReadOut | undefined;
  },
): Value {
  const headWidth = width / heads;
  const split = (part: string, x: Value, shape: Value) =>
    graph.node(`${name}.${part}.heads`, 'Reshape', [x, shape]);
  const queryShape = readOut
    ? graph.integers(`${name}.query.shape`, [1, -1, heads, headWidth])
    : sequence.headShape;

  // FusedMatMul reads [L, N, H, W / H] as N · H matrices where they lie.
  const scores = graph.node(
    `${name}.scores`,
    'com.microsoft.FusedMatMul',
    [split('query', query, queryShape), split('key', key, sequence.headShape)],
    { alpha: { float: 1 / Math.sqrt(headWidth) }, transBatchA: 1, transBatchB: 1, transB: 1 },
  ); // [N, H, L, L], or [N, H, 1, L]
  const mask = readOut ? readOut.mask : sequence.mask;
  const masked = mask === undefined ? scores : graph.node(`${name}.masked`, 'Add', [scores, mask]);
  const shares = graph.node(`${name}.shares`, 'Softmax', [masked], { axis: -1 });
  const averages = graph.node(
    `${name}.averages`,
    'com.microsoft.FusedMatMul',
    [shares, split('value', value, sequence.headShape)],
    { transBatchB: 1 },
  ); // [N, H, L, W / H]
  const joined = graph.node(`${name}.joined`, 'Transpose', [averages], { perm: [2, 0, 1, 3] });
  return graph.node(name, 'Reshape', [joined, graph.integers(`${name}.shape`, [-1, width])]);
}

/** @param x [M, W] */
async function mlp(tower: Tower, prefix: string, block: BlockWeights, x: Value, rows: Rows): Promise<Value> {
  const { graph, linear, width, activation } = tower;
  const names = blockInputs(prefix);
  const normed = await layerNorm(tower, names.mlpIn, x, block.mlpNorm);
  observeChannels(graph, names.mlpIn, normed, width);
  const input = linear.input(names.mlpIn, normed, width, rows, 'any');
  const hidden = await linear.product(`${prefix}.mlp.c_fc`, input, block.mlpIn); // [M, 4W]
  const activated =
    activation === 'quick_gelu'
      ? // x · sigmoid(1.702 x)
        graph.node(names.mlpOut, 'com.microsoft.QuickGelu', [hidden], { alpha: { float: 1.702 } })
      : graph.node(names.mlpOut, 'Gelu', [hidden], { approximate: 'none' });
  observeChannels(graph, names.mlpOut, activated, 4 * width);
  const scaled = block.hiddenScales
    ? graph.node(`${names.mlpOut}.scaled`, 'Mul', [
        activated,
        await graph.weight(`${names.mlpOut}.scales`, [4 * width], block.hiddenScales),
      ])
    : activated;
  const output = linear.input(`${names.mlpOut}.input`, scaled, 4 * width, rows, 'activated');
  return linear.product(`${prefix}.mlp.c_proj`, output, block.mlpOut);
}
