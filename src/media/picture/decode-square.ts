import { type PictureHeader, type ResizeAndCrop, shownSize } from '../../../native/image/bitmap.ts';
import { bicubicAxis, resampleBicubic } from './bicubic.ts';
import { decodeResized, decodeWindow } from './decode.ts';
import { dropAlpha, premultiplyAlpha, unpremultiplyAlpha } from './premultiplied-alpha.ts';

/** How a picture becomes the model's square. */
export interface SquareTask {
  readonly header: PictureHeader;
  readonly place: ResizeAndCrop;
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts the square out of it: in this process.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @throws DecodeError; the signal's reason
 */
export async function decodeSquare(
  bytes: Uint8Array,
  { header, place }: SquareTask,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  await (isExtremeRatio(place) ? decodeExtremeRatio : decodeResized)(bytes, header, place, target, signal);
}

/** 16 MiB of RGBA: at a resolution of 224 a strip of 84 : 1. */
const MAXIMUM_RESIZED_PIXELS = 4 * 1024 ** 2;

/**
 * A strip resized until its short side fits is as long as its ratio says: 1 × 16,000 would become
 * 224 × 3,584,000 pixels, 3 GB, of which a square is kept.
 */
export function isExtremeRatio({ resizedWidth, resizedHeight }: ResizeAndCrop): boolean {
  return resizedWidth * resizedHeight > MAXIMUM_RESIZED_PIXELS;
}

/** What `decodeResized` does, but makes only the square: from the part of the picture that it depends on. */
async function decodeExtremeRatio(
  bytes: Uint8Array,
  header: PictureHeader,
  geometry: ResizeAndCrop,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const side = Math.sqrt(target.length / 3);
  const { width, height } = shownSize(header);
  const horizontal = bicubicAxis(width, geometry.resizedWidth, geometry.cropLeft, side);
  const vertical = bicubicAxis(height, geometry.resizedHeight, geometry.cropTop, side);
  const window = {
    left: horizontal.sourceStart,
    top: vertical.sourceStart,
    width: horizontal.sourceEnd - horizontal.sourceStart,
    height: vertical.sourceEnd - vertical.sourceStart,
  };
  const source = await decodeWindow(bytes, header, window, signal);
  if (header.alpha) premultiplyAlpha(source);
  const square = resampleBicubic(source, horizontal, vertical);
  if (header.alpha) unpremultiplyAlpha(square);
  dropAlpha(square, target);
}
