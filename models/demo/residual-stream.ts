/** One number going to, or coming from, a named channel of the residual stream. */
export type Tap<Channel extends string> = readonly [channel: Channel, weight: number];

/**
 * How far the balance channels stand from zero. All else in the stream is about 1, so its effect on
 * LayerNorm's standard deviation stays below 0.1 %; in float32 a value of 1 beside 40 keeps seven digits.
 */
const BALANCE = 40;

/**
 * The layout of one tower's residual stream: which channel carries which signal, and the channels that
 * keep LayerNorm from disturbing them.
 *
 * LayerNorm subtracts the mean of a token's channels and divides by their standard deviation, which would
 * make each signal depend on all others. The channels that carry no signal hold ±BALANCE, as many of
 * either sign: they alone decide the deviation. And whatever is written to the signals is written a
 * second time, negated and spread over the balance channels, so that the mean stays zero. With the
 * deviation as its gain, LayerNorm then hands on the signals as they are.
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
    if (index === undefined) throw new Error(`This is a bug: the stream has no channel "${signal}"`);
    return index;
  }

  /** [width]: what makes the balance. */
  balance(): Float32Array {
    return Float32Array.from({ length: this.width }, (_, index) =>
      index < this.#firstBalance ? 0 : (index - this.#firstBalance) % 2 === 0 ? BALANCE : -BALANCE,
    );
  }

  /** [width]: one write to the stream: the taps, and their sum taken back from the balance channels. */
  write(taps: readonly Tap<Channel>[]): Float32Array {
    const column = new Float32Array(this.width);
    let sum = 0;
    for (const [signal, weight] of taps) {
      column[this.channel(signal)]! += weight;
      sum += weight;
    }
    return column.fill(-sum / this.#balances, this.#firstBalance);
  }

  /** [width]: LayerNorm's gain that hands on the signals unchanged and hides the balance. */
  gain(): Float32Array {
    return new Float32Array(this.width).fill(this.deviation, 0, this.#firstBalance);
  }

  /** [width]: the same, for the LayerNorm that tokens pass before the first layer: it keeps the balance. */
  gainWithBalance(): Float32Array {
    return new Float32Array(this.width).fill(this.deviation);
  }
}
