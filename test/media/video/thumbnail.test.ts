import { describe, expect, test } from 'bun:test';
import {
  blockDifference,
  colourDifference,
  contentDifference,
  makeThumbnail,
  thumbnailSize,
} from '../../../src/media/video/thumbnail.ts';
import { flat, striped } from './thumbnails.ts';

describe('thumbnailSize', () => {
  test('keeps the proportions, in whole cells of 4 pixels', () => {
    expect(thumbnailSize({ width: 1920, height: 1080 })).toEqual({ width: 256, height: 144 });
    expect(thumbnailSize({ width: 1080, height: 1920 })).toEqual({ width: 144, height: 256 });
    expect(thumbnailSize({ width: 320, height: 240 })).toEqual({ width: 256, height: 192 });
    expect(thumbnailSize({ width: 8000, height: 10 })).toEqual({ width: 256, height: 16 });
  });
});

describe('makeThumbnail', () => {
  test('averages cells, and measures contrast and detail', () => {
    // 8 × 4 pixels: the left cell white and black in columns, the right one grey.
    const pixels = Uint8Array.from({ length: 8 * 4 * 3 }, (_, at) => {
      const x = Math.floor(at / 3) % 8;
      return x < 4 ? (x % 2) * 200 : 100;
    });
    const thumbnail = makeThumbnail({ width: 8, height: 4, pixels });
    expect([thumbnail.columns, thumbnail.rows]).toEqual([2, 1]);
    expect([...thumbnail.cells]).toEqual([100, 100, 100, 100, 100, 100]);
    expect(thumbnail.contrast).toBe(0);
    // Two of four rows are looked at: 3 × 200 and 1 × 100 in each, over 32 pixels.
    expect(thumbnail.detail).toBeCloseTo((2 * 700) / 32, 5);
    expect(makeThumbnail({ width: 8, height: 4, pixels: pixels.fill(7) })).toMatchObject({
      contrast: 0,
      detail: 0,
    });
  });
});

describe('differences', () => {
  const [red, blue] = [striped([200, 40, 40]), striped([40, 40, 200])];

  test('are 0 between equal pictures', () => {
    for (const difference of [contentDifference, colourDifference, blockDifference]) {
      expect(difference(red, red)).toBe(0);
    }
  });

  test('are the same for content and colours where a flat picture changes', () => {
    const [a, b] = [flat([100, 100, 100]), flat([130, 90, 100])];
    expect(contentDifference(a, b)).toBeCloseTo(40 / 3, 5);
    expect(colourDifference(a, b)).toBeCloseTo(40 / 3, 3);
  });

  test('of content show motion, of colours only new objects', () => {
    const moved = striped([200, 40, 40], 4);
    expect(contentDifference(red, moved)).toBeGreaterThan(20);
    expect(colourDifference(red, moved)).toBeLessThan(0.01);
    expect(colourDifference(red, blue)).toBeGreaterThan(50);
  });

  test('of blocks show small changes', () => {
    const pixels = new Uint8Array(64 * 64 * 3).fill(50);
    const before = makeThumbnail({ width: 64, height: 64, pixels });
    for (let y = 0; y < 16; y++) pixels.fill(200, y * 64 * 3, (y * 64 + 16) * 3);
    const after = makeThumbnail({ width: 64, height: 64, pixels });
    expect(blockDifference(before, after)).toBe(150);
    expect(contentDifference(before, after)).toBeCloseTo(150 / 16, 5);
  });
});
