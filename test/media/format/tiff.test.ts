import { describe, expect, test } from 'bun:test';
import { readTiffHeader } from '../../../src/media/picture/format/tiff.ts';
import { concat, cutOut, tiff } from '../sample-pictures.ts';

/** [tag, type, values]; types: 1 byte, 3 short, 4 long. */
type Tag = readonly [tag: number, type: 1 | 3 | 4 | 16, values: readonly number[]];

const bytesByType = { 1: 1, 3: 2, 4: 4, 16: 8 } as const;

/** A TIFF that is nothing but its first directory, classic or big, and `dataBytes` of pixels from offset 16 on. */
function directory(tags: readonly Tag[], { little = true, big = false, dataBytes = 64 } = {}): Uint8Array {
  const bytes = Buffer.alloc(16 + dataBytes + 4096);
  const write = (at: number, value: number, size: number) => {
    if (size === 8) {
      if (little) bytes.writeBigUInt64LE(BigInt(value), at);
      else bytes.writeBigUInt64BE(BigInt(value), at);
    } else if (little) bytes.writeUIntLE(value, at, size);
    else bytes.writeUIntBE(value, at, size);
  };
  bytes.write(little ? 'II' : 'MM', 'latin1');
  write(2, big ? 43 : 42, 2);
  const start = 16 + dataBytes;
  if (big) {
    write(4, 8, 2);
    write(8, start, 8);
  } else write(4, start, 4);
  write(start, tags.length, big ? 8 : 2);
  let entry = start + (big ? 8 : 2);
  let values = start + 1024;
  for (const [tag, type, list] of tags) {
    write(entry, tag, 2);
    write(entry + 2, type, 2);
    write(entry + 4, list.length, big ? 8 : 4);
    const inline = entry + (big ? 12 : 8);
    const size = bytesByType[type];
    const fits = list.length * size <= (big ? 8 : 4);
    if (!fits) write(inline, values, big ? 8 : 4);
    for (const [index, value] of list.entries()) write((fits ? inline : values) + index * size, value, size);
    if (!fits) values += list.length * size;
    entry += big ? 20 : 12;
  }
  return new Uint8Array(bytes);
}

const rgb: readonly Tag[] = [
  [256, 3, [4]],
  [257, 3, [3]],
  [258, 3, [8, 8, 8]],
  [262, 3, [2]],
  [273, 4, [16]],
  [277, 3, [3]],
  [279, 4, [36]],
];

function changed(...tags: readonly Tag[]): readonly Tag[] {
  const replaced = new Set(tags.map(([tag]) => tag));
  return [...rgb.filter(([tag]) => !replaced.has(tag)), ...tags];
}

describe('readTiffHeader', () => {
  test.each([
    ['classic, little-endian', { little: true, big: false }],
    ['classic, big-endian', { little: false, big: false }],
    ['big, little-endian', { little: true, big: true }],
    ['big, big-endian', { little: false, big: true }],
  ])('reads a %s one', (_, layout) => {
    expect(readTiffHeader(directory(rgb, layout))).toEqual({
      format: 'tiff',
      width: 4,
      height: 3,
      orientation: 1,
      alpha: false,
      rare: false,
      grey: false,
      coefficientBytes: 0,
    });
  });

  test('reads what an encoder made', async () => {
    expect(readTiffHeader(await tiff(61, 47, cutOut))).toMatchObject({ width: 61, height: 47, grey: false });
  });

  test('reads orientation, opacity and greyness', () => {
    expect(readTiffHeader(directory(changed([274, 3, [6]]))).orientation).toBe(6);
    expect(readTiffHeader(directory(changed([338, 3, [2]]))).alpha).toBe(true);
    expect(readTiffHeader(directory(changed([338, 3, [0]]))).alpha).toBe(false);
    expect(readTiffHeader(directory(changed([262, 3, [0]]))).grey).toBe(true);
    expect(readTiffHeader(directory(changed([262, 3, [1]]))).grey).toBe(true);
  });

  test.each([
    ['the version of a DNG', changed([50706, 1, [1, 4, 0, 0]])],
    ['a colour filter array', changed([262, 3, [32803]])],
    ['a thumbnail before the picture', changed([254, 4, [1]], [330, 4, [16]])],
  ])('%s makes it a camera’s raw picture', (_, tags) => {
    expect(() => readTiffHeader(directory(tags))).toThrow('The file is a camera’s raw picture;');
  });

  test('is truncated where a strip or tile, or the directory, lies beyond the end', () => {
    for (const tags of [
      changed([279, 4, [100_000]]),
      changed([273, 4, [16, 100_000]], [279, 4, [10, 10]]),
      changed([324, 4, [16, 90_000]], [325, 4, [10, 10]]),
    ]) {
      expect(() => readTiffHeader(directory(tags))).toThrow('The TIFF picture is truncated: it has');
    }
    for (const big of [false, true]) {
      const whole = directory(rgb, { big });
      for (let length = 4; length < 80 + 7 * 12; length++) {
        expect(() => readTiffHeader(whole.subarray(0, length))).toThrow('is truncated');
      }
    }
  });

  test.each([
    ['declares 0 × 3 pixels', changed([256, 3, [0]])],
    ['declares 4 × 0 pixels', rgb.filter(([tag]) => tag !== 257)],
  ])('%s', (fault, tags) => {
    expect(() => readTiffHeader(directory(tags))).toThrow(`The TIFF picture ${fault}.`);
  });

  test('one that takes more memory than its decoder allows is too large', () => {
    expect(() => readTiffHeader(directory(changed([256, 4, [12_000]], [257, 4, [8000]])))).toThrow(
      'The picture has 12000 × 8000 pixels, 96000000 in total; a TIFF of 24 bits per pixel may have at most 89478485.',
    );
  });

  test('a list of values longer than any picture’s is refused before it is read', () => {
    const bytes = directory(rgb);
    const view = new DataView(bytes.buffer);
    view.setUint32(80 + 2 + 2 * 12 + 4, 0xffff_ffff, true); // the count of bits per sample
    expect(() => readTiffHeader(bytes)).toThrow('has a tag 258 of 4294967295 values');
  });

  test('a directory at an absurd place is cut off', () => {
    expect(() => readTiffHeader(concat('II*\0', [0xff, 0xff, 0xff, 0xff]))).toThrow('is truncated');
    const far = concat('II+\0', [8, 0, 0, 0], new Uint8Array(8).fill(0xff), new Uint8Array(100));
    expect(() => readTiffHeader(far)).toThrow('is truncated');
  });
});
