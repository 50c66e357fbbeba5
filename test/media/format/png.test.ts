import { describe, expect, test } from 'bun:test';
import { deflateSync } from 'node:zlib';
import { provePng, readPngHeader } from '../../../src/media/picture/format/png.ts';
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
    expect(readPngHeader(bytes)).toMatchObject({ alpha: false, seeThrough: true });
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

  /** The picture as a decoder gets it. */
  const proven = async (bytes: Uint8Array) => {
    expect(readPngHeader(bytes).unproven).toBe(true);
    return await provePng(bytes);
  };
  const pixelsEnd = picture.length - 12 - 4;

  test('is whole wherever it ends after its last pixel', async () => {
    // The data have a checksum of 4 bytes at their end.
    for (let length = pixelsEnd - 4; length < picture.length; length++) {
      const cut = picture.subarray(0, length);
      expect(readPngHeader(await proven(cut)).width).toBe(13);
      expect(readPngHeader(cut)).toMatchObject({ width: 13, height: 9 });
    }
  });

  test('is truncated wherever it ends before its last pixel', async () => {
    for (let length = signature.length; length < pixelsEnd - 10; length++) {
      const read = async () => {
        const cut = picture.subarray(0, length);
        readPngHeader(cut);
        await provePng(cut);
      };
      await expect(read()).rejects.toThrow('The PNG picture is truncated: ');
    }
  });

  test('is truncated where one of several chunks of pixels is missing at the end', async () => {
    const rows = deflateSync(new Uint8Array(9 * (1 + 13 * 3)).map((_, at) => (at % 40 ? at * 7 : 0)));
    const [first, second] = [rows.subarray(0, 100), rows.subarray(100)];
    const start = concat(signature, header(13, 9), chunk('IDAT', first));
    expect((await proven(concat(start, chunk('IDAT', second)))).length).toBeGreaterThan(0);
    await expect(proven(start)).rejects.toThrow('is truncated: its pixels have');
  });

  test.each([
    ['grey of 1 bit', 1, 0, 1],
    ['RGB', 8, 2, 3],
    ['RGB of 16 bits', 16, 2, 3],
  ] as const)('counts the pixels of interlaced pictures: %s', async (_, bitDepth, colourType, samples) => {
    for (const [w, h] of [
      [1, 1],
      [5, 3],
      [13, 9],
    ] as const) {
      const whole = png(w, h, {
        bitDepth,
        colourType,
        interlaced: true,
        samples: () => Array(samples).fill(1),
      });
      expect(readPngHeader(await proven(whole.subarray(0, -12))).width).toBe(w);
    }
  });

  test('is whole where only the checksum of the chunk with the pixels, or of the end, is wrong', async () => {
    const wrong = Uint8Array.from(picture);
    wrong[pixelsEnd]! ^= 1;
    expect(await proven(wrong)).toBe(wrong);
    const end = Uint8Array.from(picture);
    end[end.length - 1]! ^= 1;
    expect(readPngHeader(end)).toMatchObject({ width: 13 });
  });

  test('is damaged where the pixels do not fit their own checksum either', async () => {
    for (let at = 45; at < pixelsEnd; at++) {
      const wrong = Uint8Array.from(picture);
      wrong[at]! ^= 1;
      await expect(proven(wrong)).rejects.toThrow(/^The PNG picture is (?:damaged|truncated): /);
    }
  });

  test('a suspect one has no more pixels than it declares', async () => {
    const rows = deflateSync(new Uint8Array(1000));
    const data = chunk('IDAT', rows);
    data[data.length - 1]! ^= 1;
    const bytes = concat(signature, header(5, 5), data, chunk('IEND'));
    await expect(proven(bytes)).rejects.toThrow('is damaged: it has more pixels than it declares');
  });

  test('is damaged where a chunk that makes the pixels has a wrong checksum', () => {
    const damaged = Uint8Array.from(picture);
    damaged[20]! ^= 1;
    expect(() => readPngHeader(damaged)).toThrow('is damaged: the checksum of its IHDR chunk is wrong');
    const coloured = png(2, 2, { colourType: 3, before: [chunk('PLTE', [9, 9, 9])], samples: () => [0] });
    coloured[42]! ^= 1;
    expect(() => readPngHeader(coloured)).toThrow('is damaged: the checksum of its PLTE chunk is wrong');
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
