import type { Activation, ClipArchitecture } from '../architecture.ts';
import type { Precision } from './compiled-model.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';
import { createFloatLinear, type Linear, type LinearWeights, type Rows } from './linear.ts';
import { type NamedWeights, transpose } from './named-weights.ts';

/** What a LayerNorm multiplies normalised channels with and adds to them. [W] each. */
interface NormWeights {
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

/** The weights of one residual attention block, in the form that the graph computes with. */
export interface BlockWeights {
  readonly attentionNorm: NormWeights;
  readonly query: LinearWeights;
  readonly key: LinearWeights;
  readonly value: LinearWeights;
  readonly attentionOut: LinearWeights;
  readonly mlpNorm: NormWeights;
  readonly mlpIn: LinearWeights;
  /** [4W]: what the activated channels are multiplied with before `mlpOut`; absent: 1. */
  readonly hiddenScales?: Float32Array;
  readonly mlpOut: LinearWeights;
}

export function readNorm(weights: NamedWeights, name: string, width: number): NormWeights {
  return { weight: weights.read(`${name}.weight`, [width]), bias: weights.read(`${name}.bias`, [width]) };
}

/**
 * Reads a block's weights. Two of the reference's biases are left out: that of the keys adds the same to all
 * of a query's scores, which softmax takes out again; that of the values comes out of any average as it is,
 * so it moves into the bias behind.
 * @param prefix such as `visual.transformer.resblocks.0`
 */
function readBlock(weights: NamedWeights, prefix: string, width: number): BlockWeights {
  const attentionNorm = readNorm(weights, `${prefix}.ln_1`, width);
  const inProjection = weights.read(`${prefix}.attn.in_proj_weight`, [3 * width, width]);
  const inBias = weights.read(`${prefix}.attn.in_proj_bias`, [3 * width]);
  const part = (index: 0 | 1 | 2): LinearWeights => ({
    weight: transpose(
      inProjection.subarray(index * width * width, (index + 1) * width * width),
      width,
      width,
    ),
    inputWidth: width,
    outputWidth: width,
  });
  const attentionOut = readLinear(weights, `${prefix}.attn.out_proj`, width, width);
  return {
    attentionNorm,
    query: { ...part(0), bias: inBias.subarray(0, width) },
    key: part(1),
    value: part(2),
    attentionOut: { ...attentionOut, bias: product(inBias.subarray(2 * width), attentionOut) },
    mlpNorm: readNorm(weights, `${prefix}.ln_2`, width),
    mlpIn: readLinear(weights, `${prefix}.mlp.c_fc`, width, 4 * width),
    mlpOut: readLinear(weights, `${prefix}.mlp.c_proj`, 4 * width, width),
  };
}

/** `nn.Linear`, whose weight is stored as [outputWidth, inputWidth]. */
function readLinear(
  weights: NamedWeights,
  name: string,
  inputWidth: number,
  outputWidth: number,
): LinearWeights & { readonly bias: Float32Array } {
  return {
    weight: weights.readTransposed(`${name}.weight`, [outputWidth, inputWidth]),
    inputWidth,
    outputWidth,
    bias: weights.read(`${name}.bias`, [outputWidth]),
  };
}

/** row · weight + bias, in double precision. @param row [inputWidth] */
function product(row: Float32Array, { weight, outputWidth, bias }: Required<LinearWeights>): Float32Array {
  const sums = Float64Array.from(bias);
  row.forEach((value, input) => {
    for (let output = 0; output < outputWidth; output++) {
      sums[output] = sums[output]! + value * weight[input * outputWidth + output]!;
    }
  });
  return Float32Array.from(sums);
}

/** How loud the channels of the products' inputs get: the largest magnitude seen of each, by the input's name. */
export type ActivationRanges = ReadonlyMap<string, Float32Array>;

/** The name of the blocks' list in the weights, and of the model's part that it belongs to. */
const towerPrefixes = { vision: 'visual.transformer', text: 'transformer' } as const;

/** The prefix of one block's weights. */
function blockPrefix(tower: keyof typeof towerPrefixes, layer: number): string {
  return `${towerPrefixes[tower]}.resblocks.${layer}`;
}

/** The names of the matrices that a block multiplies with weights. */
export function blockInputs(prefix: string) {
  return {
    /** Of queries, keys and values. [..., W] */
    attention: `${prefix}.ln_1`,
    /** [..., W] */
    attentionOut: `${prefix}.attn`,
    /** [..., W] */
    mlpIn: `${prefix}.ln_2`,
    /** [..., 4W] */
    mlpOut: `${prefix}.mlp.gelu`,
  } as const;
}

/** Where a graph's observed form says how loud an input's channels were. */
export interface ObservedInput {
  readonly name: string;
  /** The graph's output: [width] float32. */
  readonly output: string;
  readonly width: number;
}

/** What the observed form of a tower's graph has beside `embeddings`. */
export function observedInputs(
  tower: keyof typeof towerPrefixes,
  architecture: ClipArchitecture,
): readonly ObservedInput[] {
  const { width, layers } = architecture[tower];
  return Array.from({ length: layers }, (_, layer) => {
    const inputs = blockInputs(blockPrefix(tower, layer));
    return Object.values(inputs).map((name) => ({
      name,
      output: outputName(name),
      width: name === inputs.mlpOut ? 4 * width : width,
    }));
  }).flat();
}

/**
 * Lets the graph's observed form say how loud the channels of a matrix get.
 * @param x [M, width] float32
 */
function observeChannels(graph: GraphBuilder, name: string, x: Value, width: number): void {
  graph.observe([width], () => {
    const output = outputName(name);
    const magnitudes = graph.node(`${output}.magnitudes`, 'Abs', [x]);
    const rows = graph.integers(`${output}.rows`, [0]);
    return graph.node(output, 'ReduceMax', [magnitudes, rows], { keepdims: 0 });
  });
}

function outputName(input: string): string {
  return `range.${input}`;
}

/** How often finer the steps of the activated channels must become to be worth a multiplication of their own. */
const WORTHWHILE = 2;

/**
 * Makes loud channels quieter where they are rounded and their weights larger, so that one loud channel does
 * not leave all others a few steps. In real numbers the block computes what it did before: what divides a
 * channel stands in the LayerNorm or in the projection before it, and only behind a GELU, through which
 * nothing can be moved, in a multiplication of its own, where that is worth it.
 *
 * The scale √(loudness / largest weight) is SmoothQuant's (Xiao et al., 2022) with α = 0.5: both sides of the
 * product are then equally hard to round.
 * @param ranges without those of this block's inputs, nothing is changed
 */
export function smoothBlock(block: BlockWeights, prefix: string, ranges: ActivationRanges): BlockWeights {
  const inputs = blockInputs(prefix);
  const attention = inputScales(ranges.get(inputs.attention), [block.query, block.key, block.value]);
  const attentionOut = inputScales(ranges.get(inputs.attentionOut), [block.attentionOut]);
  const mlpIn = inputScales(ranges.get(inputs.mlpIn), [block.mlpIn]);
  const hidden = hiddenScales(ranges.get(inputs.mlpOut), block.mlpOut);
  return {
    attentionNorm: divideNorm(block.attentionNorm, attention),
    query: multiplyRows(block.query, attention),
    key: multiplyRows(block.key, attention),
    // An average of the values is divided by the same: it may be done before.
    value: divideColumns(multiplyRows(block.value, attention), attentionOut),
    attentionOut: multiplyRows(block.attentionOut, attentionOut),
    mlpNorm: divideNorm(block.mlpNorm, mlpIn),
    mlpIn: multiplyRows(block.mlpIn, mlpIn),
    ...(hidden && { hiddenScales: hidden.map((scale) => 1 / scale) }),
    mlpOut: multiplyRows(block.mlpOut, hidden),
  };
}

/** @returns [inputWidth], or undefined where nothing is known of the input */
function inputScales(
  loudness: Float32Array | undefined,
  products: readonly LinearWeights[],
): Float32Array | undefined {
  if (!loudness) return undefined;
  const largest = new Float32Array(loudness.length);
  for (const { weight, outputWidth } of products) {
    largest.forEach((before, row) => {
      const values = weight.subarray(row * outputWidth, (row + 1) * outputWidth);
      largest[row] = values.reduce((most, value) => Math.max(most, Math.abs(value)), before);
    });
  }
  return loudness.map((value, channel) => {
    const scale = Math.sqrt(value / largest[channel]!);
    // A channel that was never heard, or that nothing listens to, stays as it is.
    return Number.isFinite(scale) && scale > 0 ? scale : 1;
  });
}

/**
 * Only loud channels are made quieter, none louder: what a GELU makes of negative values must stay above −0.17.
 * @returns [4W], or undefined where it is not worth it
 */
function hiddenScales(loudness: Float32Array | undefined, product: LinearWeights): Float32Array | undefined {
  const scales = inputScales(loudness, [product]);
  if (!loudness || !scales) return undefined;
  const median = scales.toSorted()[scales.length >> 1]!;
  const quieting = scales.map((scale) => Math.max(1, scale / median));
  const loudest = Math.max(...loudness);
  const loudestQuieted = Math.max(...loudness.map((value, channel) => value / quieting[channel]!));
  return loudest >= WORTHWHILE * loudestQuieted ? quieting : undefined;
}

function divideNorm({ weight, bias }: NormWeights, scales: Float32Array | undefined): NormWeights {
  if (!scales) return { weight, bias };
  const divide = (value: number, channel: number) => value / scales[channel]!;
  return { weight: weight.map(divide), bias: bias.map(divide) };
}

function multiplyRows(product: LinearWeights, scales: Float32Array | undefined): LinearWeights {
  if (!scales) return product;
  const { outputWidth } = product;
  return {
    ...product,
    weight: product.weight.map((value, index) => value * scales[Math.floor(index / outputWidth)]!),
  };
}

function divideColumns(product: LinearWeights, scales: Float32Array | undefined): LinearWeights {
  if (!scales) return product;
  const { outputWidth, bias } = product;
  return {
    ...product,
    weight: product.weight.map((value, index) => value / scales[index % outputWidth]!),
    ...(bias && { bias: bias.map((value, column) => value / scales[column]!) }),
  };
}

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
    const weights = smoothBlock(readBlock(tower.weights, prefix, tower.width), prefix, tower.ranges);
    const isLast = layer === tower.layers - 1;
    const block = { prefix, weights, sequence, readOut: isLast ? readOut : undefined };
    stream = await residualAttentionBlock(tower, block, stream);
  }
  return stream;
}

