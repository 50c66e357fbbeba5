import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBitmap, decodeBuiltin, readWindow, StoredPng } from '../../../native/image/builtin-decoder.ts';
import { bicubicAxis, resampleBicubic } from '../../../src/media/picture/resample/resample.ts';

/** Grey → [h, w, 4] u8. */
function rgba(grey: readonly number[]): Uint8Array {
  return Uint8Array.from(grey.flatMap((value) => [value, value, value, 255]));
}

function resizeGrey(
  grey: readonly number[],
  [width, height]: readonly [number, number],
  [resizedWidth, resizedHeight]: readonly [number, number],
): number[] {
  const horizontal = bicubicAxis(width, resizedWidth, 0, resizedWidth);
  const vertical = bicubicAxis(height, resizedHeight, 0, resizedHeight);
  return [...resampleBicubic(rgba(grey), { horizontal, vertical })].filter((_, at) => at % 4 === 0);
}

/** Pillow's test picture: two bright and two dark quarters. */
function quarters(width: number, height: number): number[] {
  return Array.from({ length: width * height }, (_, at) => {
    const left = at % width < Math.trunc(width / 2);
    const top = Math.trunc(at / width) < Math.trunc(height / 2);
    return left === top ? 0xe1 : 0x1e;
  });
}

function hex(text: string): number[] {
  return text
    .trim()
    .split(/\s+/)
    .map((pair) => Number.parseInt(pair, 16));
}

describe('resampleBicubic', () => {
  // Expected values: Pillow, Image.resize(…, BICUBIC).
  test('halves a picture as Pillow does', () => {
    expect(resizeGrey(quarters(12, 12), [12, 12], [6, 6])).toEqual(
      hex(`
        e1 e3 d4 2b 1c 1e
        e3 e5 d6 29 1a 1c
        d4 d6 c9 36 29 2b
        2b 29 36 c9 d6 d4
        1c 1a 29 d6 e5 e3
        1e 1c 2b d4 e3 e1
      `),
    );
  });

  test('doubles a picture as Pillow does', () => {
    expect(resizeGrey(quarters(4, 4), [4, 4], [8, 8])).toEqual(
      hex(`
        e1 e5 ee b9 46 11 1a 1e
        e5 e9 f3 bc 43 0c 16 1a
        ee f3 fd c1 3e 02 0c 11
        b9 bc c1 a2 5d 3e 43 46
        46 43 3e 5d a2 c1 bc b9
        11 0c 02 3e c1 fd f3 ee
        1a 16 0c 43 bc f3 e9 e5
        1e 1a 11 46 b9 ee e5 e1
      `),
    );
  });

  test('narrows and heightens at once as Pillow does', () => {
    expect(resizeGrey(quarters(5, 3), [5, 3], [3, 5])).toEqual(
      hex('f7 3e 08  9e 6f 61  18 b8 e7  0f bd f0  18 b8 e7'),
    );
  });

  test.each([
    [3, [113, 103, 142]],
    [7, [0, 255, 10, 200, 30, 90, 255]],
    [11, [0, 119, 250, 59, 62, 200, 90, 27, 80, 190, 255]],
  ])('a row of 7 becomes one of %d as in Pillow', (length, expected) => {
    expect(resizeGrey([0, 255, 10, 200, 30, 90, 255], [7, 1], [length, 1])).toEqual(expected);
  });

  test('a flat picture stays flat at any size', () => {
    const side = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(side, side, side, side, fc.nat(255), (w, h, resizedWidth, resizedHeight, value) => {
        const resized = resizeGrey(Array(w * h).fill(value), [w, h], [resizedWidth, resizedHeight]);
        expect(resized.every((pixel) => pixel === value)).toBe(true);
      }),
    );
  });

  test('a window equals that part of the whole', () => {
    const [width, height, resizedWidth, resizedHeight] = [50, 31, 23, 47];
    const grey = Array.from({ length: width * height }, (_, at) => (at * 37 + (at % 11) * 50) % 256);
    const whole = resizeGrey(grey, [width, height], [resizedWidth, resizedHeight]);
    const horizontal = bicubicAxis(width, resizedWidth, 9, 5);
    const vertical = bicubicAxis(height, resizedHeight, 30, 4);
    const needed: number[] = [];
    for (let y = vertical.sourceStart; y < vertical.sourceEnd; y++) {
      needed.push(...grey.slice(y * width + horizontal.sourceStart, y * width + horizontal.sourceEnd));
    }
    expect(needed.length).toBeLessThan(grey.length / 4);
    const window = [...resampleBicubic(rgba(needed), { horizontal, vertical })].filter(
      (_, at) => at % 4 === 0,
    );
    const expected = [30, 31, 32, 33].flatMap((y) =>
      whole.slice(y * resizedWidth + 9, y * resizedWidth + 14),
    );
    expect(window).toEqual(expected);
  });

  test('differs from the fast decoder’s resize by at most 2 of 255 in noise', async () => {
    let values = 0;
    let sum = 0;
    const side = fc.integer({ min: 1, max: 90 });
    await fc.assert(
      fc.asyncProperty(side, side, side, side, fc.nat(), async (width, height, rw, rh, seed) => {
        const { bytes, pixels } = createBitmap(width, height);
        let state = seed;
        for (let at = 0; at < pixels.length; at++) {
          state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
          pixels[at] = at % 4 === 3 ? 255 : state >>> 24;
        }
        const resized = { width: rw, height: rh };
        // The decoder's limit counts the picture between its two passes, too.
        const png = await decodeBuiltin(bytes, { declaredPixels: 90 * 90, resized });
        const fast = readWindow(new StoredPng(png), { left: 0, top: 0, ...resized });
        const readable = resampleBicubic(pixels, {
          horizontal: bicubicAxis(width, rw, 0, rw),
          vertical: bicubicAxis(height, rh, 0, rh),
        });
        const differences = fast.map((value, at) => Math.abs(value - readable[at]!));
        // Its weights have 16 bits, those here 32.
        expect(Math.max(...differences)).toBeLessThanOrEqual(2);
        values += differences.length;
        sum += differences.reduce((total, value) => total + value, 0);
      }),
      { numRuns: 200 },
    );
    expect(sum / values).toBeLessThan(0.05); // measured: 0.004
  });
});
