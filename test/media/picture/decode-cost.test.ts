import { describe, expect, test } from 'bun:test';
import type { Size } from '../../../native/geometry.ts';
import type { PictureHeader } from '../../../src/media/picture/format/picture-header.ts';
import { decodeCostBytes } from '../../../src/media/picture/picture.ts';

const MEBI = 1024 ** 2;
const resized = { width: 298, height: 224 };

function cost(more: Partial<PictureHeader>, target: Size | 'as it is' = resized): number {
  const header: PictureHeader = {
    format: 'jpeg',
    width: 4032,
    height: 3024,
    orientation: 1,
    alpha: false,
    rare: false,
    coefficientBytes: 0,
    ...more,
  };
  return decodeCostBytes(header, target === 'as it is' ? undefined : target) / MEBI;
}

const hundredMegapixels = { width: 11_547, height: 8660 };

describe('decodeCostBytes', () => {
  // Peaks of resident memory measured with such pictures, in MB; an estimate may be above them by half.
  test.each([
    ['a 12-megapixel PNG', { format: 'png' }, 47],
    ['a 100-megapixel PNG', { format: 'png', ...hundredMegapixels }, 393],
    [
      'a 100-megapixel PNG that lies on its side',
      { format: 'png', ...hundredMegapixels, orientation: 6 },
      768,
    ],
    ['a 25-megapixel PNG with transparency', { format: 'png', width: 5770, height: 4330, alpha: true }, 271],
    ['a 100-megapixel lossless WebP', { format: 'webp', ...hundredMegapixels }, 767],
    ['a 100-megapixel GIF', { format: 'gif', ...hundredMegapixels }, 483],
    ['a 78-megapixel TIFF', { format: 'tiff', width: 9800, height: 8000 }, 535],
    ['a 50-megapixel AVIF', { format: 'avif', width: 8160, height: 6120 }, 719],
    ['a 99-megapixel animated WebP', { format: 'webp', rare: true, width: 10_000, height: 9900 }, 1042],
    ['a 100-megapixel progressive JPEG', { coefficientBytes: 300e6, ...hundredMegapixels }, 300],
  ] as const)('covers what %s was seen to take', (_, header, measured) => {
    expect(cost(header)).toBeGreaterThan(measured * 0.95);
    expect(cost(header)).toBeLessThan(measured * 1.6);
  });

  test('even a large baseline JPEG costs little', () => {
    expect(cost({})).toBeLessThan(20);
    expect(cost(hundredMegapixels)).toBeLessThan(100);
  });

  test('a JPEG that is not resized costs its whole size', () => {
    expect(cost(hundredMegapixels, 'as it is')).toBeGreaterThan(1000);
  });

  test('the smallest picture costs something', () => {
    expect(cost({ format: 'png', width: 1, height: 1 })).toBeGreaterThan(0.1);
  });
});
