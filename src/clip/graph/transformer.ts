import type { Precision } from '../../precision.ts';
import type { Activation, ClipArchitecture } from '../architecture.ts';
import { type Calibration, type FixedCoding, fixedCoding, loudnessOf } from './calibration.ts';
import type { GraphBuilder, Value } from './graph-builder.ts';
import { createFloatLinear, type Linear, type LinearWeights, type Rows } from './linear.ts';
import { type NamedWeights, transpose } from './named-weights.ts';

/** A LayerNorm's factors and summands of normalised channels. [W] each. */
interface NormWeights {
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

/** The weights of one residual attention block, in the form that the graph uses. */
export interface BlockWeights {
  readonly attentionNorm: NormWeights;
  readonly query: LinearWeights;
  readonly key: LinearWeights;
  readonly value: LinearWeights;
  readonly attentionOut: LinearWeights;
  readonly mlpNorm: NormWeights;
  readonly mlpIn: LinearWeights;
  /** [4W]: factors of the activated channels before `mlpOut`; absent: 1. */
  readonly hiddenScales?: Float32Array;
  readonly mlpOut: LinearWeights;
  /** Absent: nothing is known of the inputs' values. */
  readonly codings?: BlockCodings;
}

/** How a block's inputs are rounded whose values one scale suits. */
type BlockCodings = { readonly [input in keyof ReturnType<typeof blockInputs>]?: FixedCoding | undefined };

export function readNorm(weights: NamedWeights, name: string, width: number): NormWeights {
  return { weight: weights.read(`${name}.weight`, [width]), bias: weights.read(`${name}.bias`, [width]) };
}

/** OpenAI's QuickGELU: x · sigmoid(1.702 x) */
const QUICK_GELU_FACTOR = 1.702;

/**
 * Reads a block's weights. Two of the reference's biases are omitted. The keys' adds the same number to all of a
 * query's scores, which softmax cancels. The values' is the same in any average, so the next bias includes it.
 * QuickGELU's factor moves into the weights before it, and out of those after it: what is left of it is a SiLU, which
 * ONNX Runtime computes in one pass instead of three.
 * @param prefix such as `visual.transformer.resblocks.0`
 */
function readBlock(
  { weights, width, activation }: Pick<Tower, 'weights' | 'width' | 'activation'>,
  prefix: string,
): BlockWeights {
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
  const mlpOut = readLinear(weights, `${prefix}.mlp.c_proj`, 4 * width, width);
  const factor = activation === 'quick_gelu' ? QUICK_GELU_FACTOR : 1;
  return {
    attentionNorm,
    query: { ...part(0), bias: inBias.subarray(0, width) },
    key: part(1),
    value: part(2),
    attentionOut: { ...attentionOut, bias: product(inBias.subarray(2 * width), attentionOut) },
    mlpNorm: readNorm(weights, `${prefix}.ln_2`, width),
    mlpIn: scaled(readLinear(weights, `${prefix}.mlp.c_fc`, width, 4 * width), factor),
    mlpOut: { ...scaled(mlpOut, 1 / factor), bias: mlpOut.bias },
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

function scaled(product: Required<LinearWeights>, factor: number): Required<LinearWeights> {
  if (factor === 1) return product;
  const scale = (value: number) => value * factor;
  return { ...product, weight: product.weight.map(scale), bias: product.bias.map(scale) };
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

/** Prefixes of the blocks' weights. */
const towerPrefixes = { vision: 'visual.transformer', text: 'transformer' } as const;

function blockPrefix(tower: keyof typeof towerPrefixes, layer: number): string {
  return `${towerPrefixes[tower]}.resblocks.${layer}`;
}

/** The names of the matrices that a block multiplies by weights. */
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

/** Outputs of a graph's observed form: what goes into products. */
export interface ObservedOutputs {
  /** Of the products' input. */
  readonly name: string;
  readonly width: number;
  /** The matrix has a row for each position, or one for each picture or text. */
  readonly rows: Rows;
  /** Names of the graph's outputs, float32. */
  readonly outputs: {
    /** [width] */
    readonly lowest: string;
    readonly highest: string;
    /** [⌈M / `rowStep`⌉, width] */
    readonly rows: string;
  };
}

/** Rows of positions are many. A prime: pictures and positions take turns. */
const rowSteps: Readonly<Record<Rows, number>> = { positions: 17, read_outs: 1 };

/** How many rows of a matrix the observed form reports. */
export function observedRows(count: number, rows: Rows): number {
  return Math.ceil(count / rowSteps[rows]);
}

/** The outputs of a tower's observed form besides `embeddings`. */
export function observedInputs(
  tower: keyof typeof towerPrefixes,
  architecture: ClipArchitecture,
): readonly ObservedOutputs[] {
  const { width, layers } = architecture[tower];
  return Array.from({ length: layers }, (_, layer) => {
    const inputs = blockInputs(blockPrefix(tower, layer));
    return Object.values(inputs).map((name) => ({
      name,
      width: name === inputs.mlpOut ? 4 * width : width,
      rows:
        layer === layers - 1 && name !== inputs.attention ? ('read_outs' as const) : ('positions' as const),
      outputs: outputNames(name),
    }));
  }).flat();
}

/**
 * Makes the values of a matrix outputs of the graph's observed form: each channel's extremes, and some rows.
 * @param x [M, width] float32
 */
function observe(graph: GraphBuilder, name: string, x: Value, form: { width: number; rows: Rows }): void {
  const { width, rows } = form;
  const outputs = outputNames(name);
  const extreme = (output: string, operator: 'ReduceMin' | 'ReduceMax') =>
    graph.observe([width], () =>
      graph.node(output, operator, [x, graph.integers(`${output}.axis`, [0])], { keepdims: 0 }),
    );
  extreme(outputs.lowest, 'ReduceMin');
  extreme(outputs.highest, 'ReduceMax');
  graph.observe(['R', width], () =>
    graph.node(outputs.rows, 'Slice', [
      x,
      graph.integers(`${outputs.rows}.start`, [0]),
      graph.integers(`${outputs.rows}.end`, [LAST_ROW]),
      graph.integers(`${outputs.rows}.axis`, [0]),
      graph.integers(`${outputs.rows}.step`, [rowSteps[rows]]),
    ]),
  );
}

/** Slice ends at the last row if there are fewer. */
const LAST_ROW = 2 ** 31 - 1;

function outputNames(input: string) {
  return { lowest: `lowest.${input}`, highest: `highest.${input}`, rows: `rows.${input}` } as const;
}

/** The activated channels' steps must become this many times finer to be worth a multiplication. */
const WORTHWHILE = 2;

/**
 * Makes loud channels quieter before they are rounded, and their weights larger. Otherwise one loud channel would leave
 * only a few steps to all others. In real numbers the block computes the same: the LayerNorm or the projection before
 * a channel includes its divisor. A divisor cannot move through a GELU, so there it is a separate multiplication, if
 * that is worth it.
 *
 * The scale √(loudness / largest weight) is SmoothQuant's (Xiao et al., 2022) with α = 0.5. It makes both sides of the
 * product equally hard to round. Afterwards one scale for all rows suits most matrices.
 * @param calibration if it lacks this block's inputs, nothing changes
 */
export function smoothBlock(block: BlockWeights, prefix: string, calibration: Calibration): BlockWeights {
  const inputs = blockInputs(prefix);
  const loudness = (name: string) => {
    const observed = calibration.get(name);
    return observed && loudnessOf(observed);
  };
  const attention = inputScales(loudness(inputs.attention), [block.query, block.key, block.value]);
  const attentionOut = inputScales(loudness(inputs.attentionOut), [block.attentionOut]);
  const mlpIn = inputScales(loudness(inputs.mlpIn), [block.mlpIn]);
  const hidden = hiddenScales(loudness(inputs.mlpOut), block.mlpOut);
  const coding = (name: string, divisors: Float32Array | undefined) => {
    const observed = calibration.get(name);
    return observed && fixedCoding(observed, divisors);
  };
  return {
    attentionNorm: divideNorm(block.attentionNorm, attention),
    query: multiplyRows(block.query, attention),
    key: multiplyRows(block.key, attention),
    // Dividing the values divides their average.
    value: divideColumns(multiplyRows(block.value, attention), attentionOut),
    attentionOut: multiplyRows(block.attentionOut, attentionOut),
    mlpNorm: divideNorm(block.mlpNorm, mlpIn),
    mlpIn: multiplyRows(block.mlpIn, mlpIn),
    ...(hidden && { hiddenScales: hidden.map((scale) => 1 / scale) }),
    mlpOut: multiplyRows(block.mlpOut, hidden),
    codings: {
      attention: coding(inputs.attention, attention),
      attentionOut: coding(inputs.attentionOut, attentionOut),
      mlpIn: coding(inputs.mlpIn, mlpIn),
      mlpOut: coding(inputs.mlpOut, hidden),
    },
  };
}

/** @returns [inputWidth], or undefined if the input's loudness is unknown */
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
    // A channel that was always 0, or whose weights are 0, does not change.
    return Number.isFinite(scale) && scale > 0 ? scale : 1;
  });
}

/**
 * Makes only loud channels quieter, none louder: an activation's negative values must stay above its lowest.
 * @returns [4W], or undefined if it is not worth it
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

/** The default `eps` of PyTorch's LayerNorm, which the reference uses. */
const LAYER_NORM_EPSILON = { float: 1e-5 };

/** The means to build a graph's layers. */
export interface Parts {
  readonly graph: GraphBuilder;
  readonly weights: NamedWeights;
  readonly linear: Linear;
  readonly precision: Precision;
  /** Loud channels of these inputs are made quieter; empty for products that do not round. */
  readonly calibration: Calibration;
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
 * How the rows of the stream form sequences. Row l · N + n is position l of picture or text n, as in the reference
 * ("NLD → LND"), so that heads are split and joined without moving keys, values or queries.
 */
export interface Sequence {
  /** The shape [L, N, H, W / H]. */
  readonly headShape: Value;
  /** [L, L] float32, added to the scores of each query's keys; absent: 0. */
  readonly mask?: Value;
}

/** The position of a sequence that becomes the embedding. */
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
    const weights = smoothBlock(readBlock(tower, prefix), prefix, tower.calibration);
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
  const inputForm = { width, rows: 'positions', coding: weights.codings?.attention } as const;
  observe(graph, names.attention, normed, inputForm);
  const input = linear.input(names.attention, normed, inputForm);
  const readName = `${names.attention}.read_out`;
  const queryInput = readOut
    ? linear.input(readName, readOut.rows(readName, normed), { ...inputForm, rows })
    : input;
  const attended = attention(tower, names.attentionOut, {
    query: await linear.product(`${prefix}.attn.query`, queryInput, weights.query),
    key: await linear.product(`${prefix}.attn.key`, input, weights.key),
    value: await linear.product(`${prefix}.attn.value`, input, weights.value),
    sequence,
    readOut,
  });
  const attendedForm = { width, rows, coding: weights.codings?.attentionOut };
  observe(graph, names.attentionOut, attended, attendedForm);
  const attentionOut = await linear.product(
    `${prefix}.attn.out_proj`,
    linear.input(names.attentionOut, attended, attendedForm),
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

  // FusedMatMul reads [L, N, H, W / H] as N · H matrices without copying.
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
  const inputForm = { width, rows, coding: weights.codings?.mlpIn };
  observe(graph, names.mlpIn, normed, inputForm);
  const input = linear.input(names.mlpIn, normed, inputForm);
  const hidden = await linear.product(`${prefix}.mlp.c_fc`, input, weights.mlpIn); // [M, 4W]
  const activated =
    activation === 'quick_gelu'
      ? // SiLU: x · sigmoid(x)
        graph.node(names.mlpOut, 'com.microsoft.QuickGelu', [hidden], { alpha: { float: 1 } })
      : graph.node(names.mlpOut, 'Gelu', [hidden], { approximate: 'none' });
  const outputForm = {
    width: 4 * width,
    rows,
    range: activation === 'quick_gelu' ? 'silu' : 'gelu',
    coding: weights.codings?.mlpOut,
  } as const;
  observe(graph, names.mlpOut, activated, outputForm);
  const quieted = weights.hiddenScales
    ? graph.node(`${names.mlpOut}.scaled`, 'Mul', [
        activated,
        await graph.weight(`${names.mlpOut}.scales`, [4 * width], weights.hiddenScales),
      ])
    : activated;
  const output = linear.input(`${names.mlpOut}.input`, quieted, outputForm);
  return linear.product(`${prefix}.mlp.c_proj`, output, weights.mlpOut);
}

/**
 * Ends a tower: normalises the read-out position, projects it into the space that pictures and texts share, and scales
 * it to length 1, as `CLIP.forward` does. The result is the graph's output `embeddings` [N, D] float32. It stays in
 * float32: it is little work, and no later layer could compensate its errors.
 * @param position [N, W]
 * @param names of the last LayerNorm and of the projection [W, D]
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
