/** Python's `round`: a half goes to the even neighbour. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
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
