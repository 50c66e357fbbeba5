import type { Size } from './picture-header.ts';

/**
 * libjpeg can decode at n/8 of the size for every n up to 8. These have vector code: the others take as
 * long as the whole picture.
 *
 * `minimumRatio`: how much larger than the target the shrunk picture stays, so that the bicubic filter, not
 * the DCT's crude one, decides the pixels. With photos that are sharp to the pixel the mean difference from
 * resizing the whole picture is 0.9 of 255 at 1/8 and 1.5 times the target (the worst photo: 1.9), 0.6 (1.4)
 * at 2/8 and 2.0 times, 0.4 (1.1) at 4/8 and 2.4 times. Photos as large as those for 1/8 are seldom sharp to
 * the pixel, and there it saves most: half of the time.
 */
const steps = [
  { eighths: 1, minimumRatio: 1.5 },
  { eighths: 2, minimumRatio: 2.0 },
  { eighths: 4, minimumRatio: 2.4 },
] as const;

/** How a JPEG that will be resized is decoded. */
export interface JpegShrink {
  /** The decoded size: whole pixels, of which the last of a row or column may be cut by the picture's edge. */
  readonly decoded: Size;
  /** The decoded pixels that the picture covers: n/8 of its sides. */
  readonly covered: Size;
}

export function jpegShrink(size: Size, resized: Size): JpegShrink {
  const step = steps.find(({ eighths, minimumRatio }) => {
    const { width, height } = eighthsOf(size, eighths);
    return Math.min(width / resized.width, height / resized.height) >= minimumRatio;
  });
  const covered = eighthsOf(size, step?.eighths ?? 8);
  return { covered, decoded: { width: Math.ceil(covered.width), height: Math.ceil(covered.height) } };
}

function eighthsOf({ width, height }: Size, eighths: number): Size {
  return { width: (width * eighths) / 8, height: (height * eighths) / 8 };
}
