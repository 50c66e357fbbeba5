import { type BicubicAxis, resampleBicubic } from '../bicubic.ts';

/** Where pixels of a square go: steps in bytes of its RGB. */
export interface Place {
  readonly origin: number;
  readonly right: number;
  readonly down: number;
}

/**
 * Resamples a square's window of a picture.
 * @param readRow reads a row's pixels from `horizontal.sourceStart` to `sourceEnd`, [n, 4] u8 RGBA; called for one
 *   row after another from `vertical.sourceStart` to `sourceEnd`
 * @param target receives the square, [S, S, 3] u8 RGB
 */
export type ResampleSquare = (
  readRow: (row: Uint8Array) => void,
  horizontal: BicubicAxis,
  vertical: BicubicAxis,
  target: Uint8Array,
  place: Place,
) => void;

/** For machines that have no kernel: right, but slow. */
export const resamplePlainly: ResampleSquare = (readRow, horizontal, vertical, target, place) => {
  const rowBytes = (horizontal.sourceEnd - horizontal.sourceStart) * 4;
  const source = new Uint8Array((vertical.sourceEnd - vertical.sourceStart) * rowBytes);
  for (let at = 0; at < source.length; at += rowBytes) readRow(source.subarray(at, at + rowBytes));
  const square = resampleBicubic(source, horizontal, vertical);
  const side = horizontal.starts.length;
  for (let y = 0, from = 0; y < side; y++) {
    for (let x = 0; x < side; x++, from += 4) {
      target.set(square.subarray(from, from + 3), place.origin + y * place.down + x * place.right);
    }
  }
};
