import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { placePicture, resizeAndCrop } from '../../src/clip/preprocessing.ts';

/** An independent formulation: whole-number arithmetic only, no floating point anywhere. */
function byWholeNumbers(width: number, height: number, resolution: number) {
  const [w, h, s] = [BigInt(width), BigInt(height), BigInt(resolution)];
  const resizedWidth = width <= height ? s : (s * w) / h;
  const resizedHeight = width <= height ? (s * h) / w : s;
  // A half goes to the even neighbour: of n/2 with n odd, take the even one of (n-1)/2 and (n+1)/2.
  const halve = (n: bigint) => (n % 2n === 0n ? n / 2n : ((n + 1n) / 4n) * 2n);
  return {
    resizedWidth: Number(resizedWidth),
    resizedHeight: Number(resizedHeight),
    cropLeft: Number(halve(resizedWidth - s)),
    cropTop: Number(halve(resizedHeight - s)),
  };
}

describe('resizeAndCrop', () => {
  // From torchvision 0.14: (width, height) → (resized width, resized height, left, top).
  test.each([
    [224, 224, 224, 224, 0, 0],
    [640, 480, 298, 224, 37, 0],
    [480, 640, 224, 298, 0, 37],
    [333, 500, 224, 336, 0, 56],
    // 225 - 224 = 1: half a pixel goes to the even 0.
    [225, 224, 225, 224, 0, 0],
    // 227 - 224 = 3: one and a half goes to the even 2.
    [227, 224, 227, 224, 2, 0],
    [229, 224, 229, 224, 2, 0],
    [231, 224, 231, 224, 4, 0],
    [1, 1, 224, 224, 0, 0],
    [3, 400, 224, 29866, 0, 14821],
    [4032, 3024, 298, 224, 37, 0],
    [1, 16000, 224, 3584000, 0, 1791888],
  ])(
    '%d × %d becomes %d × %d, cut at %d, %d',
    (width, height, resizedWidth, resizedHeight, cropLeft, cropTop) => {
      expect(resizeAndCrop(width, height, 224)).toEqual({ resizedWidth, resizedHeight, cropLeft, cropTop });
    },
  );

  test('equals whole-number arithmetic for every size up to 700 × 700', () => {
    let differing = 0;
    for (let width = 1; width <= 700; width++) {
      for (let height = 1; height <= 700; height++) {
        const got = resizeAndCrop(width, height, 224);
        const expected = byWholeNumbers(width, height, 224);
        if (
          got.resizedWidth !== expected.resizedWidth ||
          got.resizedHeight !== expected.resizedHeight ||
          got.cropLeft !== expected.cropLeft ||
          got.cropTop !== expected.cropTop
        ) {
          differing++;
        }
      }
    }
    expect(differing).toBe(0);
  });

  test('equals whole-number arithmetic for any size and resolution', () => {
    const side = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(side, side, fc.constantFrom(224, 288, 336, 384, 448), (width, height, resolution) => {
        expect(resizeAndCrop(width, height, resolution)).toEqual(byWholeNumbers(width, height, resolution));
      }),
      { numRuns: 2000 },
    );
  });

  test('the cut square always lies within the resized picture', () => {
    const side = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(side, side, (width, height) => {
        const { resizedWidth, resizedHeight, cropLeft, cropTop } = resizeAndCrop(width, height, 224);
        expect(Math.min(resizedWidth, resizedHeight)).toBe(224);
        expect(cropLeft).toBeGreaterThanOrEqual(0);
        expect(cropTop).toBeGreaterThanOrEqual(0);
        expect(cropLeft + 224).toBeLessThanOrEqual(resizedWidth);
        expect(cropTop + 224).toBeLessThanOrEqual(resizedHeight);
      }),
    );
  });
});

describe('placePicture', () => {
  test('crops as the reference does', () => {
    expect(placePicture(640, 480, 224, 'crop')).toEqual(resizeAndCrop(640, 480, 224));
    expect(placePicture(640, 480, 224)).toEqual(resizeAndCrop(640, 480, 224));
  });

  const none = { cropLeft: 0, cropTop: 0 };
  test.each([
    [640, 480],
    [480, 640],
    [1, 1_000_000],
  ])('whole: %d × %d becomes the square', (width, height) => {
    expect(placePicture(width, height, 224, 'whole')).toEqual({
      resizedWidth: 224,
      resizedHeight: 224,
      ...none,
    });
  });

  test.each([
    ['a square', 640, 640, 224, 224, undefined],
    ['almost a square', 704, 640, 224, 224, undefined],
    ['4 : 3', 640, 480, 298, 224, 2],
    ['3 : 2', 6000, 4000, 336, 224, 2],
    ['upright', 4000, 6000, 224, 336, 2],
    ['16 : 9', 1920, 1080, 398, 224, 2],
    ['2 : 1', 1000, 500, 448, 224, 2],
    ['a panorama', 1010, 500, 452, 224, 3],
    ['8 : 1', 800, 100, 1792, 224, 8],
    ['a longer one, squeezed', 10_000, 100, 1792, 224, 8],
    ['1 : 20,000', 1, 20_000, 224, 1792, 8],
  ])(
    'tiles: %s, %d × %d, becomes %d × %d in %p tiles',
    (_, width, height, resizedWidth, resizedHeight, tiles) => {
      expect(placePicture(width, height, 224, 'tiles')).toEqual({
        resizedWidth,
        resizedHeight,
        ...none,
        ...(tiles !== undefined && { tiles }),
      });
    },
  );

  test('tiles: as few as leave nothing out, and never too many', () => {
    const side = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(side, side, (width, height) => {
        const { resizedWidth, resizedHeight, tiles = 1 } = placePicture(width, height, 224, 'tiles');
        const longer = Math.max(resizedWidth, resizedHeight);
        expect(Math.min(resizedWidth, resizedHeight)).toBe(224);
        expect(tiles).toBeWithin(1, 9);
        expect(tiles * 224).toBeGreaterThanOrEqual(longer);
        expect((tiles - 1) * 224).toBeLessThan(longer);
      }),
    );
  });
});
