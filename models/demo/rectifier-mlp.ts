import type { ResidualStream, Tap } from './residual-stream.ts';

/** One hidden unit: writes `max(0, bias + Σ reads)`, times the writes' weights. */
export interface Rectifier<Channel extends string> {
  readonly reads: readonly Tap<Channel>[];
  readonly bias?: number;
  readonly writes: readonly Tap<Channel>[];
  /**
   * QuickGELU is x·σ(1.702x): of x times the sharpness, divided by it again, it differs from a rectifier by
   * at most 0.164 / sharpness.
   */
  readonly sharpness: number;
}

/** The weights of one transformer MLP, as `c_fc` and `c_proj` of the reference. */
export class RectifierMlp<Channel extends string> {
  readonly #stream: ResidualStream<Channel>;
  readonly #units: readonly Rectifier<Channel>[];
  readonly #hiddenWidth: number;

  constructor(stream: ResidualStream<Channel>, units: readonly Rectifier<Channel>[]) {
    this.#stream = stream;
    this.#units = units;
    this.#hiddenWidth = 4 * stream.width;
    if (units.length > this.#hiddenWidth) {
      throw new Error(`This is a bug: ${units.length} units for ${this.#hiddenWidth} places`);
    }
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
