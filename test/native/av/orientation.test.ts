import { describe, expect, test } from 'bun:test';
import { orientationFilters, orientationOf, upright } from '../../../native/av/orientation.ts';

/** A display matrix of which only the part that turns and mirrors is given, in units of 1/65536. */
function matrix(a: number, b: number, c: number, d: number): Uint8Array {
  const one = 65_536;
  return new Uint8Array(new Int32Array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]).buffer);
}

describe('orientationOf', () => {
  test('reads quarter turns', () => {
    expect(orientationOf(matrix(1, 0, 0, 1))).toEqual(upright);
    expect(orientationOf(matrix(0, 1, -1, 0))).toEqual({ mirrored: false, turns: 1 });
    expect(orientationOf(matrix(-1, 0, 0, -1))).toEqual({ mirrored: false, turns: 2 });
    expect(orientationOf(matrix(0, -1, 1, 0))).toEqual({ mirrored: false, turns: 3 });
  });

  test('reads mirrored pictures, which are mirrored before they are turned', () => {
    expect(orientationOf(matrix(-1, 0, 0, 1))).toEqual({ mirrored: true, turns: 0 });
    expect(orientationOf(matrix(1, 0, 0, -1))).toEqual({ mirrored: true, turns: 2 });
    expect(orientationFilters({ mirrored: true, turns: 2 })).toEqual(['hflip', 'hflip', 'vflip']);
  });

  test('goes to the nearest quarter turn', () => {
    const [cosine, sine] = [Math.cos(1.3), Math.sin(1.3)];
    expect(orientationOf(matrix(cosine, sine, -sine, cosine))).toEqual({ mirrored: false, turns: 1 });
  });

  test('leaves pictures upright if the matrix does not turn', () => {
    expect(orientationOf(matrix(0, 0, 0, 0))).toEqual(upright);
    expect(orientationOf(new Uint8Array(8))).toEqual(upright);
  });
});
