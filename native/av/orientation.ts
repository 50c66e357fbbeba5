/** How a player transforms a decoded frame: first mirrors it, then turns it. */
export interface Orientation {
  /** Left and right are swapped. */
  readonly mirrored: boolean;
  /** Quarter turns clockwise. */
  readonly turns: 0 | 1 | 2 | 3;
}

export const upright: Orientation = { mirrored: false, turns: 0 };

/** Nine 32-bit numbers. */
const MATRIX_BYTES = 36;

/**
 * Reads a display matrix (ISO/IEC 14496-12, 8.2.2). Players turn by quarters only, so other angles are rounded to the
 * nearest quarter.
 * @param matrix nine native-endian 32-bit numbers in rows: a b u / c d v / x y w, of which a, b, c, d turn and mirror
 */
export function orientationOf(matrix: Uint8Array): Orientation {
  if (matrix.byteLength < MATRIX_BYTES) return upright;
  const view = new DataView(matrix.buffer, matrix.byteOffset, matrix.byteLength);
  const [a, b] = [view.getInt32(0, true), view.getInt32(4, true)];
  const [c, d] = [view.getInt32(12, true), view.getInt32(16, true)];
  const determinant = a * d - b * c;
  if (determinant === 0) return upright;
  const mirrored = determinant < 0;
  // The direction of the x axis, after undoing the mirroring.
  const angle = mirrored ? Math.atan2(-b, -a) : Math.atan2(b, a);
  const quarters = Math.round(angle / (Math.PI / 2));
  return { mirrored, turns: (((quarters % 4) + 4) % 4) as Orientation['turns'] };
}

/** libav's filters for an orientation. */
export function orientationFilters({ mirrored, turns }: Orientation): readonly string[] {
  const turning = [[], ['transpose=clock'], ['hflip', 'vflip'], ['transpose=cclock']][turns]!;
  return mirrored ? ['hflip', ...turning] : turning;
}
