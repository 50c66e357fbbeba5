import { describe, expect, test } from 'bun:test';
import {
  dropAlpha,
  isOpaque,
  premultiplyAlpha,
  unpremultiplyAlpha,
} from '../../../src/media/picture/picture.ts';

describe('premultiplyAlpha', () => {
  test('rounds every product of colour and opacity to the nearest', () => {
    const pixels = new Uint8Array(256 * 256 * 4);
    for (let colour = 0; colour < 256; colour++) {
      for (let alpha = 0; alpha < 256; alpha++) {
        pixels.set([colour, 255 - colour, colour, alpha], (colour * 256 + alpha) * 4);
      }
    }
    premultiplyAlpha(pixels);
    let wrong = 0;
    for (let colour = 0; colour < 256; colour++) {
      for (let alpha = 0; alpha < 256; alpha++) {
        const [red, green, blue, opacity] = pixels.subarray((colour * 256 + alpha) * 4);
        if (red !== Math.round((colour * alpha) / 255)) wrong++;
        if (green !== Math.round(((255 - colour) * alpha) / 255)) wrong++;
        if (blue !== red || opacity !== alpha) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });
});

describe('unpremultiplyAlpha', () => {
  // Pillow: CLIP8((255 * colour) / alpha) in whole numbers; opacities 0 and 255 are left alone.
  test.each([
    [
      [100, 50, 0, 128],
      [199, 99, 0, 128],
    ],
    [
      [7, 7, 7, 7],
      [255, 255, 255, 7],
    ],
    [
      [9, 0, 1, 3],
      [255, 0, 85, 3],
    ],
    [
      [10, 20, 30, 255],
      [10, 20, 30, 255],
    ],
    [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ],
  ])('%p becomes %p', (premultiplied, straight) => {
    const pixels = Uint8Array.from(premultiplied);
    unpremultiplyAlpha(pixels);
    expect([...pixels]).toEqual(straight);
  });
});

test('isOpaque looks at every pixel', () => {
  const pixels = new Uint8Array(400).fill(255);
  expect(isOpaque(pixels)).toBe(true);
  pixels[0] = 0;
  expect(isOpaque(pixels)).toBe(true);
  pixels[399] = 254;
  expect(isOpaque(pixels)).toBe(false);
});

test('dropAlpha keeps colours as they are, whatever their opacity', () => {
  const rgb = new Uint8Array(6);
  dropAlpha(Uint8Array.of(1, 2, 3, 0, 4, 5, 6, 255), rgb);
  expect([...rgb]).toEqual([1, 2, 3, 4, 5, 6]);
});
