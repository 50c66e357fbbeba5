import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { elementCount } from '../checkpoint/stored-tensor.ts';

/** A checkpoint's weights do not make a model. The message names the weight. */
export class UnusableWeightError extends Error {
  override readonly name = 'UnusableWeightError';
}

/** Reads a checkpoint's weights one at a time, and checks each shape. */
export class NamedWeights {
  readonly #checkpoint: Checkpoint;
  readonly #onShare: (share: number) => void;
  readonly #bytesTotal: number;
  #bytesDone = 0;

  /** @param onShare called with the share of all bytes that has been read, 0 to 1 */
  constructor(checkpoint: Checkpoint, onShare: (share: number) => void) {
    this.#checkpoint = checkpoint;
    this.#onShare = onShare;
    this.#bytesTotal = [...checkpoint.weights.values()].reduce(
      (bytes, { shape }) => bytes + 4 * elementCount(shape),
      0,
    );
  }

  /**
   * @param shape as the architecture requires
   * @returns the values, row-major
   * @throws UnusableWeightError
   */
  read(name: string, shape: readonly number[]): Float32Array {
    const tensor = this.#checkpoint.weights.get(name);
    if (!tensor) throw new UnusableWeightError(`the checkpoint has no weight ${name}`);
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
      throw new UnusableWeightError(`${name} has shape [${tensor.shape}], expected [${shape}]`);
    }
    const values = tensor.read();
    // float32 terms cannot overflow a double's sum: it is finite only if all terms are.
    if (!Number.isFinite(values.reduce((sum, value) => sum + value, 0))) {
      throw new UnusableWeightError(`${name} has values that are not finite`);
    }
    this.#bytesDone += values.byteLength;
    this.#onShare(this.#bytesDone / this.#bytesTotal);
    return values;
  }

  /** Reads [rows, columns] as its transpose, [columns, rows]. */
  readTransposed(name: string, [rows, columns]: readonly [number, number]): Float32Array {
    return transpose(this.read(name, [rows, columns]), rows, columns);
  }
}

/** Side of a tile: reads and writes of a tile both stay in the cache. */
const TILE = 32;

/** [rows, columns] → [columns, rows], both row-major. */
export function transpose(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const transposed = new Float32Array(matrix.length);
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(top + TILE, rows);
    for (let left = 0; left < columns; left += TILE) {
      const right = Math.min(left + TILE, columns);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          transposed[column * rows + row] = matrix[row * columns + column]!;
        }
      }
    }
  }
  return transposed;
}
