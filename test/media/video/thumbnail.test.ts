import { describe, expect, test } from 'bun:test';
import {
  colourDifference,
  contentDifference,
  difference,
  makeThumbnail,
  thumbnailSize,
} from '../../../src/media/video/thumbnail.ts';
import { flat, striped } from './thumbnails.ts';

describe('thumbnailSize', () => {
  test('keeps the proportions, in whole cells of 2 pixels', () => {
    expect(thumbnailSize({ width: 1920, height: 1080 })).toEqual({ width: 64, height: 36 });
    expect(thumbnailSize({ width: 1080, height: 1920 })).toEqual({ width: 36, height: 64 });
    expect(thumbnailSize({ width: 320, height: 240 })).toEqual({ width: 64, height: 48 });
    expect(thumbnailSize({ width: 8000, height: 10 })).toEqual({ width: 64, height: 8 });
  });
});

describe('makeThumbnail', () => {
  test('averages cells', () => {
    // 4 × 2 pixels: the left cell white and black in columns, the right one grey.
    const pixels = Uint8Array.from({ length: 4 * 2 * 3 }, (_, at) => {
      const x = Math.floor(at / 3) % 4;
      return x < 2 ? (x % 2) * 200 : 60;
    });
    const thumbnail = makeThumbnail({ width: 4, height: 2, pixels });
    expect([...thumbnail.cells]).toEqual([100, 100, 100, 60, 60, 60]);
  });
});

describe('differences', () => {
  const [red, blue] = [striped([200, 40, 40]), striped([40, 40, 200])];

  test('are 0 between equal pictures', () => {
    for (const measure of [contentDifference, colourDifference, difference]) {
      expect(measure(red, red)).toBe(0);
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

  test('show what is small', () => {
    const pixels = new Uint8Array(64 * 64 * 3).fill(50);
    const before = makeThumbnail({ width: 64, height: 64, pixels });
    for (let y = 0; y < 4; y++) pixels.fill(200, y * 64 * 3, (y * 64 + 4) * 3);
    const after = makeThumbnail({ width: 64, height: 64, pixels });
    expect(contentDifference(before, after)).toBeCloseTo(150 / 256, 5);
    expect(difference(before, after)).toBe(150);
  });

  test('count more if the whole picture changes', () => {
    expect(difference(flat([100, 100, 100]), flat([110, 110, 110]))).toBe(40);
  });
});
