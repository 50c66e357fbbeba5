import { randomNumbers } from '../../bench/random-numbers.ts';

/** @returns [dimension] float32, L2-normalised, decided by the seed */
export function randomEmbedding(dimension: number, seed: number): Float32Array {
  const next = randomNumbers(seed);
  const numbers = Float64Array.from({ length: dimension }, () => next() + next() + next());
  const length = Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));
  return Float32Array.from(numbers, (value) => value / length);
}
