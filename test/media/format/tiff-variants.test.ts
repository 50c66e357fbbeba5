import { describe, expect, test } from 'bun:test';
import { bitmapSize } from '../../../native/image/builtin-decoder.ts';
import { isRawTiff } from '../../../src/media/picture/format/raw.ts';
import { decodeTiff, readTiffHeader } from '../../../src/media/picture/format/tiff.ts';
import { type TiffVariant, tiffOf } from '../sample-tiffs.ts';

const width = 21;
const height = 13;

type Pixel = readonly number[];

/** What pixels there are: the stored samples, and the RGBA that they mean. */
interface Picture extends Pick<TiffVariant, 'photometric' | 'bits' | 'samples' | 'extraSamples' | 'tags'> {
  readonly rgba: (x: number, y: number) => Pixel;
}

/** Values of 8 bits. */
const colour = (x: number, y: number): Pixel => [
  (x * 11 + y) & 255,
  (y * 19 + x * x) & 255,
  (x * y * 3 + 7) & 255,
];
const opacity = (x: number, y: number): number => (x < 4 ? 0 : x > 15 ? 255 : (x * 16 + y) & 255);
/** A channel that means nothing. */
const other = (x: number, y: number): number => (x * 37 + y * 91) & 255;

/** An 8-bit value as a sample. Of 16 bits, the lower 8 differ. */
const widen = (value: number, bits: number): number => (bits === 16 ? value * 256 + (value ^ 0x5a) : value);
const premultiply = (value: number, alpha: number): number => Math.round((value * alpha) / 255);
const unpremultiply = (value: number, alpha: number): number =>
  alpha === 0 || alpha === 255 ? value : Math.min(255, Math.trunc((value * 255) / alpha));

function makePicture(
  kind: 'grey' | 'inverted grey' | 'rgb' | 'cmyk' | 'ycbcr',
  bits: 8 | 16,
  extra: readonly number[],
): Picture {
  const kinds = {
    grey: { photometric: 1, channels: (x: number, y: number) => colour(x, y).slice(0, 1) },
    'inverted grey': { photometric: 0, channels: (x: number, y: number) => colour(x, y).slice(0, 1) },
    rgb: { photometric: 2, channels: colour },
    cmyk: { photometric: 5, channels: (x: number, y: number) => [...colour(x, y), (x * 9) & 255] },
    ycbcr: { photometric: 6, channels: colour },
  };
  const { photometric, channels } = kinds[kind];
  const isPremultiplied = extra.includes(1);
  const stored = (x: number, y: number) =>
    channels(x, y).map((value) => (isPremultiplied ? premultiply(value, opacity(x, y)) : value));
  const opaque = (x: number, y: number): Pixel => {
    const [a = 0, b = 0, c = 0, black = 0] = stored(x, y);
    if (kind === 'grey') return [a, a, a];
    if (kind === 'inverted grey') return [255 - a, 255 - a, 255 - a];
    if (kind === 'rgb') return [a, b, c];
    if (kind === 'cmyk') {
      const light = 255 - black;
      return [a, b, c].map((ink) => light - Math.round((ink * light) / 255));
    }
    const [blue, red] = [b - 128, c - 128];
    return [a + 1.402 * red, a - 0.344136 * blue - 0.714136 * red, a + 1.772 * blue].map((value) =>
      Math.max(0, Math.min(255, Math.round(value))),
    );
  };
  return {
    photometric,
    bits,
    extraSamples: extra,
    samples: (x, y) => [
      ...stored(x, y).map((value) => widen(value, bits)),
      ...extra.map((meaning) => widen(meaning === 0 ? other(x, y) : opacity(x, y), bits)),
    ],
    rgba(x, y) {
      const alpha = extra.some((meaning) => meaning !== 0) ? opacity(x, y) : 255;
      return [...opaque(x, y).map((value) => (isPremultiplied ? unpremultiply(value, alpha) : value)), alpha];
    },
    ...(kind === 'ycbcr' && { tags: [[530, 3, [1, 1]] as const] }),
  };
}

/** Shades of fewer bits. */
function shades(bits: number, photometric: 0 | 1): Picture {
  const mask = 2 ** bits - 1;
  const samples = (x: number, y: number) => [(x * 5 + y * 3) & mask];
  return {
    photometric,
    bits,
    samples,
    rgba(x, y) {
      const value = bits > 8 ? samples(x, y)[0]! >> (bits - 8) : Math.round((samples(x, y)[0]! * 255) / mask);
      const shade = photometric === 0 ? 255 - value : value;
      return [shade, shade, shade, 255];
    },
  };
}

function palette(bits: number): Picture {
  const size = 2 ** bits;
  const map = Array.from({ length: 3 * size }, (_, at) => ((at * 5077 + 300) & 0xff) * 256 + (at & 0xff));
  const samples = (x: number, y: number) => [(x * 7 + y * 3) % size];
  return {
    photometric: 3,
    bits,
    samples,
    rgba(x, y) {
      const index = samples(x, y)[0]!;
      return [...[0, 1, 2].map((channel) => map[channel * size + index]! >> 8), 255];
    },
    tags: [[320, 3, map]],
  };
}

async function expectPixels(bytes: Uint8Array, rgba: Picture['rgba'], tolerance = 0): Promise<void> {
  expect(isRawTiff(bytes)).toBe(false);
  expect(readTiffHeader(bytes)).toMatchObject({ width, height });
  const bitmap = await decodeTiff(bytes);
  expect(bitmapSize(bitmap)).toEqual({ width, height });
  const pixels = bitmap.subarray(bitmap.length - width * height * 4);
  const expected = Array.from({ length: width * height }, (_, at) =>
    rgba(at % width, Math.trunc(at / width)),
  ).flat();
  const worst = expected.reduce((most, value, at) => Math.max(most, Math.abs(value - pixels[at]!)), 0);
  expect(worst).toBeLessThanOrEqual(tolerance);
}

