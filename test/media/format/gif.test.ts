import { describe, expect, test } from 'bun:test';
import { prepareGif, readGifHeader } from '../../../src/media/picture/format/gif.ts';
import { concat, gif, placed } from '../sample-pictures.ts';

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

  test.each([
    ['larger than the frame', [50, 40], [10, 5], [50, 40]],
    ['smaller than the frame, which enlarges it', [20, 40], [0, 0], [30, 40]],
    ['moved off by the frame', [30, 20], [7, 9], [37, 29]],
    ['empty', [0, 0], [0, 0], [30, 20]],
  ] as const)('the picture is the canvas: %s', (_, canvas, place, [width, height]) => {
    expect(readGifHeader(placed(still, canvas, place))).toMatchObject({ width, height });
  });

  test('passes over comments, with blocks of any length', () => {
    const table = 13 + 128 * 3;
    const comment = concat([0x21, 0xfe, 255], new Uint8Array(255).fill(0x2c), [1, 65, 0]);
    const commented = concat(still.subarray(0, table), comment, still.subarray(table));
    expect(readGifHeader(commented)).toMatchObject({ width: 30, height: 20 });
  });

  test('is truncated wherever its only frame lacks a pixel', async () => {
    const read = async (bytes: Uint8Array) => {
      expect(readGifHeader(bytes)).toMatchObject({ width: 30, height: 20 });
      return await prepareGif(bytes, { keepTransparency: false, signal: undefined });
    };
    // After the last pixel come the code of the end, an empty block and the trailer.
    for (let length = still.length - 3; length < still.length; length++) {
      const { bytes } = await read(still.subarray(0, length));
      expect(readGifHeader(bytes).unproven).toBeUndefined();
    }
    for (let length = 6; length < still.length - 3; length++) {
      await expect((async () => read(still.subarray(0, length)))()).rejects.toThrow(
        /^The GIF picture is truncated: (?:it has|600 pixels are declared, but only)/,
      );
    }
  });

  test('is truncated if zeros take the place of its end', async () => {
    const prepare = (length: number) =>
      prepareGif(concat(still.subarray(0, length), new Uint8Array(500)), {
        keepTransparency: false,
        signal: undefined,
      });
    expect((await prepare(still.length - 3)).isWhole).toBe(true);
    await expect(prepare(still.length / 2)).rejects.toThrow('600 pixels are declared, but only');
  });

  test('counts the pixels of joined codes', async () => {
    // Codes of 3 bits: 2 pixels, then one code that stands for both, and one for three of them.
    const codes = [4, 0, 1, 6, 8];
    const bits = codes.reduce((word, code, at) => word + code * 2 ** (at === 4 ? 12 : at * 3), 0);
    const start = concat(
      'GIF89a',
      [7, 0, 1, 0, 0, 0, 0],
      [0x2c, 0, 0, 0, 0, 7, 0, 1, 0, 0x80, 1, 1, 1, 2, 2, 2],
    );
    const cut = (width: number) => {
      const bytes = concat(start, [2, 200, bits & 0xff, (bits >> 8) & 0xff]);
      bytes[18] = width;
      return prepareGif(bytes, { keepTransparency: false, signal: undefined });
    };
    expect((await cut(7)).isWhole).toBe(true);
    await expect(cut(8)).rejects.toThrow('8 pixels are declared, but only 7 are there');
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
