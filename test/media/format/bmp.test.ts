import { describe, expect, test } from 'bun:test';
import { readBmpHeader } from '../../../src/media/picture/format/bmp.ts';
import { bmp, concat, uint32le } from '../sample-pictures.ts';

interface BmpFields {
  readonly width?: number;
  readonly height?: number;
  readonly bitsPerPixel?: number;
  readonly compression?: number;
  readonly dataBytes?: number;
}

/** A BMP with a 40-byte header and as many zeros for pixels. */
function windowsBmp(fields: BmpFields = {}): Uint8Array {
  const { width = 5, height = 3, bitsPerPixel = 24, compression = 0, dataBytes = 48 } = fields;
  return concat(
    'BM',
    uint32le(54 + dataBytes),
    uint32le(0),
    uint32le(54),
    uint32le(40),
    uint32le(width),
    uint32le(height),
    [1, 0, bitsPerPixel, 0],
    uint32le(compression),
    new Uint8Array(20),
    new Uint8Array(dataBytes),
  );
}

describe('readBmpHeader', () => {
  test('reads a plain one', () => {
    expect(readBmpHeader(windowsBmp())).toEqual({
      format: 'bmp',
      width: 5,
      height: 3,
      orientation: 1,
      alpha: false,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test('a negative height says that the top row comes first', () => {
    expect(readBmpHeader(windowsBmp({ height: -3 }))).toMatchObject({ width: 5, height: 3 });
  });

  test('only an alpha mask makes an opacity, not 32 bits', () => {
    expect(readBmpHeader(bmp(4, 4)).alpha).toBe(true);
    expect(readBmpHeader(windowsBmp({ bitsPerPixel: 32, dataBytes: 60 })).alpha).toBe(false);
  });

  test.each([
    ['a palette', { bitsPerPixel: 8, dataBytes: 24 }],
    ['one bit a pixel', { bitsPerPixel: 1, dataBytes: 12 }],
    ['16 bits', { bitsPerPixel: 16, dataBytes: 36 }],
    ['run lengths', { bitsPerPixel: 8, compression: 1, dataBytes: 4 }],
  ])('one with %s is of a rare kind', (_, fields) => {
    expect(readBmpHeader(windowsBmp(fields))).toMatchObject({ width: 5, height: 3, rare: true });
  });

  test('reads OS/2’s header', () => {
    const bytes = concat(
      'BM',
      uint32le(74),
      uint32le(0),
      uint32le(26),
      uint32le(12),
      [5, 0, 3, 0, 1, 0, 24, 0],
    );
    expect(readBmpHeader(concat(bytes, new Uint8Array(48)))).toMatchObject({
      width: 5,
      height: 3,
      rare: true,
    });
  });

  test('is truncated wherever it ends before its last row', () => {
    const whole = windowsBmp();
    for (let length = 10; length < whole.length; length++) {
      expect(() => readBmpHeader(whole.subarray(0, length))).toThrow('The BMP picture is truncated: it has');
    }
  });

  test.each([
    ['The BMP picture declares 0 × 3 pixels', { width: 0 }],
    ['The BMP picture declares -5 × 3 pixels', { width: -5 }],
    ['The BMP picture declares 5 × 0 pixels', { height: 0 }],
    ['The file is a BMP that wraps a JPEG or PNG', { compression: 4 }],
    ['The BMP picture is truncated', { width: 0x7fffffff, height: -0x80000000 }],
  ])('%s', (fault, fields) => {
    expect(() => readBmpHeader(windowsBmp(fields))).toThrow(fault);
  });
});