const layouts = {
  'in strips': {},
  'in tiles': { tile: [16, 16] as const },
  'in tiles larger than the picture': { tile: [32, 48] as const },
};
const compressions = [
  { compression: 'none' },
  { compression: 'lzw' },
  { compression: 'lzw', hasDifferences: true },
  { compression: 'deflate' },
  { compression: 'deflate', hasDifferences: true },
  { compression: 'packbits' },
] as const;

describe('decodeTiff reads exactly', () => {
  for (const kind of ['grey', 'inverted grey', 'rgb', 'cmyk'] as const) {
    for (const bits of [8, 16] as const) {
      for (const extra of [[], [0], [1], [2]]) {
        // Nobody writes these, and what they mean is not agreed on.
        if (extra[0] === 1 && kind !== 'grey' && kind !== 'rgb') continue;
        const meaning = ['an extra sample', 'multiplied opacity', 'opacity'][extra[0] ?? 3] ?? 'no more';
        test(`${kind} of ${bits} bits and ${meaning}, in 48 or 96 variants`, async () => {
          const picture = makePicture(kind, bits, extra);
          for (const layout of [layouts['in strips'], layouts['in tiles']]) {
            for (const compression of compressions) {
              for (const isLittleEndian of [true, false]) {
                for (const isPlanar of picture.samples(0, 0).length > 1 ? [false, true] : [false]) {
                  const variant = { ...picture, ...layout, ...compression, isLittleEndian, isPlanar };
                  await expectPixels(tiffOf({ ...variant, width, height }), picture.rgba);
                }
              }
            }
          }
        });
      }
    }
  }

  test.each([1, 2, 3, 4, 6, 10, 12])('grey of %d bits', async (bits) => {
    for (const photometric of [0, 1] as const) {
      for (const layout of Object.values(layouts)) {
        for (const isReversed of [false, true]) {
          const picture = shades(bits, photometric);
          await expectPixels(tiffOf({ ...picture, ...layout, isReversed, width, height }), picture.rgba);
        }
      }
    }
  });

  test.each([1, 2, 4, 8])('a palette of %d bits', async (bits) => {
    for (const layout of Object.values(layouts)) {
      for (const compression of ['none', 'lzw', 'packbits'] as const) {
        const picture = palette(bits);
        await expectPixels(tiffOf({ ...picture, ...layout, compression, width, height }), picture.rgba);
      }
    }
  });

  test('a palette of values of 8 bits, as some programs write it', async () => {
    const picture = palette(4);
    const map = Array.from({ length: 48 }, (_, at) => at * 5);
    const rgba = (x: number, y: number): Pixel => {
      const index = picture.samples(x, y)[0]!;
      return [map[index]!, map[16 + index]!, map[32 + index]!, 255];
    };
    await expectPixels(tiffOf({ ...picture, tags: [[320, 3, map]], width, height }), rgba);
  });

  test('YCbCr, not compressed as JPEG', async () => {
    const picture = makePicture('ycbcr', 8, []);
    for (const layout of Object.values(layouts)) {
      for (const isPlanar of [false, true]) {
        const bytes = tiffOf({ ...picture, ...layout, isPlanar, compression: 'lzw', width, height });
        await expectPixels(bytes, picture.rgba, 1);
      }
    }
  });

  test('BigTIFF, Zstandard, early LZW, reversed bits', async () => {
    const picture = makePicture('rgb', 8, [2]);
    for (const isLittleEndian of [true, false]) {
      for (const more of [
        { isBig: true },
        { compression: 'zstd', hasDifferences: true },
        { compression: 'old lzw' },
        { compression: 'deflate', isReversed: true },
        { isReversed: true },
      ] as const) {
        await expectPixels(tiffOf({ ...picture, ...more, isLittleEndian, width, height }), picture.rgba);
      }
    }
  });

  test('LZW with codes of all lengths', async () => {
    const [wide, tall] = [200, 150];
    const noise = (x: number, y: number) => [((x * 7919 + y * 104_729) >>> 3) & 255, other(x, y), x ^ y];
    for (const compression of ['lzw', 'old lzw'] as const) {
      const variant = { photometric: 2, bits: 8, samples: noise, compression, tile: [208, 160] as const };
      const bitmap = await decodeTiff(tiffOf({ ...variant, width: wide, height: tall }));
      const pixels = bitmap.subarray(bitmap.length - wide * tall * 4);
      const expected = Uint8Array.from(
        Array.from({ length: wide * tall }, (_, at) => [
          ...noise(at % wide, Math.trunc(at / wide)),
          255,
        ]).flat(),
      );
      expect(Buffer.compare(pixels, expected)).toBe(0);
    }
  });

  test('several extra samples, of which one is an opacity', async () => {
    for (const extra of [
      [0, 2],
      [0, 0, 1],
      [2, 0],
    ]) {
      for (const isPlanar of [false, true]) {
        const picture = makePicture('rgb', 8, extra);
        await expectPixels(tiffOf({ ...picture, isPlanar, width, height }), picture.rgba);
      }
    }
  });

  test('a fourth sample of RGB without a description as an opacity', async () => {
    const { rgba, samples } = makePicture('rgb', 8, [2]);
    await expectPixels(tiffOf({ photometric: 2, bits: 8, samples, width, height }), rgba);
  });
});
