import { expect, test } from 'bun:test';
import { placePicture } from '../../../src/clip/preprocessing.ts';
import { createPictureLoader } from '../../../src/media/picture/picture.ts';
import { makePaintedVideo } from '../../fixtures/videos.ts';
import { isolated, meanDifference } from '../load-picture.ts';
import { open, SAME_PICTURE, side } from './look-at.ts';

const geometry = (width: number, height: number, fit: 'crop' | 'whole' | 'tiles') =>
  placePicture(width, height, side, fit);
const load = createPictureLoader({ geometry, limits: { imageBytes: 1e8, imagePixels: 1e8 }, isolated });

/** Different in each corner. */
const frame = {
  background: [128, 128, 130],
  patches: [
    { left: 0, right: 0.25, top: 0, bottom: 0.5, colour: [205, 25, 35] },
    { left: 0.8, right: 1, top: 0, bottom: 0.3, colour: [35, 70, 200] },
    { left: 0.6, right: 1, top: 0.7, bottom: 1, colour: [40, 150, 50] },
  ],
} as const;

// Of a turned video, the longer side is that of its height.
test.each([
  ['whole', 0, [1, 1]],
  ['tiles', 0, [1, 1]],
  ['whole', 90, [1, 1]],
  ['tiles', 90, [1, 1]],
  ['tiles', 270, [1, 1]],
  ['tiles', 0, [4, 3]],
] as const)(
  'fit=%s of a frame turned by %d°, with pixels of %p, is that of its picture',
  async (fit, rotation, pixelAspect) => {
    const name = `fit-${rotation}-${pixelAspect.join('-')}`;
    const path = makePaintedVideo(
      name,
      { width: 320, height: 180, rotation, pixelAspect },
      Array(6).fill(frame),
    );
    await using video = await open(path);
    const found = await Array.fromAsync(
      video.frames({ geometry, side, fit, maximumFrames: 4, thorough: false }),
    );
    const [first] = found;
    if (!first) throw new Error('no frame');
    for await (const { jpeg } of video.jpegs([first.timestamp])) {
      const square = new Uint8Array(side * side * 3);
      const { tiled } = await load(jpeg, square, { fit });
      expect(tiled === undefined).toBe(fit === 'whole');
      const expected = tiled?.pixels ?? square;
      expect(first.pixels.length).toBe(expected.length);
      expect(meanDifference(first.pixels, expected)).toBeLessThan(SAME_PICTURE);
    }
  },
);
