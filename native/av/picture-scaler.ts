import { SCALE_FLAGS, toneMapFilters } from './colour-filters.ts';
import type { DecodedFrame } from './decoded-frame.ts';
import { createFrameFilter } from './frame-filter.ts';
import { type Orientation, orientationFilters } from './orientation.ts';

/** Where a picture as shown meets a square. All values are whole pixels. */
export interface PicturePlacement {
  /** Size of the whole picture after resizing. */
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  /** Top left corner of the square that is cut out of it. */
  readonly cropLeft: number;
  readonly cropTop: number;
  /** Side of the square. */
  readonly side: number;
}

/** Makes square RGB pictures of frames. */
export interface PictureScaler extends Disposable {
  /**
   * @returns [side, side, 3] u8 RGB, row-major; upright, full range
   * @throws AvError
   */
  scale(frame: DecodedFrame): Uint8Array;
}

export function createPictureScaler(placement: PicturePlacement, orientation: Orientation): PictureScaler {
  const { resizedWidth, resizedHeight, cropLeft, cropTop, side } = placement;
  // The frame lies as coded until the last step: few pixels are left to turn then.
  const [width, height] =
    orientation.turns % 2 === 0 ? [resizedWidth, resizedHeight] : [resizedHeight, resizedWidth];
  const filter = createFrameFilter((form) => [
    ...(form.highDynamicRange ? [`scale=${width}:${height}:${SCALE_FLAGS}`, ...toneMapFilters(form)] : []),
    `scale=${width}:${height}:${SCALE_FLAGS}:out_range=full`,
    'format=rgb24',
    ...orientationFilters(orientation),
    `crop=${side}:${side}:${cropLeft}:${cropTop}:exact=1`,
  ]);
  return {
    scale: (frame) => filter.apply(frame).toBuffer(),
    [Symbol.dispose]: () => filter[Symbol.dispose](),
  };
}
