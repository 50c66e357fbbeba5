export type PictureFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'bmp' | 'tiff' | 'avif';

/** EXIF's numbering: 1 is upright, 2 to 4 are mirrored or upside down, 5 to 8 lie on their side. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** What a picture's header says; a decoder needs it beforehand. */
export interface PictureHeader {
  readonly format: PictureFormat;
  /** Size as stored, in pixels: before the orientation is applied. */
  readonly width: number;
  readonly height: number;
  /** How to turn the stored pixels for showing them. */
  readonly orientation: Orientation;
  /** Pixels carry an opacity that the reference would resize with them. */
  readonly alpha: boolean;
  /**
   * Few decoders read this variant of its format: an animated WebP; a BMP with a palette, run lengths or
   * 16 bits a pixel.
   */
  readonly rare: boolean;
  /** Pixels are shades of grey, without colour. Only told for TIFF. */
  readonly grey: boolean;
  /**
   * Bytes a decoder holds beside the pixels. A JPEG in several scans (every progressive one) keeps all
   * its coefficients until the last scan.
   */
  readonly coefficientBytes: number;
}

/** How a picture is brought to a square: whole pixels, measured on the picture as shown. */
export interface ResizeAndCrop {
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  readonly cropLeft: number;
  readonly cropTop: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The picture's size as shown: after its orientation is applied. */
export function shownSize(header: PictureHeader): Size {
  return turnedSize(header, header.orientation);
}

/** Sides change places where the orientation lies on its side: from stored to shown, and back. */
export function turnedSize({ width, height }: Size, orientation: Orientation): Size {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}
