import { describe, expect, test } from 'bun:test';
import { readGifHeader } from '../../../src/media/picture/format/gif.ts';
import { concat, gif } from '../sample-pictures.ts';

const palette = [
  [1, 2, 3],
  [200, 100, 0],
] as const;
const still = gif(30, 20, { palette, index: (x) => x % 2 });
const animated = gif(30, 20, { palette, index: (x) => x % 2, frames: 3, transparent: 1 });

describe('readGifHeader', () => {
  test('reads the first frame', () => {
    expect(readGifHeader(still)).toEqual({
      format: 'gif',
      width: 30,
      height: 20,
      orientation: 1,
      alpha: false,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test('a frame smaller than the canvas is the picture', () => {
    const canvas = Uint8Array.from(still);
    canvas.set([0xff, 0xff, 0xff, 0xff], 6);
    expect(readGifHeader(canvas)).toMatchObject({ width: 30, height: 20 });
  });

  test('passes over comments, with blocks of any length', () => {
    const table = 13 + 128 * 3;
    const comment = concat([0x21, 0xfe, 255], new Uint8Array(255).fill(0x2c), [1, 65, 0]);
    const commented = concat(still.subarray(0, table), comment, still.subarray(table));
    expect(readGifHeader(commented)).toMatchObject({ width: 30, height: 20 });
  });

  test('is truncated wherever its only frame is not complete', () => {
    // Without the trailer every pixel is there.
    expect(readGifHeader(still.subarray(0, -1)).width).toBe(30);
    for (let length = 6; length < still.length - 1; length++) {
      expect(() => readGifHeader(still.subarray(0, length))).toThrow('The GIF picture is truncated: it has');
    }
  });

  test('is whole where a later frame is cut off', () => {
    expect(readGifHeader(animated.subarray(0, animated.length - 300)).width).toBe(30);
  });

  test.each([
    ['has no frame', concat('GIF89a', [5, 0, 5, 0, 0, 0, 0], [0x3b])],
    [
      'declares 0 × 5 pixels',
      concat('GIF89a', [5, 0, 5, 0, 0, 0, 0], [0x2c, 0, 0, 0, 0, 0, 0, 5, 0, 0, 2, 0]),
    ],
  ])('%s', (fault, bytes) => {
    expect(() => readGifHeader(bytes)).toThrow(`The GIF picture ${fault}.`);
  });
});
