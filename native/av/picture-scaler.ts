import type { ResizeAndCrop } from '../geometry.ts';
import type { DecodedFrame } from './decoded-frame.ts';
import { createFrameFilter, type FrameForm } from './frame-filter.ts';
import { type Orientation, orientationFilters } from './orientation.ts';

/** Bicubic as the reference resizes; rounding to the nearest instead of down keeps flat colours exact. */
export const SCALE_FLAGS = 'flags=bicubic+accurate_rnd';

/**
 * Converts HDR to the range of pictures: BT.2390's curve, which hardly changes anything up to the brightness of white
 * paper, and BT.709's primaries. The filter takes 10-bit 4:2:0.
 */
export function toneMapFilters({ highDynamicRange }: FrameForm): readonly string[] {
  if (!highDynamicRange) return [];
  return [
    'format=yuv420p10le',
    'tonemapx=tonemap=bt2390:desat=0:peak=100:transfer=bt709:matrix=bt709:primaries=bt709:range=tv:format=yuv420p',
  ];
}

export interface PicturePlacement extends ResizeAndCrop {
  /** Side of the square, in pixels. */
  readonly side: number;
}

/** Makes square RGB pictures of frames. */
interface PictureScaler extends Disposable {
  /**
   * @returns [side, side, 3] u8 RGB, row-major; upright, full range
   * @throws AvError
   */
  scale(frame: DecodedFrame): Uint8Array;
}

export function createPictureScaler(placement: PicturePlacement, orientation: Orientation): PictureScaler {
  const { resizedWidth, resizedHeight, cropLeft, cropTop, side } = placement;
  // The frame is turned in the last step, when it has few pixels.
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
