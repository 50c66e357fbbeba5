import { describe, expect, test } from 'bun:test';
import type { Size } from '../../../native/geometry.ts';
import { readHeicHeader } from '../../../src/media/picture/format/heic.ts';
import type { PictureHeader } from '../../../src/media/picture/format/picture-header.ts';
import { decodeCostBytes } from '../../../src/media/picture/picture.ts';
import { planMemory } from '../../../src/memory-plan.ts';
import { codedItem, gridData, heif, sizeProperty } from '../sample-heifs.ts';

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

  const coded = (width: number, height: number) => ({
    width,
    height,
    configuration: Uint8Array.from({ length: 23 }, (_, at) => (at === 16 ? 1 : 0)),
    data: new Uint8Array(1),
  });

  test('covers what a HEIC of 48 megapixels was seen to take, and fits into the plan for 1 GiB', () => {
    const whole = cost(readHeicHeader(heif({ items: [codedItem(1, coded(8064, 6048))] })));
    expect(whole).toBeGreaterThan(128 * 0.95);
    expect(whole).toBeLessThan(128 * 1.6);
    const { maxDecodeBytes } = planMemory({ limitBytes: 1024 * MEBI, threads: 2, files: 10_000 });
    expect(whole * MEBI).toBeLessThan(maxDecodeBytes);
  });

  test('a HEIC of tiles costs a row of them', () => {
    const ids = Array.from({ length: 16 * 12 }, (_, index) => index + 2);
    const grid = heif({
      items: [
        { id: 1, type: 'grid', properties: [sizeProperty(8064, 6048)], data: gridData(16, 12, 8064, 6048) },
        ...ids.map((id) => codedItem(id, coded(512, 512))),
      ],
      references: [['dimg', 1, ids]],
    });
    expect(cost(readHeicHeader(grid))).toBeLessThan(40);
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
