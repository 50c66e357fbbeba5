import type { ClipArchitecture } from '../../../src/clip/architecture.ts';
import type { Checkpoint, WeightTensor } from '../../../src/clip/checkpoint/checkpoint.ts';
import { expectedShapes } from '../../../src/clip/checkpoint/clip-checkpoint.ts';

/** Every parameter of the reference's `CLIP` and its shape. */
export const parameterShapes: (architecture: ClipArchitecture) => ReadonlyMap<string, readonly number[]> =
  expectedShapes;

/** A small stream of numbers from −1 to 1 that a seed decides (xorshift32). */
export function randomNumbers(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
}

/**
 * A checkpoint of any architecture with random weights: of a size that keeps activations near 1, so that
 * every layer matters, and LayerNorm weights around 1.
 */
export function randomCheckpoint(architecture: ClipArchitecture, seed: number): Checkpoint {
  const next = randomNumbers(seed);
  const weights = new Map<string, WeightTensor>();
  for (const [name, shape] of parameterShapes(architecture)) {
    const size = shape.reduce((product, length) => product * length, 1);
    const isScale = /\bln_\w+\.weight$/.test(name);
    const fanIn = shape.length > 1 ? size / (shape[0] as number) : 4;
    const magnitude = Math.sqrt(3 / fanIn);
    const mean = isScale ? 1 : 0;
    const values = new Float32Array(size);
    // There are millions: `Float32Array.from` takes several times as long.
    for (let index = 0; index < size; index++) values[index] = mean + magnitude * next();
    weights.set(name, tensor(shape, name === 'logit_scale' ? Float32Array.of(Math.log(100)) : values));
  }
  return { family: 'clip', layout: 'constructed', architecture, weights, [Symbol.dispose]() {} };
}

export function tensor(shape: readonly number[], values: Float32Array): WeightTensor {
  return { shape, read: () => values };
}
