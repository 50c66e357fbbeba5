import { beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { bitmapSize, decodeBuiltin, StoredPng } from '../../../native/image/builtin-decoder.ts';
import { decodeTiff, readTiffHeader } from '../../../src/media/picture/format/tiff.ts';
import { readPictureHeader } from '../../../src/media/sniff.ts';
import { bmp, concat, cutOut, type Paint, tiff } from '../sample-pictures.ts';
import { type TiffFileOptions, type TiffTag, tiffFile } from '../sample-tiffs.ts';

/** A TIFF of one strip of 64 bytes. */
function directory(tags: readonly TiffTag[], options: TiffFileOptions = {}): Uint8Array {
  return tiffFile([new Uint8Array(64)], () => [{ tags }], options);
}

const rgb: readonly TiffTag[] = [
  [256, 3, [4]],
  [257, 3, [3]],
  [258, 3, [8, 8, 8]],
  [262, 3, [2]],
  [273, 4, [16]],
  [277, 3, [3]],
  [279, 4, [36]],
];

function changed(...tags: readonly TiffTag[]): readonly TiffTag[] {
  const replaced = new Set(tags.map(([tag]) => tag));
  return [...rgb.filter(([tag]) => !replaced.has(tag)), ...tags];
}

describe('readTiffHeader', () => {
  test.each([
    ['classic, little-endian', { isLittleEndian: true, isBig: false }],
    ['classic, big-endian', { isLittleEndian: false, isBig: false }],
    ['big, little-endian', { isLittleEndian: true, isBig: true }],
    ['big, big-endian', { isLittleEndian: false, isBig: true }],
  ])('reads a %s one', (_, options) => {
    expect(readTiffHeader(directory(rgb, options))).toEqual({
      format: 'tiff',
      width: 4,
      height: 3,
      orientation: 1,
      alpha: false,
      rare: false,
      coefficientBytes: 0,
    });
  });

  test('reads what an encoder made', async () => {
    expect(readTiffHeader(await tiff(61, 47, cutOut))).toMatchObject({ width: 61, height: 47, alpha: true });
  });

  test('reads orientation and opacity', () => {
    const four = [
      [258, 3, [8, 8, 8, 8]],
      [277, 3, [4]],
    ] as const;
    expect(readTiffHeader(directory(changed([274, 3, [6]]))).orientation).toBe(6);
    expect(readTiffHeader(directory(changed(...four, [338, 3, [1]]))).alpha).toBe(true);
    expect(readTiffHeader(directory(changed(...four, [338, 3, [2]]))).alpha).toBe(true);
    expect(readTiffHeader(directory(changed(...four, [338, 3, [0]]))).alpha).toBe(false);
    expect(readTiffHeader(directory(changed([338, 3, [2]]))).alpha).toBe(false);
  });

  test('counts the memory of a decompressed strip', () => {
    expect(readTiffHeader(directory(changed([259, 3, [5]]))).coefficientBytes).toBe(2 * 4 * 3 * 3);
    const large = changed([256, 4, [12_000]], [257, 4, [8000]], [259, 3, [8]]);
    expect(readTiffHeader(directory(large)).coefficientBytes).toBe(2 * 12_000 * 8000 * 3);
  });

  test('is truncated where a strip or tile, or the directory, lies beyond the end', () => {
    const tiled = [
      [322, 3, [2]],
      [323, 3, [4]],
    ] as const;
    for (const tags of [
      changed([279, 4, [100_000]]),
      changed([273, 4, [16, 100_000]], [278, 3, [2]], [279, 4, [10, 10]]),
      changed(...tiled, [324, 4, [16, 90_000]], [325, 4, [10, 10]]),
      changed(...tiled, [324, 4, [16]], [325, 4, [10]]),
    ]) {
      expect(() => readTiffHeader(directory(tags))).toThrow('The TIFF picture is truncated: it has');
    }
    for (const isBig of [false, true]) {
      const whole = directory(rgb, { isBig });
      for (let length = 4; length < whole.length - 8; length++) {
        expect(() => readTiffHeader(whole.subarray(0, length))).toThrow('is truncated');
      }
    }
  });

  test.each([
    ['declares 0 × 3 pixels', changed([256, 3, [0]])],
    ['declares 4 × 4294967296 pixels', changed([257, 16, [2 ** 32]])],
    ['declares 4 × 0 pixels', rgb.filter(([tag]) => tag !== 257)],
    ['does not declare what its samples mean', rgb.filter(([tag]) => tag !== 262)],
    ['does not say where its pixels are', rgb.filter(([tag]) => tag !== 273)],
    ['declares 2 of the 3 samples of a pixel', changed([277, 3, [2]])],
    ['declares samples of 0 bits', changed([258, 3, [0, 0, 0]])],
    ['declares strips of 4 × 0 pixels', changed([278, 3, [0]])],
    ['has no palette, or one that is too short', changed([262, 3, [3]], [277, 3, [1]], [320, 3, [1, 2, 3]])],
    [
      'has tiles of 65535 × 65535 pixels, too large for its size',
      changed([322, 3, [65_535]], [323, 3, [65_535]], [324, 4, [16]]),
    ],
    [
      'does not say how long its strips or tiles are',
      changed([259, 3, [5]], [273, 4, [16, 16, 16]], [278, 3, [1]], [279, 4, [8]]),
    ],
  ])('%s', (fault, tags) => {
    expect(() => readTiffHeader(directory(tags))).toThrow(`The TIFF picture ${fault}.`);
  });

  test.each([
    ['floating-point samples', changed([339, 3, [3, 3, 3]])],
    ['signed samples', changed([339, 3, [2, 2, 2]])],
    ['complex samples', changed([339, 3, [6, 6, 6]])],
    ['32 bits per channel', changed([258, 3, [32, 32, 32]])],
    ['samples of different sizes', changed([258, 3, [5, 6, 5]])],
    ['CIE L*a*b* colours', changed([262, 3, [8]])],
    ['LogLuv colours', changed([262, 3, [32_845]])],
    ['a transparency mask', changed([262, 3, [4]])],
    ['unknown colours (7)', changed([262, 3, [7]])],
    ['JPEG 2000 compression', changed([259, 3, [34_712]])],
    ['LZMA compression', changed([259, 3, [34_925]])],
    ['an unknown (12345) compression', changed([259, 3, [12_345]])],
    ['old-style JPEG compression', changed([259, 3, [6]])],
    ['JPEG compression and 16 bits per channel', changed([258, 3, [16, 16, 16]], [259, 3, [7]])],
    ['JPEG compression and extra channels', changed([258, 3, [8, 8, 8, 8]], [259, 3, [7]], [277, 3, [4]])],
    ['fax compression and more than 1 bit per pixel', changed([259, 3, [4]])],
    ['uncompressed parts in fax compression', changed([259, 3, [4]], [293, 4, [2]])],
    ['predictor 3', changed([259, 3, [8]], [317, 3, [3]])],
    ['a predictor and 4 bits per channel', changed([258, 3, [4, 4, 4]], [259, 3, [8]], [317, 3, [2]])],
    ['a palette and 16 bits per pixel', changed([258, 3, [16]], [262, 3, [3]], [277, 3, [1]])],
    ['inks other than CMYK', changed([258, 3, [8, 8, 8, 8]], [262, 3, [5]], [277, 3, [4]], [332, 3, [2]])],
    [
      'subsampled YCbCr colours in separate planes',
      changed([262, 3, [6]], [273, 4, [16, 16, 16]], [279, 4, [9, 9, 9]], [284, 3, [2]]),
    ],
  ])('refuses one with %s', (what, tags) => {
    expect(() => readTiffHeader(directory(tags))).toThrow(
      `The file is a TIFF with ${what}; TIFF pictures in grey, RGB, palette, CMYK or YCbCr colours with 1 to 16 bits per channel are accepted, uncompressed or with LZW, Deflate, Zstandard, PackBits, JPEG or fax compression.`,
    );
  });

  test('a list of values longer than any picture’s is refused before it is read', () => {
    const bytes = directory(rgb);
    const view = new DataView(bytes.buffer);
    const first = view.getUint32(4, true) + 2;
    view.setUint32(first + 2 * 12 + 4, 0xffff_ffff, true); // the count of bits per sample
    expect(() => readTiffHeader(bytes)).toThrow('has a tag 258 of 4294967295 values');
  });

  test('a directory at an absurd place is cut off', () => {
    expect(() => readTiffHeader(concat('II*\0', [0xff, 0xff, 0xff, 0xff]))).toThrow('is truncated');
    const far = concat('II+\0', [8, 0, 0, 0], new Uint8Array(8).fill(0xff), new Uint8Array(100));
    expect(() => readTiffHeader(far)).toThrow('is truncated');
  });
});

describe('decodeTiff', () => {
  test('is broken where a strip ends early', async () => {
    for (const compression of [1, 4, 5, 8, 32_773, 50_000]) {
      const bits = compression === 4 ? 1 : 8;
      const tags: readonly TiffTag[] = [
        [256, 3, [40]],
        [257, 3, [30]],
        [258, 3, [bits]],
        [259, 3, [compression]],
        [262, 3, [1]],
        [273, 4, [16]],
        [279, 4, [10]],
      ];
      await expect(decodeTiff(directory(tags))).rejects.toMatchObject({ reason: 'broken' });
    }
  });

  test('decompresses no more than the pixels take', async () => {
    const bomb = new Uint8Array(Bun.deflateSync(new Uint8Array(50_000_000), { level: 9, windowBits: 15 }));
    const tags = (places: readonly number[]): readonly TiffTag[] => [
      ...changed([259, 3, [8]], [273, 4, places], [279, 4, [bomb.length]]),
    ];
    const bytes = tiffFile([bomb], (places) => [{ tags: tags(places) }]);
    await expect(decodeTiff(bytes)).rejects.toMatchObject({ reason: 'broken' });
  });
});

describe('JPEG compression', () => {
  const [width, height] = [48, 32];
  const smooth: Paint = (x, y) => [x * 5, y * 7, 128, 255];

  async function decodeJpeg(jpeg: Uint8Array): Promise<Uint8Array> {
    const stored = new StoredPng(await decodeBuiltin(jpeg, { declaredPixels: width * height }));
    const pixels = new Uint8Array(width * height * 4);
    for (let y = 0; y < height; y++) stored.readRow(pixels.subarray(y * width * 4, (y + 1) * width * 4));
    return pixels;
  }

  const tagsOf = (photometric: number): readonly TiffTag[] => [
    [256, 3, [width]],
    [257, 3, [height]],
    [258, 3, [8, 8, 8]],
    [262, 3, [photometric]],
    [277, 3, [3]],
  ];
  const oneStrip = (jpeg: Uint8Array, ...tags: readonly TiffTag[]) =>
    tiffFile([jpeg], (places) => [{ tags: [...tags, [273, 4, places], [279, 4, [jpeg.length]]] }]);

  async function pixelsOf(bytes: Uint8Array): Promise<Uint8Array> {
    readTiffHeader(bytes);
    const bitmap = await decodeTiff(bytes);
    expect(bitmapSize(bitmap)).toEqual({ width, height });
    return bitmap.subarray(bitmap.length - width * height * 4);
  }

  let encoded: Uint8Array;
  let decoded: Uint8Array;

  beforeAll(async () => {
    encoded = await new Bun.Image(bmp(width, height, smooth)).jpeg({ quality: 95 }).bytes();
    decoded = await decodeJpeg(encoded);
  });

  /** Tables apart from the rest, as libtiff writes them. */
  function splitTables(jpeg: Uint8Array) {
    const tables: Uint8Array[] = [];
    const rest: Uint8Array[] = [];
    let at = 2;
    while (jpeg[at + 1] !== 0xda) {
      const end = at + 2 + jpeg[at + 2]! * 256 + jpeg[at + 3]!;
      (jpeg[at + 1] === 0xdb || jpeg[at + 1] === 0xc4 ? tables : rest).push(jpeg.subarray(at, end));
      at = end;
    }
    return {
      tables: concat([0xff, 0xd8], ...tables, [0xff, 0xd9]),
      strip: concat([0xff, 0xd8], ...rest, jpeg.subarray(at)),
    };
  }

  test('YCbCr, with the tables in the strip or apart', async () => {
    expect(await pixelsOf(oneStrip(encoded, ...tagsOf(6), [259, 3, [7]]))).toEqual(decoded);
    const { tables, strip } = splitTables(encoded);
    expect(await pixelsOf(oneStrip(strip, ...tagsOf(6), [259, 3, [7]], [347, 7, tables]))).toEqual(decoded);
  });

  test('samples that are RGB are not converted', async () => {
    const pixels = await pixelsOf(oneStrip(encoded, ...tagsOf(2), [259, 3, [7]]));
    const [red, green, blue] = [decoded[0]!, decoded[1]!, decoded[2]!];
    const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    const expected = [luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402];
    for (const [channel, value] of expected.entries()) {
      expect(Math.abs(pixels[channel]! - value)).toBeLessThan(3);
    }
  });

  test('a whole JPEG in an old-style one', async () => {
    const bytes = tiffFile([encoded], (places) => [
      { tags: [...tagsOf(6), [259, 3, [6]], [513, 4, places], [514, 4, [encoded.length]]] },
    ]);
    expect(await pixelsOf(bytes)).toEqual(decoded);
  });

  test('a JPEG of another size, of other components, or cut off, is broken', async () => {
    const broken = { reason: 'broken' };
    const small = await new Bun.Image(bmp(40, height, smooth)).jpeg().bytes();
    await expect(decodeTiff(oneStrip(small, ...tagsOf(6), [259, 3, [7]]))).rejects.toMatchObject(broken);
    const grey: readonly TiffTag[] = [...tagsOf(1).slice(0, 2), [258, 3, [8]], [262, 3, [1]]];
    await expect(decodeTiff(oneStrip(encoded, ...grey, [259, 3, [7]]))).rejects.toMatchObject(broken);
    const cut = encoded.subarray(0, 300);
    await expect(decodeTiff(oneStrip(cut, ...tagsOf(6), [259, 3, [7]]))).rejects.toMatchObject(broken);
  });

  test.each([
    ['JPEG compression of 12 bits per channel', 0xc1, 12],
    ['lossless or arithmetic JPEG compression', 0xc3, 8],
  ])('refuses %s', (what, marker, precision) => {
    const changedFrame = Uint8Array.from(encoded);
    const frame = Buffer.from(changedFrame.buffer).indexOf(Buffer.from([0xff, 0xc0]));
    changedFrame[frame + 1] = marker;
    changedFrame[frame + 4] = precision;
    expect(() => readTiffHeader(oneStrip(changedFrame, ...tagsOf(6), [259, 3, [7]]))).toThrow(
      `The file is a TIFF with ${what};`,
    );
  });
});

describe('fax compression', () => {
  const [width, height] = [2700, 120];

  /** Rows of runs of all lengths; of four rows, two repeat the first one, shifted. libtiff compressed them. */
  function isBlack(x: number, y: number): boolean {
    const row = y - (y % 4);
    const shift = [0, 2, -1, 0][y % 4]!;
    const column = (x - shift + width) % width;
    const source = y % 4 === 3 ? y : row;
    let end = 0;
    for (let run = 0; ; run++) {
      end += 1 + ((source * 131 + run * run * 17) % [63, 127, 2560][(source + run) % 3]!);
      if (column < end) return run % 2 === 1;
    }
  }

  test.each(['group-3', 'group-3-2d', 'group-4', 'rle', 'group-4-lowest-bit-first'])('%s', async (name) => {
    const bytes = await Bun.file(join(import.meta.dir, `../../fixtures/fax/${name}.tif`)).bytes();
    expect(readPictureHeader(bytes)).toMatchObject({ format: 'tiff', width, height });
    const bitmap = await decodeTiff(bytes);
    const pixels = bitmap.subarray(bitmap.length - width * height * 4);
    let wrong = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if ((pixels[(y * width + x) * 4] === 0) !== isBlack(x, y)) wrong += 1;
      }
    }
    expect(wrong).toBe(0);
  });

  test('damaged rows of Group 3 are tolerated if they are few; other damage is not', async () => {
    const outcome = async (name: string, ...places: readonly number[]) => {
      const bytes = await Bun.file(join(import.meta.dir, `../../fixtures/fax/${name}.tif`)).bytes();
      for (const place of places)
        bytes.fill(0, Math.trunc(bytes.length * place), Math.trunc(bytes.length * place) + 3);
      return await decodeTiff(bytes).then(
        () => 'pixels',
        (fault: Error) => fault.name,
      );
    };
    expect(await outcome('group-3', 0.5)).toBe('pixels');
    expect(await outcome('group-3', ...Array.from({ length: 60 }, (_, index) => 0.1 + index / 75))).toBe(
      'DecodeError',
    );
    expect(await outcome('group-4', 0.5)).toBe('DecodeError');
  });
});
