import { type ActivationRanges, blockInputs } from './activation-ranges.ts';
import type { BlockWeights, NormWeights } from './block-weights.ts';
import type { LinearWeights } from './linear.ts';

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
    const scale = Math.sqrt(value / (largest[channel] as number));
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
  const median = scales.toSorted()[scales.length >> 1] as number;
  const quieting = scales.map((scale) => Math.max(1, scale / median));
  const loudest = Math.max(...loudness);
  const loudestQuieted = Math.max(...loudness.map((value, channel) => value / (quieting[channel] as number)));
  return loudest >= WORTHWHILE * loudestQuieted ? quieting : undefined;
}

function divideNorm({ weight, bias }: NormWeights, scales: Float32Array | undefined): NormWeights {
  if (!scales) return { weight, bias };
  const divide = (value: number, channel: number) => value / (scales[channel] as number);
  return { weight: weight.map(divide), bias: bias.map(divide) };
}

function multiplyRows(product: LinearWeights, scales: Float32Array | undefined): LinearWeights {
  if (!scales) return product;
  const { outputWidth } = product;
  return {
    ...product,
    weight: product.weight.map((value, index) => value * (scales[Math.floor(index / outputWidth)] as number)),
  };
}

function divideColumns(product: LinearWeights, scales: Float32Array | undefined): LinearWeights {
  if (!scales) return product;
  const { outputWidth, bias } = product;
  return {
    ...product,
    weight: product.weight.map((value, index) => value / (scales[index % outputWidth] as number)),
    ...(bias && { bias: bias.map((value, column) => value / (scales[column] as number)) }),
  };
}
