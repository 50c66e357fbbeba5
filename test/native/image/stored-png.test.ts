import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBitmap, decodeBuiltin, readWindow, StoredPng } from '../../../native/image/builtin-decoder.ts';

/** Pseudo-random RGBA, so that a byte out of place shows. */
function noise(width: number, height: number): Uint8Array {
  let state = width * 65_537 + height;
  return Uint8Array.from({ length: width * height * 4 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 24;
  });
}

async function store(width: number, height: number, pixels: Uint8Array) {
  const bitmap = createBitmap(width, height);
  bitmap.pixels.set(pixels);
  return await decodeBuiltin(bitmap.bytes, { declaredPixels: width * height });
}

describe('StoredPng', () => {
  test.each([
    [1, 1],
    [3, 5],
    // Rows of 8,192 bytes meet the ends of IDAT chunks, rows of 65,535 those of stored blocks.
    [2048, 9],
    [16_383, 5],
    [20_000, 3],
    [7, 4000],
  ])('gives back every byte of %d × %d pixels', async (width, height) => {
    const pixels = noise(width, height);
    const png = await store(width, height, pixels);
    const stored = new StoredPng(png);
    expect([stored.width, stored.height]).toEqual([width, height]);
    expect(Buffer.compare(readWindow(stored, { left: 0, top: 0, width, height }), pixels)).toBe(0);
  });

  test('reads any window', async () => {
    const [width, height] = [300, 200];
    const pixels = noise(width, height);
    const png = await store(width, height, pixels);
    const side = (length: number) =>
      fc
        .tuple(fc.nat(length - 1), fc.nat(length - 1))
        .map(([a, b]) => [Math.min(a, b), Math.abs(a - b) + 1] as const);
    fc.assert(
      fc.property(side(width), side(height), ([left, w], [top, h]) => {
        const window = readWindow(new StoredPng(png), { left, top, width: w, height: h });
        for (let y = 0; y < h; y++) {
          const from = ((top + y) * width + left) * 4;
          const row = window.subarray(y * w * 4, (y + 1) * w * 4);
          expect(Buffer.compare(row, pixels.subarray(from, from + w * 4))).toBe(0);
        }
      }),
    );
  });

  test('skips an ICC profile before the pixels', async () => {
    // Bun.Image carries a JPEG's profile on into the PNG that it writes.
    const profile = new Uint8Array(200).fill(7);
    const jpeg = await new Bun.Image(createBitmap(8, 8).bytes).jpeg().bytes();
    const segment = Buffer.concat([
      Buffer.from([0xff, 0xe2, 0, 2 + 14 + profile.length]),
      Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'),
      profile,
    ]);
    const tagged = new Uint8Array(Buffer.concat([jpeg.subarray(0, 2), segment, jpeg.subarray(2)]));
    const png = await decodeBuiltin(tagged, { declaredPixels: 64 });
    expect(Buffer.from(png).includes('iCCP')).toBe(true);
    const pixels = readWindow(new StoredPng(png), { left: 0, top: 0, width: 8, height: 8 });
    expect(pixels.every((value, at) => value === (at % 4 === 3 ? 255 : 0))).toBe(true);
  });

  test('a row past the last is a bug', async () => {
    const png = await store(2, 2, noise(2, 2));
    const stored = new StoredPng(png);
    stored.skipRows(2);
    expect(() => stored.readRow(new Uint8Array(8))).toThrow('has no further row');
  });

  test('a compressed PNG is a bug', async () => {
    const bytes = await new Bun.Image(createBitmap(64, 64).bytes).png({ compressionLevel: 6 }).bytes();
    expect(() => readWindow(new StoredPng(bytes), { left: 0, top: 0, width: 64, height: 64 })).toThrow(
      'compressed a PNG at compression level 0',
    );
  });
});
