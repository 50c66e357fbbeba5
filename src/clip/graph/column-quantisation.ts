import type { LinearWeights } from './linear.ts';

/** The largest magnitude of a quantised weight: −128 has no counterpart. */
const LARGEST = 127;

/** weight ≈ values · scales: a scale for each column, which is an output channel. */
export interface QuantisedColumns {
  /** [inputWidth, outputWidth], −127 to 127 */
  readonly values: Int8Array;
  /** [outputWidth] */
  readonly scales: Float32Array;
}

/** Rounds each weight to the nearest of its column's 255 steps. */
export function quantiseColumns({ weight, inputWidth, outputWidth }: LinearWeights): QuantisedColumns {
  const scales = columnScales(weight, outputWidth);
  const values = new Int8Array(weight.length);
  for (let row = 0; row < inputWidth; row++) {
    for (let column = 0; column < outputWidth; column++) {
      const index = row * outputWidth + column;
      values[index] = Math.round((weight[index] as number) / (scales[column] as number));
    }
  }
  return { values, scales };
}

/**
 * Rounds so that what one weight loses is put on the next of its kind. Where the rows it stands for have
 * nearly the same value, as a picture's neighbouring pixels do, the losses cancel in the product.
 * @param kinds rows r, r + kinds, r + 2 · kinds, … are of one kind: 3 for RGB
 */
export function quantiseColumnsDiffused(
  { weight, inputWidth, outputWidth }: LinearWeights,
  kinds: number,
): QuantisedColumns {
  const scales = columnScales(weight, outputWidth);
  const values = new Int8Array(weight.length);
  const lost = new Float64Array(kinds * outputWidth);
  for (let row = 0; row < inputWidth; row++) {
    for (let column = 0; column < outputWidth; column++) {
      const index = row * outputWidth + column;
      const carry = (row % kinds) * outputWidth + column;
      const wanted = (weight[index] as number) / (scales[column] as number) + (lost[carry] as number);
      const value = Math.min(LARGEST, Math.max(-LARGEST, Math.round(wanted)));
      values[index] = value;
      lost[carry] = wanted - value;
    }
  }
  return { values, scales };
}

/** A column's largest magnitude becomes 127. */
function columnScales(weight: Float32Array, outputWidth: number): Float32Array {
  const peaks = new Float32Array(outputWidth);
  for (let index = 0; index < weight.length; index++) {
    const column = index % outputWidth;
    peaks[column] = Math.max(peaks[column] as number, Math.abs(weight[index] as number));
  }
  // A column of zeros has no scale of its own; so has one too small for a scale that is not subnormal.
  return peaks.map((peak) => (peak / LARGEST >= SMALLEST_NORMAL ? peak / LARGEST : 1));
}

const SMALLEST_NORMAL = 2 ** -126;
