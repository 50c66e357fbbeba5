import type { Activation } from '../architecture.ts';
import { absent, type GraphBuilder, type Value } from './graph-builder.ts';
import type { Linear } from './linear.ts';
import { type NamedWeights, transpose } from './named-weights.ts';

/** `eps` of PyTorch's LayerNorm, which the reference leaves as it is. */
const LAYER_NORM_EPSILON = { float: 1e-5 };

/** What a tower's layers are built with. */
export interface Tower {
  readonly graph: GraphBuilder;
  readonly weights: NamedWeights;
  readonly linear: Linear;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly activation: Activation;
}

/** The one position of a sequence that becomes the embedding. */
export interface ReadOut {
  /** [N, L, W] → [N, 1, W] */
  position(name: string, x: Value): Value;
  /** [N] int32: how many positions, from the first, it attends to; `absent`: all. */
  readonly attendedLength: Value;
}

/** @param x [..., W] */
export async function layerNorm({ graph, weights, width }: Tower, name: string, x: Value): Promise<Value> {
  const scale = await graph.weight(`${name}.weight`, [width], weights.read(`${name}.weight`, [width]));
  const bias = await graph.weight(`${name}.bias`, [width], weights.read(`${name}.bias`, [width]));
  return graph.node(name, 'LayerNormalization', [x, scale, bias], {
    axis: -1,
    epsilon: LAYER_NORM_EPSILON,
  });
}

/**
 * The residual attention blocks of one tower.
 * @param x [N, L, W]
 * @param attention `causal`: each position sees itself and those before it
 * @returns [N, 1, W]: the read-out position after the last block
 */
export async function transformer(
  tower: Tower,
  prefix: string,
  x: Value,
  attention: 'full' | 'causal',
  readOut: ReadOut,
): Promise<Value> {
  let stream = x;
  for (let layer = 0; layer < tower.layers; layer++) {
    const isLast = layer === tower.layers - 1;
    stream = await residualAttentionBlock(
      tower,
      `${prefix}.resblocks.${layer}`,
      stream,
      attention,
      isLast ? readOut : undefined,
    );
  }
  return stream;
}

/**
 * x + attn(ln_1(x)), then x + mlp(ln_2(x)).
 * @param x [N, L, W]
 * @param readOut given for the last block: nothing reads the other positions any more, so only their keys
 *   and values are computed, which saves ten twelfths of the block
 * @returns [N, L, W], or [N, 1, W] with `readOut`
 */
async function residualAttentionBlock(
  tower: Tower,
  prefix: string,
  x: Value,
  attention: 'full' | 'causal',
  readOut: ReadOut | undefined,
): Promise<Value> {
  const { graph, weights, linear, width, heads } = tower;
  const normed = await layerNorm(tower, `${prefix}.ln_1`, x);
  const queries = readOut ? readOut.position(`${prefix}.ln_1.read_out`, normed) : normed;
  const residual = readOut ? readOut.position(`${prefix}.read_out`, x) : x;

  const inProjection = weights.read(`${prefix}.attn.in_proj_weight`, [3 * width, width]);
  const inBias = weights.read(`${prefix}.attn.in_proj_bias`, [3 * width]);
  const project = (name: string, input: Value, part: 0 | 1 | 2): Promise<Value> => {
    const rows = inProjection.subarray(part * width * width, (part + 1) * width * width);
    return linear(`${prefix}.attn.${name}`, input, {
      weight: transpose(rows, width, width),
      inputWidth: width,
      outputWidth: width,
      bias: inBias.subarray(part * width, (part + 1) * width),
    });
  };
  const query = await project('query', queries, 0);
  const key = await project('key', normed, 1);
  const value = await project('value', normed, 2);

  const attended = graph.node(
    `${prefix}.attn`,
    'com.microsoft.MultiHeadAttention',
    [query, key, value, absent, readOut?.attendedLength ?? absent],
    // One position's mask is the length that it attends to.
    { num_heads: heads, unidirectional: attention === 'causal' && !readOut ? 1 : 0 },
  );
  const attentionOut = await dense(tower, `${prefix}.attn.out_proj`, attended, width, width);
  // A plain Add and LayerNormalization: ONNX Runtime's fused SkipLayerNormalization is 5 % slower here.
  const afterAttention = graph.node(`${prefix}.attn.residual`, 'Add', [residual, attentionOut]);

  const mlpOut = await mlp(tower, prefix, await layerNorm(tower, `${prefix}.ln_2`, afterAttention));
  return graph.node(prefix, 'Add', [afterAttention, mlpOut]);
}

/** @param x [..., W] */
async function mlp(tower: Tower, prefix: string, x: Value): Promise<Value> {
  const { graph, width, activation } = tower;
  const hidden = await dense(tower, `${prefix}.mlp.c_fc`, x, width, 4 * width); // [..., 4W]
  const activated =
    activation === 'quick_gelu'
      ? // x · sigmoid(1.702 x)
        graph.node(`${prefix}.mlp.gelu`, 'com.microsoft.QuickGelu', [hidden], { alpha: { float: 1.702 } })
      : graph.node(`${prefix}.mlp.gelu`, 'Gelu', [hidden], { approximate: 'none' });
  return dense(tower, `${prefix}.mlp.c_proj`, activated, 4 * width, width);
}

/** `nn.Linear`: x [..., inputWidth] → [..., outputWidth]. Its weight is stored as [outputWidth, inputWidth]. */
async function dense(
  { weights, linear }: Tower,
  name: string,
  x: Value,
  inputWidth: number,
  outputWidth: number,
): Promise<Value> {
  return linear(name, x, {
    weight: weights.readTransposed(`${name}.weight`, [outputWidth, inputWidth]),
    inputWidth,
    outputWidth,
    bias: weights.read(`${name}.bias`, [outputWidth]),
  });
}
