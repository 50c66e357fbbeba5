import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { jpegShrink } from '../../../src/media/picture/picture.ts';

describe('jpegShrink', () => {
  test.each([
    // [picture, resized, covered, decoded]
    ['a phone photo at an eighth', [4032, 3024], [298, 224], [504, 378], [504, 378]],
    ['one that was cropped, too', [4029, 3021], [298, 224], [503.625, 377.625], [504, 378]],
    ['a 6-megapixel photo at a quarter', [2816, 2112], [298, 224], [704, 528], [704, 528]],
    ['full HD at a half', [1920, 1080], [398, 224], [960, 540], [960, 540]],
    ['a small picture whole', [640, 480], [298, 224], [640, 480], [640, 480]],
    ['a picture smaller than the target whole', [50, 70], [224, 313], [50, 70], [50, 70]],
  ] as const)('decodes %s', (_, picture, resized, covered, decoded) => {
    const size = ([width, height]: readonly [number, number]) => ({ width, height });
    expect(jpegShrink(size(picture), size(resized))).toEqual({
      covered: size(covered),
      decoded: size(decoded),
    });
  });

  test('covers n eighths of the picture, 1.5 times the target or the whole picture', () => {
    const side = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(side, side, fc.constantFrom(224, 336), (width, height, resolution) => {
        const short = Math.min(width, height);
        const resized = {
          width: Math.trunc((width * resolution) / short),
          height: Math.trunc((height * resolution) / short),
        };
        const { covered, decoded } = jpegShrink({ width, height }, resized);
        const eighths = (covered.width * 8) / width;
        expect([1, 2, 4, 8]).toContain(eighths);
        expect(covered.height).toBe((height * eighths) / 8);
        expect(decoded).toEqual({ width: Math.ceil(covered.width), height: Math.ceil(covered.height) });
        if (eighths === 8) return;
        expect(covered.width).toBeGreaterThanOrEqual(resized.width * 1.5);
        expect(covered.height).toBeGreaterThanOrEqual(resized.height * 1.5);
      }),
      { numRuns: 3000 },
    );
  });
});
