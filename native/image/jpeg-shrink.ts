import type { Size } from './picture-header.ts';

/**
 * libjpeg can decode at n/8 of the size for every n up to 8. These have vector code: the others take as
 * long as the whole picture.
 */
const EIGHTHS = [1, 2, 4, 8] as const;

/**
 * How much larger than the target the shrunk picture stays, so that the bicubic filter, not the DCT's
 * crude one, decides the pixels. With detailed photos the mean difference from resizing the whole
 * picture is up to 3.5 of 255 at 1×, 1.5 at 2×, 1.2 at 2.4×, 0.8 at 3×.
 */
const MINIMUM_RATIO = 2.4;

/**
 * How far the picture's far edge may be off, in pixels of the target. The shrunk size is rounded up to
 * whole pixels: 1357 at 2/8 becomes 340, which covers 1360. Each tenth of a pixel costs a detailed photo
 * 1.5 of 255 in the mean.
 */
const MAXIMUM_SHIFT = 0.08;

/** Three copies of it exist for a moment, 190 MB. Above, the best fit that is smaller is taken. */
const MAXIMUM_SHRUNK_PIXELS = 16_000_000;

/** The size at which to decode a JPEG that will be resized: its own, or n/8 of it rounded up. */
export function shrunkSize(size: Size, resized: Size): Size {
  const candidates = EIGHTHS.map((eighths) => {
    const shrunk = {
      width: Math.ceil((size.width * eighths) / 8),
      height: Math.ceil((size.height * eighths) / 8),
    };
    return {
      shrunk,
      ratio: Math.min(shrunk.width / resized.width, shrunk.height / resized.height),
      shift: Math.max(
        shift(size.width, shrunk.width, eighths, resized.width),
        shift(size.height, shrunk.height, eighths, resized.height),
      ),
    };
  });
  const whole = candidates.at(-1)!;
  const sharp = candidates.filter(({ ratio }) => ratio >= MINIMUM_RATIO);
  const exact = sharp.find((candidate) => candidate.shift <= MAXIMUM_SHIFT) ?? whole;
  if (pixelCount(exact.shrunk) <= MAXIMUM_SHRUNK_PIXELS) return exact.shrunk;
  const affordable = sharp.filter(({ shrunk }) => pixelCount(shrunk) <= MAXIMUM_SHRUNK_PIXELS);
  return (affordable.sort((a, b) => a.shift - b.shift)[0] ?? sharp[0] ?? whole).shrunk;
}

/** By how many target pixels the far edge is off when `shrunk` pixels are taken for the whole side. */
function shift(side: number, shrunk: number, eighths: number, resized: number): number {
  return (((shrunk * 8) / eighths - side) * resized) / side;
}

function pixelCount({ width, height }: Size): number {
  return width * height;
}
