import { describe, expect, test } from 'bun:test';
import { deflateSync } from 'node:zlib';
import { readPngHeader } from '../../../src/media/picture/format/png.ts';
import { chunk, concat, exif, png, rgbPng, uint32be } from '../sample-pictures.ts';

const picture = rgbPng(13, 9);
const signature = '\x89PNG\r\n\x1a\n';

function header(width: number, height: number, bitDepth = 8, colourType = 2): Uint8Array {
  return chunk('IHDR', [...uint32be(width), ...uint32be(height), bitDepth, colourType, 0, 0, 0]);
}

describe('readPngHeader', () => {
  test('reads size and colour type', () => {
    expect(readPngHeader(picture)).toEqual({
      format: 'png',
      width: 13,
      height: 9,
      orientation: 1,
      alpha: false,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test.each([
    [0, 1, false],
    [2, 3, false],
    [3, 1, false],
    [4, 2, true],
    [6, 4, true],
  ] as const)('colour type %d has an opacity: %p samples, %p', (colourType, samples, alpha) => {
    const before = colourType === 3 ? [chunk('PLTE', [0, 0, 0])] : [];
    const bytes = png(2, 2, { colourType, before, samples: () => Array(samples).fill(0) });
    expect(readPngHeader(bytes).alpha).toBe(alpha);
  });

  test('a transparent colour is no opacity: the reference drops it', () => {
    const bytes = png(2, 2, { before: [chunk('tRNS', [0, 1, 0, 1, 0, 1])], samples: () => [1, 1, 1] });
    expect(readPngHeader(bytes).alpha).toBe(false);
  });

  test('reads the orientation from its EXIF chunk, before or after the pixels', () => {
    const before = png(2, 3, { before: [chunk('eXIf', exif(6))], samples: () => [1, 2, 3] });
    expect(readPngHeader(before).orientation).toBe(6);
    const after = concat(picture.subarray(0, -12), chunk('eXIf', exif(8, false)), chunk('IEND'));
    expect(readPngHeader(after).orientation).toBe(8);
  });

  test('what follows the end is not looked at', () => {
    expect(readPngHeader(concat(picture, 'appended')).width).toBe(13);
  });

  test('is truncated wherever it ends before its last chunk does', () => {
    for (let length = signature.length; length < picture.length; length++) {
      expect(() => readPngHeader(picture.subarray(0, length))).toThrow(
        'The PNG picture is truncated: it has',
      );
    }
  });

  test('is damaged where a chunk that makes the pixels has a wrong checksum', () => {
    for (const [type, at] of [
      ['IHDR', 20],
      ['IDAT', 45],
    ] as const) {
      const damaged = Uint8Array.from(picture);
      damaged[at]! ^= 1;
      expect(() => readPngHeader(damaged)).toThrow(`is damaged: the checksum of its ${type} chunk is wrong`);
    }
  });

  test('a damaged name of a chunk does not come into the sentence', () => {
    const damaged = concat(picture.subarray(0, -12), chunk('G\r\n\x1a'), chunk('IEND'));
    const checksum = damaged.length - 12 - 4;
    damaged[checksum]! ^= 1;
    expect(() => readPngHeader(damaged)).toThrow(
      'is damaged: the checksum of a chunk whose name is damaged is wrong',
    );
  });

  test('a wrong checksum of a text does not matter', () => {
    const text = chunk('tEXt', concat('Comment\0hello'));
    text[10]! ^= 1;
    const bytes = png(2, 2, { before: [text], samples: () => [1, 2, 3] });
    expect(readPngHeader(bytes).width).toBe(2);
  });

  test('is truncated where its data cannot hold its pixels', () => {
    const data = deflateSync(new Uint8Array(1000));
    const bytes = concat(signature, header(10_000, 10_000), chunk('IDAT', data), chunk('IEND'));
    expect(() => readPngHeader(bytes)).toThrow(
      `is truncated: 10000 × 10000 pixels are declared, but only ${data.length} bytes hold pixels`,
    );
  });

  test('a flat picture, deflated as far as it goes, is whole', () => {
    const data = deflateSync(new Uint8Array(2000 * (1 + 2000 * 3)), { level: 9 });
    const bytes = concat(signature, header(2000, 2000), chunk('IDAT', data), chunk('IEND'));
    expect(readPngHeader(bytes).width).toBe(2000);
  });

  test.each([
    ['does not begin with its header', concat(signature, chunk('IDAT'), chunk('IEND'))],
    ['declares 0 × 5 pixels', concat(signature, header(0, 5), chunk('IEND'))],
    ['declares colour type 5, which does not exist', concat(signature, header(5, 5, 8, 5), chunk('IEND'))],
  ])('%s', (fault, bytes) => {
    expect(() => readPngHeader(bytes)).toThrow(`The PNG picture ${fault}.`);
  });
});
