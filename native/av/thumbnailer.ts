import type { DecodedFrame } from './decoded-frame.ts';
import { createFrameFilter } from './frame-filter.ts';

export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] u8 RGB, row-major. */
  readonly pixels: Uint8Array;
}

/** Makes small pictures of frames, fast and coarse: to compare frames, not to look at them. */
export interface Thumbnailer extends Disposable {
  /** @throws AvError */
  make(frame: DecodedFrame): RgbImage;
}

/**
 * Samples rather than averages: 0.2 ms for a frame of 1920 × 1080, where averaging takes 1. Colours are
 * those of the frame's own curve and primaries; frames lie as coded.
 */
export function createThumbnailer(width: number, height: number): Thumbnailer {
  const filter = createFrameFilter(() => [
    `scale=${width}:${height}:flags=fast_bilinear:out_range=full`,
    'format=rgb24',
  ]);
  return {
    make: (frame) => ({ width, height, pixels: filter.apply(frame).toBuffer() }),
    [Symbol.dispose]: () => filter[Symbol.dispose](),
  };
}
