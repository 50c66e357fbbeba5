import type { DecodedFrame } from './decoded-frame.ts';
import { createFrameFilter } from './frame-filter.ts';

export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] u8 RGB, row-major. */
  readonly pixels: Uint8Array;
}

/** Makes small pictures of frames, fast and coarse, for comparing frames. */
export interface Thumbnailer extends Disposable {
  /** @throws AvError */
  make(frame: DecodedFrame): RgbImage;
}

/**
 * Samples rather than averages: 0.2 ms for a frame of 1920 × 1080, where averaging needs 1 ms. Colours are
 * in the frame's own curve and primaries; frames are not turned.
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
