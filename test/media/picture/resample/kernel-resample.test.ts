import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  type BicubicAxis,
  bicubicAxis,
  createKernelResample,
  loadKernel,
  type ResampleSquare,
  resamplePlainly,
  type TargetLayout,
} from '../../../../src/media/picture/resample/resample.ts';

const kernel = await loadKernel();

/** Noise and hard edges, which overshoot; [h, w, 4] u8. */
function paint(width: number, height: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: width * height * 4 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 31 === 0 ? state >>> 23 : (state >>> 30) * 255;
  });
}

interface Picture {
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly horizontal: BicubicAxis;
  readonly vertical: BicubicAxis;
  readonly side: number;
}

function resample(by: ResampleSquare, picture: Picture, place: TargetLayout): Uint8Array {
  const { pixels, width, horizontal, vertical, side } = picture;
  const target = new Uint8Array(side * side * 3);
  let y = vertical.sourceStart;
  const readRow = (row: Uint8Array) => {
    const from = (y++ * width + horizontal.sourceStart) * 4;
    row.set(pixels.subarray(from, from + row.length));
  };
  by(readRow, { horizontal, vertical }, target, place);
  expect(y).toBe(vertical.sourceEnd);
  return target;
}

/** Rows from the left or the right, from the top or the bottom, and columns likewise. */
function placesOf(side: number): TargetLayout[] {
  const last = side - 1;
  return [
    [3, side * 3],
    [side * 3, 3],
  ].flatMap(([across = 0, down = 0]) =>
    [1, -1].flatMap((sideways) =>
      [1, -1].map((upright) => ({
        origin: (sideways < 0 ? across * last : 0) + (upright < 0 ? down * last : 0),
        right: across * sideways,
        down: down * upright,
      })),
    ),
  );
}

describe('resampling with the kernel', () => {
  test.skipIf(!kernel)(
    'gives the same bytes as plain resampling, for any sizes, one picture after another',
    () => {
      const withKernel = createKernelResample(kernel!);
      const eighths = fc.integer({ min: 8, max: 8 * 150 });
      fc.assert(
        fc.property(eighths, eighths, fc.integer({ min: 1, max: 41 }), fc.nat(), (w, h, side, seed) => {
          const [width, height] = [Math.ceil(w / 8), Math.ceil(h / 8)];
          const resized = (length: number) => Math.max(side, Math.trunc((length * side) / Math.min(w, h)));
          const axis = (length: number) =>
            bicubicAxis(length / 8, resized(length), seed % (resized(length) - side + 1), side);
          const pixels = paint(width, height, seed);
          const picture = { pixels, width, horizontal: axis(w), vertical: axis(h), side };
          for (const place of placesOf(side)) {
            const [fast, plain] = [withKernel, resamplePlainly].map((by) => resample(by, picture, place));
            expect(Buffer.compare(fast!, plain!)).toBe(0);
          }
        }),
        { numRuns: 60 },
      );
    },
  );

  test('plain resampling puts pixels at their places', () => {
    const axis = bicubicAxis(2, 2, 0, 2);
    const pixels = Uint8Array.from([1, 2, 3, 4].flatMap((value) => [value, value, value, 255]));
    const picture = { pixels, width: 2, horizontal: axis, vertical: axis, side: 2 };
    const greys = placesOf(2).map((place) =>
      [...resample(resamplePlainly, picture, place)].filter((_, at) => at % 3 === 0).join(''),
    );
    expect(greys).toEqual(['1234', '3412', '2143', '4321', '1324', '3142', '2413', '4231']);
  });
});
