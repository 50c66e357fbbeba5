import { type Fit, MAX_PICTURE_TILES } from '../contract/options.ts';

/** Python's `round`: a half goes to the even neighbour. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Up to this ratio of the sides, the whole picture becomes one tile: squeezing it so little changes nothing. */
const ONE_TILE_RATIO = 1.1;

/**
 * Says how a picture becomes squares.
 *
 * `crop`: the reference's middle square. `whole`: the picture is squeezed into the square. `tiles`: the shorter side
 * becomes the square's, and squares are spread evenly along the longer one, as few as leave nothing out. If a picture is
 * more than eight times as long as wide, its longer side is squeezed into eight squares.
 * @param width of the picture after its EXIF orientation
 * @param resolution side of the model's square input
 */
export function placePicture(
  width: number,
  height: number,
  resolution: number,
  fit: Fit = 'crop',
): ResizeAndCrop {
  if (fit === 'crop') return resizeAndCrop(width, height, resolution);
  const ratio = Math.max(width, height) / Math.min(width, height);
  if (fit === 'whole' || ratio <= ONE_TILE_RATIO) {
    return { resizedWidth: resolution, resizedHeight: resolution, cropLeft: 0, cropTop: 0 };
  }
  // Truncated, as the reference does.
  const longer = Math.trunc(
    Math.min(
      MAX_PICTURE_TILES * resolution,
      (resolution * Math.max(width, height)) / Math.min(width, height),
    ),
  );
  return {
    resizedWidth: width <= height ? resolution : longer,
    resizedHeight: width <= height ? longer : resolution,
    cropLeft: 0,
    cropTop: 0,
    tiles: Math.ceil(longer / resolution),
  };
}

/** How a picture becomes squares, measured on the picture after its EXIF orientation, in whole pixels. */
interface ResizeAndCrop extends ReturnType<typeof resizeAndCrop> {
  /** How many squares are spread along the longer side, if they are several. */
  readonly tiles?: number;
}

/**
 * The reference's `Resize(n_px, BICUBIC)` and `CenterCrop(n_px)` (openai/CLIP `clip.py`, `_transform`;
 * torchvision `_compute_resized_output_size` and `center_crop`), to the pixel.
 * @param width of the picture after its EXIF orientation
 * @param resolution side of the model's square input
 * @returns the picture's size after the resize, and the square's top left corner in it, in whole pixels
 */
export function resizeAndCrop(width: number, height: number, resolution: number) {
  // torchvision truncates the longer side instead of rounding it; the product is exact in a double.
  const [resizedWidth, resizedHeight] =
    width <= height
      ? [resolution, Math.trunc((resolution * height) / width)]
      : [Math.trunc((resolution * width) / height), resolution];
  return {
    resizedWidth,
    resizedHeight,
    cropLeft: roundHalfToEven((resizedWidth - resolution) / 2),
    cropTop: roundHalfToEven((resizedHeight - resolution) / 2),
  };
}
