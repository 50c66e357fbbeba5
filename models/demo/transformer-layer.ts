import type { WeightTensor } from '../../src/clip/checkpoint/checkpoint.ts';
import { type Rectifier, RectifierMlp } from './rectifier-mlp.ts';
import type { ResidualStream, Tap } from './residual-stream.ts';

export type NamedWeight = readonly [name: string, tensor: WeightTensor];

/** A weight that is made when it is read. */
export function weight(name: string, shape: readonly number[], read: () => Float32Array): NamedWeight {
  return [name, { shape, read }];
}

/** One value that attention averages over all tokens it may see, and what it writes of the average. */
export interface Average<Channel extends string> {
  readonly reads: readonly Tap<Channel>[];
  readonly writes: readonly Tap<Channel>[];
}

export interface LayerDesign<Channel extends string> {
  readonly averages?: readonly Average<Channel>[];
  readonly rectifiers?: readonly Rectifier<Channel>[];
  /** Takes the balance out of the stream, so that the LayerNorm behind this layer scales the signals alone. */
  readonly removesBalance?: boolean;
}

/**
 * The weights of one residual attention block. Queries and keys are zero, so each token attends to all
 * tokens it may see alike: attention is an average, or nothing where the output projection is zero.
 * @param prefix `visual.transformer.resblocks.0` or `transformer.resblocks.0`
 */
export function layerWeights<Channel extends string>(
  prefix: string,
  stream: ResidualStream<Channel>,
  design: LayerDesign<Channel>,
): NamedWeight[] {
  const { width } = stream;
  const averages = design.averages ?? [];
  const mlp = new RectifierMlp(stream, design.rectifiers ?? []);
  const zeros = () => new Float32Array(width);
  return [
    weight(`${prefix}.ln_1.weight`, [width], () => stream.gain()),
    weight(`${prefix}.ln_1.bias`, [width], zeros),
    weight(`${prefix}.attn.in_proj_weight`, [3 * width, width], () => valueProjection(stream, averages)),
    weight(`${prefix}.attn.in_proj_bias`, [3 * width], () => new Float32Array(3 * width)),
    weight(`${prefix}.attn.out_proj.weight`, [width, width], () => outputProjection(stream, averages)),
    weight(`${prefix}.attn.out_proj.bias`, [width], zeros),
    weight(`${prefix}.ln_2.weight`, [width], () => stream.gain()),
    weight(`${prefix}.ln_2.bias`, [width], zeros),
    weight(`${prefix}.mlp.c_fc.weight`, [4 * width, width], () => mlp.inputWeight()),
    weight(`${prefix}.mlp.c_fc.bias`, [4 * width], () => mlp.inputBias()),
    weight(`${prefix}.mlp.c_proj.weight`, [width, 4 * width], () => mlp.outputWeight()),
    weight(`${prefix}.mlp.c_proj.bias`, [width], () =>
      design.removesBalance ? stream.balance().map((level) => -level) : zeros(),
    ),
  ];
}

/** [3·width, width]: queries and keys are zero; value i is the i-th average's reading. */
function valueProjection<Channel extends string>(
  stream: ResidualStream<Channel>,
  averages: readonly Average<Channel>[],
): Float32Array {
  const { width } = stream;
  const matrix = new Float32Array(3 * width * width);
  for (const [index, { reads }] of averages.entries()) {
    for (const [signal, factor] of reads) {
      matrix[(2 * width + index) * width + stream.channel(signal)]! += factor;
    }
  }
  return matrix;
}

/** [width, width] */
function outputProjection<Channel extends string>(
  stream: ResidualStream<Channel>,
  averages: readonly Average<Channel>[],
): Float32Array {
  const { width } = stream;
  const matrix = new Float32Array(width * width);
  for (const [column, { writes }] of averages.entries()) {
    for (const [row, factor] of stream.write(writes).entries()) matrix[row * width + column] = factor;
  }
  return matrix;
}
