import type { LinearWeights } from './linear.ts';
import { type NamedWeights, transpose } from './named-weights.ts';

/** What a LayerNorm multiplies normalised channels with and adds to them. [W] each. */
export interface NormWeights {
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
export function readBlock(weights: NamedWeights, prefix: string, width: number): BlockWeights {
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
      sums[output] = (sums[output] as number) + value * (weight[input * outputWidth + output] as number);
    }
  });
  return Float32Array.from(sums);
}
