import { jpegShrink } from './jpeg-shrink.ts';
import { type PictureHeader, type Size, turnedSize } from './picture-header.ts';
import { MAXIMUM_PREMULTIPLIED_PIXELS } from './premultiplied-alpha.ts';

/** Bytes a pixel at the worst moment: measured with 12 to 100 megapixels, rounded up. */
const bytesPerPixel = {
  /** RGBA. */
  decoded: 4,
  /** RGBA, its PNG, that decoded again, and what waits for the garbage collector. */
  decodedTwice: 16,
  /** Lossless ones keep a copy; lossy ones need half of it. */
  webp: 8,
  gif: 6,
  /** The library's own pixels, its BMP, then that as RGBA. */
  transcoded: 11,
  /** An animated WebP's canvas besides. */
  rare: 12,
  /** Planes of up to 16 bits before. */
  avif: 16,
  /** And of the opacity, which is an image of its own. */
  avifWithAlpha: 32,
  /** Turning makes a copy. */
  turned: 4,
} as const;

const KIBI = 1024;
/** Rows under way, tables, the result. */
const FIXED_BYTES = 512 * KIBI;

/**
 * Estimates from the header how much memory decoding a picture takes at its worst moment, in bytes.
 * @param resized size to which it is resized, as shown; undefined for one that is decoded as it is
 */
export function decodeCostBytes(header: PictureHeader, resized: Size | undefined): number {
  return FIXED_BYTES + header.coefficientBytes + pixelBytes(header, resized);
}

function pixelBytes(header: PictureHeader, resized: Size | undefined): number {
  const { width, height, orientation, format } = header;
  const turned = orientation === 1 ? 0 : bytesPerPixel.turned;
  const pixels = width * height;
  if (!resized) return pixels * (bytesPerPixel.decodedTwice + turned);
  if (format === 'jpeg') {
    const { decoded } = jpegShrink(header, turnedSize(resized, orientation));
    return decoded.width * decoded.height * (bytesPerPixel.decodedTwice + turned);
  }
  const ofFormat = format === 'avif' && header.alpha ? bytesPerPixel.avifWithAlpha : perPixelByFormat[format];
  const perPixel = header.rare ? bytesPerPixel.rare : ofFormat;
  const premultiplied =
    header.alpha && pixels <= MAXIMUM_PREMULTIPLIED_PIXELS ? bytesPerPixel.decodedTwice : 0;
  return pixels * (Math.max(perPixel, premultiplied) + turned);
}

const perPixelByFormat = {
  png: bytesPerPixel.decoded,
  bmp: bytesPerPixel.decoded,
  webp: bytesPerPixel.webp,
  gif: bytesPerPixel.gif,
  tiff: bytesPerPixel.transcoded,
  avif: bytesPerPixel.avif,
} as const;
