import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { shrunkSize } from '../../../native/image/jpeg-shrink.ts';

describe('shrunkSize', () => {
  test.each([
    // [picture, resized, decoded]
    ['a phone photo at a quarter', [4032, 3024], [298, 224], [1008, 756]],
    ['a 50-megapixel photo at an eighth', [8160, 6120], [298, 224], [1020, 765]],
    ['full HD at a half', [1920, 1080], [398, 224], [960, 540]],
    ['a small picture whole', [640, 480], [298, 224], [640, 480]],
    ['a picture smaller than the target whole', [50, 70], [224, 313], [50, 70]],
    // 1501 / 8 leaves a fraction at every n: only the whole picture has its edges in place.
    ['a picture whose sides do not divide whole', [1501, 1003], [335, 224], [1501, 1003]],
    // 2001 covers 4002 of 4001: a fourteenth of a pixel of the target.
    ['a large picture, in which a pixel more is not seen', [4001, 3001], [298, 224], [2001, 1501]],
  ] as const)('decodes %s', (_, [width, height], resized, decoded) => {
    const size = shrunkSize({ width, height }, { width: resized[0], height: resized[1] });
    expect([size.width, size.height]).toEqual([...decoded]);
  });

  test('is n eighths of the picture, rounded up, 2.4 times the target or the whole picture', () => {
    const side = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(side, side, fc.constantFrom(224, 336), (width, height, resolution) => {
        const short = Math.min(width, height);
        const resized = {
          width: Math.trunc((width * resolution) / short),
          height: Math.trunc((height * resolution) / short),
        };
        const size = shrunkSize({ width, height }, resized);
        const eighths = [8, 4, 2, 1].find(
          (n) => size.width === Math.ceil((width * n) / 8) && size.height === Math.ceil((height * n) / 8),
        );
        expect(eighths).toBeDefined();
        if (eighths === 8) return;
        expect(size.width).toBeGreaterThanOrEqual(resized.width * 2.4);
        expect(size.height).toBeGreaterThanOrEqual(resized.height * 2.4);
        const excess = (shrunk: number, whole: number, target: number) =>
          (((shrunk * 8) / eighths! - whole) * target) / whole;
        const shift = Math.max(
          excess(size.width, width, resized.width),
          excess(size.height, height, resized.height),
        );
        // Either in place, or as large as memory allows.
        if (shift > 0.08) expect(width * height).toBeGreaterThan(16_000_000);
      }),
      { numRuns: 3000 },
    );
  });

  test('a large picture that does not divide stays below 16 megapixels', () => {
    const size = shrunkSize({ width: 9001, height: 7001 }, { width: 287, height: 224 });
    expect(size.width * size.height).toBeLessThan(16_000_000);
    expect(size.height).toBeGreaterThan(2.4 * 224);
  });
});
