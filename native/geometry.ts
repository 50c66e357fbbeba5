/** All values are in whole pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Rectangle extends Size {
  readonly left: number;
  readonly top: number;
}

/** How a picture becomes a square, measured on the picture as shown. */
export interface ResizeAndCrop {
  /** Size of the whole picture after resizing. */
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  /** Top left corner of the square that is cut out of the resized picture. */
  readonly cropLeft: number;
  readonly cropTop: number;
}

/** EXIF's numbering: 1 is upright, 2 to 4 are mirrored or upside down, 5 to 8 lie on their side. */
export type ExifOrientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;
