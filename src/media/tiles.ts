import type { RgbImage } from '../../native/geometry.ts';

export type { RgbImage };

/** A resized picture, along whose longer side squares are spread evenly, from edge to edge. They may overlap. */
export interface TiledPicture extends RgbImage {
  readonly tiles: number;
}

/**
 * Copies one of the squares.
 * @param order of the square, from 0
 * @param target receives the square, [S, S, 3] u8 RGB; S is the picture's shorter side
 */
export function copyTile(picture: TiledPicture, order: number, target: Uint8Array): void {
  const { width, height, pixels, tiles } = picture;
  const side = Math.min(width, height);
  const start = tiles > 1 ? Math.round(((Math.max(width, height) - side) * order) / (tiles - 1)) : 0;
  const [left, top] = width > height ? [start, 0] : [0, start];
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * width + left) * 3;
    target.set(pixels.subarray(from, from + side * 3), y * side * 3);
  }
}
