import { describe, expect, test } from 'bun:test';
import type { ExifOrientation } from '../../../native/geometry.ts';
import { createBitmap, decodeBuiltin, readWindow, StoredPng } from '../../../native/image/builtin-decoder.ts';
import { resizeAndCrop } from '../../../src/clip/preprocessing.ts';
import type { PictureHeader } from '../../../src/media/picture/format/picture-header.ts';
import { decodeSquare, dropAlpha } from '../../../src/media/picture/picture.ts';
import {
  bicubicAxis,
  resampleBicubic,
  resizeCutPixels,
} from '../../../src/media/picture/resample/resample.ts';

const side = 20;
/** A picture of 601 × 463 pixels at an eighth. */
const covered = { width: 75.125, height: 57.875 };
const decoded = { width: 76, height: 58 };

/** Noise with opacity, so that every mix-up of pixels shows; [h, w, 4] u8 in a BMP. */
function noise({ width, height }: { width: number; height: number }) {
  const bitmap = createBitmap(width, height);
  let state = 7;
  for (let at = 0; at < bitmap.pixels.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bitmap.pixels[at] = at % 4 === 3 ? 255 : state >>> 24;
  }
  return bitmap;
}

/** Where a pixel that is shown at x, y is stored, in a square: EXIF 2.3, tag 274. */
const last = side - 1;
const stored: Record<ExifOrientation, (x: number, y: number) => [number, number]> = {
  1: (x, y) => [x, y],
  2: (x, y) => [last - x, y],
  3: (x, y) => [last - x, last - y],
  4: (x, y) => [x, last - y],
  5: (x, y) => [y, x],
  6: (x, y) => [y, last - x],
  7: (x, y) => [last - y, last - x],
  8: (x, y) => [last - y, x],
};

describe('resizeCutPixels', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8] as const)(
    'equals the readable resampling to the byte, in orientation %d',
    async (orientation) => {
      const { bytes, pixels } = noise(decoded);
      // Shown at 26 × 20, or turned, at 20 × 26; cut off the middle in which more is left on one side.
      const isTurned = orientation >= 5;
      const crop = { long: 2, short: 0 };
      const geometry = isTurned
        ? { resizedWidth: side, resizedHeight: 26, cropLeft: crop.short, cropTop: crop.long }
        : { resizedWidth: 26, resizedHeight: side, cropLeft: crop.long, cropTop: crop.short };
      const target = new Uint8Array(side * side * 3);
      const png = await decodeBuiltin(bytes, { declaredPixels: decoded.width * decoded.height });
      resizeCutPixels(png, { covered, place: geometry, orientation }, target);

      // Mirrored, the part that is cut off on the left as shown is on the right as stored.
      const isMirrored = [2, 3, 7, 8].includes(orientation);
      const first = isMirrored ? 26 - crop.long - side : crop.long;
      const horizontal = bicubicAxis(covered.width, 26, first, side);
      const vertical = bicubicAxis(covered.height, side, 0, side);
      const window = new Uint8Array(
        (horizontal.sourceEnd - horizontal.sourceStart) * (vertical.sourceEnd - vertical.sourceStart) * 4,
      );
      for (let y = vertical.sourceStart, to = 0; y < vertical.sourceEnd; y++) {
        const from = y * decoded.width;
        const row = pixels.subarray((from + horizontal.sourceStart) * 4, (from + horizontal.sourceEnd) * 4);
        window.set(row, to);
        to += row.length;
      }
      const expected = new Uint8Array(side * side * 3);
      dropAlpha(resampleBicubic(window, { horizontal, vertical }), expected);
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++) {
          const [storedX, storedY] = stored[orientation](x, y);
          const at = (y * side + x) * 3;
          const from = (storedY * side + storedX) * 3;
          expect([...target.subarray(at, at + 3)]).toEqual([...expected.subarray(from, from + 3)]);
        }
      }
    },
  );
});

describe('a JPEG whose sides do not divide by eight', () => {
  /** Waves in all directions, 250 pixels long: taken for whole, cut pixels shift them by 1 to 7 of 255 in the mean. */
  async function bands(width: number, height: number): Promise<Uint8Array> {
    const { bytes, pixels } = createBitmap(width, height);
    for (let at = 0; at < width * height; at++) {
      const [x, y] = [at % width, Math.trunc(at / width)];
      const wave = (value: number) => 128 + 100 * Math.sin(value / 40);
      pixels.set([wave(x), wave(y), wave(x + y), 255], at * 4);
    }
    return await new Bun.Image(bytes).jpeg({ quality: 95 }).bytes();
  }

  const headerOf = (width: number, height: number): PictureHeader => ({
    format: 'jpeg',
    width,
    height,
    orientation: 1,
    alpha: false,
    rare: false,
    coefficientBytes: 0,
  });

  test.each([
    [2721, 2689],
    [2689, 2721],
    [1801, 1793],
    [1083, 1085],
  ])('%d × %d: has its pixels where they are when it is decoded whole', async (width, height) => {
    const bytes = await bands(width, height);
    const geometry = resizeAndCrop(width, height, 224);
    const target = new Uint8Array(224 * 224 * 3);
    await decodeSquare(bytes, { header: headerOf(width, height), place: geometry }, target);

    const png = await decodeBuiltin(bytes, { declaredPixels: width * height });
    const resized = await decodeBuiltin(png, {
      declaredPixels: width * height,
      resized: { width: geometry.resizedWidth, height: geometry.resizedHeight },
    });

    const whole = new Uint8Array(target.length);
    const square = { left: geometry.cropLeft, top: geometry.cropTop, width: 224, height: 224 };
    dropAlpha(readWindow(new StoredPng(resized), square), whole);
    const sum = target.reduce((total, value, at) => total + Math.abs(value - whole[at]!), 0);
    expect(sum / target.length).toBeLessThan(0.8);
  });
});
