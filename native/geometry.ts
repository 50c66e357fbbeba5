/** All values are in whole pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Rectangle extends Size {
  readonly left: number;
  readonly top: number;
}

/** How a picture becomes squares, measured on the picture as shown. */
export interface ResizeAndCrop {
  /** Size of the whole picture after resizing. */
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  /** Top left corner of the square that is cut out of the resized picture. */
  readonly cropLeft: number;
  readonly cropTop: number;
  /**
   * How many squares are cut out, if they are several. They are spread evenly along the longer side of the resized
   * picture, from edge to edge; its shorter side is that of the squares.
   */
  readonly tiles?: number;
}

/**
 * The part of the resized picture that is cut out: one square, or all of the picture where there are several.
 * @param pixels that it has
 */
export function cutSize({ resizedWidth, resizedHeight, tiles = 1 }: ResizeAndCrop, pixels: number): Size {
  if (tiles > 1) return { width: resizedWidth, height: resizedHeight };
  const side = Math.sqrt(pixels);
  return { width: side, height: side };
}

/** Pixels, [height, width, 3] u8 RGB, row-major. */
export interface RgbImage extends Size {
  readonly pixels: Uint8Array;
}

/** EXIF's numbering: 1 is upright, 2 to 4 are mirrored or upside down, 5 to 8 lie on their side. */
export type ExifOrientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;
