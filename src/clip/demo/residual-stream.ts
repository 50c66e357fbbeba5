import { invariant } from '../../errors.ts';
import type { WeightTensor } from '../checkpoint/checkpoint.ts';

/** One number read from, or written to, a named channel of the residual stream. */
export type Tap<Channel extends string> = readonly [channel: Channel, weight: number];

/**
 * Magnitude of the balance channels. Signals are about 1, so their effect on LayerNorm's standard deviation stays below
 * 0.1 %. In float32 a value of 1 beside 40 keeps seven digits.
 */
const BALANCE = 40;

/**
 * The layout of one tower's residual stream: the channel of each signal, and the channels that keep LayerNorm from
 * disturbing the signals.
 *
 * LayerNorm subtracts the mean of a token's channels and divides by their standard deviation, which would make each
 * signal depend on all others. So the channels without a signal hold ±BALANCE, half of them each: they alone decide the
 * deviation. Every write to the signals is repeated, negated and spread over the balance channels, so that the mean
 * stays 0. With the deviation as its gain, LayerNorm then passes the signals on unchanged.
 */
export class ResidualStream<Channel extends string> {
  readonly width: number;
  readonly #channels: ReadonlyMap<Channel, number>;
  readonly #firstBalance: number;

  /** @param signals at least two fewer than the width */
  constructor(width: number, signals: readonly Channel[]) {
    this.width = width;
    this.#channels = new Map(signals.map((signal, index) => [signal, index]));
    // An even number of balance channels; one may stay empty.
    this.#firstBalance = signals.length + ((width - signals.length) % 2);
  }

  get #balances(): number {
    return this.width - this.#firstBalance;
  }

  /** The standard deviation of a token that holds the balance and signals of about 1. */
  get deviation(): number {
    return BALANCE * Math.sqrt(this.#balances / this.width);
  }

  /** Index of a signal's channel. */
  channel(signal: Channel): number {
    const index = this.#channels.get(signal);
    invariant(index !== undefined, `the stream has no channel "${signal}"`);
    return index;
  }

  /** [width]: ±BALANCE in the balance channels. */
  balance(): Float32Array {
    return Float32Array.from({ length: this.width }, (_, index) =>
      index < this.#firstBalance ? 0 : (index - this.#firstBalance) % 2 === 0 ? BALANCE : -BALANCE,
    );
  }

  /** [width]: one write to the stream: the taps, and their sum subtracted from the balance channels. */
  write(taps: readonly Tap<Channel>[]): Float32Array {
    const column = new Float32Array(this.width);
    let sum = 0;
    for (const [signal, weight] of taps) {
      column[this.channel(signal)]! += weight;
      sum += weight;
    }
    return column.fill(-sum / this.#balances, this.#firstBalance);
  }

  /** [width]: LayerNorm's gain that passes the signals on unchanged and hides the balance. */
  gain(): Float32Array {
    return new Float32Array(this.width).fill(this.deviation, 0, this.#firstBalance);
  }

  /** [width]: the gain of the LayerNorm before the first layer, which keeps the balance. */
  gainWithBalance(): Float32Array {
    return new Float32Array(this.width).fill(this.deviation);
  }
}

/** One hidden unit: writes `max(0, bias + Σ reads)`, times the writes' weights. */
export interface Rectifier<Channel extends string> {
  readonly reads: readonly Tap<Channel>[];
  readonly bias?: number;
  readonly writes: readonly Tap<Channel>[];
  /**
   * QuickGELU is x·σ(1.702x). QuickGELU(sharpness · x) / sharpness differs from a rectifier by at most
   * 0.164 / sharpness.
   */
  readonly sharpness: number;
}

/** The weights of one transformer MLP, as `c_fc` and `c_proj` of the reference. */
class RectifierMlp<Channel extends string> {
  readonly #stream: ResidualStream<Channel>;
  readonly #units: readonly Rectifier<Channel>[];
  readonly #hiddenWidth: number;

  constructor(stream: ResidualStream<Channel>, units: readonly Rectifier<Channel>[]) {
    this.#stream = stream;
    this.#units = units;
    this.#hiddenWidth = 4 * stream.width;
    invariant(units.length <= this.#hiddenWidth, `${units.length} units for ${this.#hiddenWidth} places`);
  }

  /** [4·width, width] */
  inputWeight(): Float32Array {
    const { width } = this.#stream;
    const matrix = new Float32Array(this.#hiddenWidth * width);
    for (const [row, unit] of this.#units.entries()) {
      for (const [signal, weight] of unit.reads) {
        matrix[row * width + this.#stream.channel(signal)]! += weight * unit.sharpness;
      }
    }
    return matrix;
  }

  /** [4·width] */
  inputBias(): Float32Array {
    const bias = new Float32Array(this.#hiddenWidth);
    for (const [row, unit] of this.#units.entries()) bias[row] = (unit.bias ?? 0) * unit.sharpness;
    return bias;
  }

  /** [width, 4·width] */
  outputWeight(): Float32Array {
    const matrix = new Float32Array(this.#stream.width * this.#hiddenWidth);
    for (const [column, unit] of this.#units.entries()) {
      for (const [row, weight] of this.#stream.write(unit.writes).entries()) {
        matrix[row * this.#hiddenWidth + column] = weight / unit.sharpness;
      }
    }
    return matrix;
  }
}

export type NamedWeight = readonly [name: string, tensor: WeightTensor];

/** A weight that is made when it is read. */
export function weight(name: string, shape: readonly number[], read: () => Float32Array): NamedWeight {
  return [name, { shape, read }];
}

/** One value that attention averages over all visible tokens, and the writes of the average. */
export interface Average<Channel extends string> {
  readonly reads: readonly Tap<Channel>[];
  readonly writes: readonly Tap<Channel>[];
}

interface LayerDesign<Channel extends string> {
  readonly averages?: readonly Average<Channel>[];
  readonly rectifiers?: readonly Rectifier<Channel>[];
  /** Removes the balance from the stream, so that the next LayerNorm scales the signals alone. */
  readonly removesBalance?: boolean;
}

/**
 * The weights of one residual attention block. Queries and keys are 0, so attention is an average over all visible
 * tokens. It writes nothing if the output projection is 0.
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

/** [3·width, width]: queries and keys are 0; value i is what the i-th average reads. */
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