interface Block {
  /** Of the names of its weights. */
  readonly prefix: string;
  readonly weights: BlockWeights;
  readonly sequence: Sequence;
  /**
   * Only in the last block. Nothing reads the other positions after it, so only their keys and values are computed,
   * which saves ten twelfths of the block.
   */
  readonly readOut: ReadOut | undefined;
}

/**
 * x + attn(ln_1(x)), then x + mlp(ln_2(x)).
 * @param x [L · N, W]
 * @returns [L · N, W], or [N, W] with `readOut`
 */
async function residualAttentionBlock(tower: Tower, block: Block, x: Value): Promise<Value> {
  const { prefix, weights, sequence, readOut } = block;
  const { graph, linear, width } = tower;
  const names = blockInputs(prefix);
  const rows: Rows = readOut ? 'read_outs' : 'positions';

  const normed = await layerNorm(tower, names.attention, x, weights.attentionNorm);
  observeChannels(graph, names.attention, normed, width);
  const input = linear.input(names.attention, normed, { width, rows: 'positions' });
  const readName = `${names.attention}.read_out`;
  const queryInput = readOut
    ? linear.input(readName, readOut.rows(readName, normed), { width, rows })
    : input;
  const attended = attention(tower, names.attentionOut, {
    query: await linear.product(`${prefix}.attn.query`, queryInput, weights.query),
    key: await linear.product(`${prefix}.attn.key`, input, weights.key),
    value: await linear.product(`${prefix}.attn.value`, input, weights.value),
    sequence,
    readOut,
  });
  observeChannels(graph, names.attentionOut, attended, width);
  const attentionOut = await linear.product(
    `${prefix}.attn.out_proj`,
    linear.input(names.attentionOut, attended, { width, rows }),
    weights.attentionOut,
  );
  const residual = readOut ? readOut.rows(`${prefix}.read_out`, x) : x;
  // A plain Add and LayerNormalization: ONNX Runtime's fused SkipLayerNormalization is slower here.
  const afterAttention = graph.node(`${prefix}.attn.residual`, 'Add', [residual, attentionOut]);

  const mlpOut = await mlp(tower, block, afterAttention, rows);
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
async function mlp(tower: Tower, { prefix, weights }: Block, x: Value, rows: Rows): Promise<Value> {
  const { graph, linear, width, activation } = tower;
  const names = blockInputs(prefix);
  const normed = await layerNorm(tower, names.mlpIn, x, weights.mlpNorm);
  observeChannels(graph, names.mlpIn, normed, width);
  const input = linear.input(names.mlpIn, normed, { width, rows });
  const hidden = await linear.product(`${prefix}.mlp.c_fc`, input, weights.mlpIn); // [M, 4W]
  const activated =
    activation === 'quick_gelu'
      ? // x · sigmoid(1.702 x)
        graph.node(names.mlpOut, 'com.microsoft.QuickGelu', [hidden], { alpha: { float: 1.702 } })
      : graph.node(names.mlpOut, 'Gelu', [hidden], { approximate: 'none' });
  observeChannels(graph, names.mlpOut, activated, 4 * width);
  const scaled = weights.hiddenScales
    ? graph.node(`${names.mlpOut}.scaled`, 'Mul', [
        activated,
        await graph.weight(`${names.mlpOut}.scales`, [4 * width], weights.hiddenScales),
      ])
    : activated;
  const output = linear.input(`${names.mlpOut}.input`, scaled, {
    width: 4 * width,
    rows,
    range: 'activated',
  });
  return linear.product(`${prefix}.mlp.c_proj`, output, weights.mlpOut);
}

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
  const input = linear.input(names.layerNorm, normed, { width, rows: 'read_outs' });
  const projected = await linear.product(names.projection, input, {
    weight: weights.read(names.projection, [width, embeddingDimension]),
    inputWidth: width,
    outputWidth: embeddingDimension,
  }); // [N, D]
  const embeddings = graph.node('embeddings', 'LpNormalization', [projected], { axis: -1, p: 2 });
  graph.output(embeddings, 'float32', ['N', embeddingDimension]);
}
