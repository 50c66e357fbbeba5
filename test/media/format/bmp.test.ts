import { describe, expect, test } from 'bun:test';
import { decodeBmp, readBmpHeader } from '../../../src/media/picture/format/bmp.ts';
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
    ['a palette', { bitsPerPixel: 8, dataBytes: 1024 + 24 }],
    ['one bit a pixel', { bitsPerPixel: 1, dataBytes: 8 + 12 }],
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

  test('is truncated wherever it ends before its last pixel', () => {
    const whole = windowsBmp();
    // The last row has one byte of padding, which only some decoders can do without.
    const pixelsEnd = whole.length - 1;
    expect(readBmpHeader(whole.subarray(0, pixelsEnd))).toMatchObject({ width: 5, rare: true });
    for (let length = 10; length < pixelsEnd; length++) {
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

interface OwnBmp {
  /** The header after its length, and what follows it before the pixels: masks, a palette. */
  readonly header: readonly number[];
  readonly between?: readonly number[];
  readonly pixels: readonly number[];
  /** Default: the end of what comes before the pixels. */
  readonly pixelsOffset?: number;
}

function ownBmp({ header, between = [], pixels, pixelsOffset }: OwnBmp): Uint8Array {
  const headerBytes = header.length + 4;
  const offset = pixelsOffset ?? 14 + headerBytes + between.length;
  return concat('BM', uint32le(0), 'mark', uint32le(offset), uint32le(headerBytes), header, between, pixels);
}

/** Windows' header of 40 bytes, or a longer one. */
function info(
  [width, height]: readonly [number, number],
  bitsPerPixel: number,
  compression = 0,
  { colours = 0, more = [] as readonly number[] } = {},
): readonly number[] {
  return [
    ...[...uint32le(width), ...uint32le(height), 1, 0, bitsPerPixel, 0, ...uint32le(compression)],
    ...[...new Uint8Array(12), ...uint32le(colours), ...uint32le(0), ...more],
  ];
}

const os2 = ([width, height]: readonly [number, number], bitsPerPixel: number) => [
  ...[width, 0, height, 0, 1, 0, bitsPerPixel, 0],
];

const words16 = (...words: readonly number[]) => words.flatMap((word) => [word & 0xff, word >> 8]);
const words32 = (...words: readonly number[]) => words.flatMap((word) => uint32le(word));

const red = [255, 0, 0, 255];
const green = [0, 255, 0, 255];
const blue = [0, 0, 255, 255];
const black = [0, 0, 0, 255];
const white = [255, 255, 255, 255];
/** Red, green, blue and white, as BMPs have them: B, G, R and a byte more. */
const palette = [...[0, 0, 255, 0], ...[0, 255, 0, 0], ...[255, 0, 0, 0], ...[255, 255, 255, 0]];
const shortPalette = palette.filter((_, at) => at % 4 !== 3);
const four = { colours: 4 };

describe('decodeBmp', () => {
  const decoded = (bytes: Uint8Array) => {
    const { width, height } = readBmpHeader(bytes);
    const pixels = decodeBmp(bytes).subarray(-width * height * 4);
    return Array.from({ length: width * height }, (_, at) => [...pixels.subarray(at * 4, at * 4 + 4)]);
  };

  const samples: Record<string, readonly [OwnBmp, readonly (readonly number[])[]]> = {
    '1 bit, the lowest row first': [
      { header: info([2, 2], 1), between: palette.slice(0, 8), pixels: [0x40, 0, 0, 0, 0x80, 0, 0, 0] },
      [green, red, red, green],
    ],
    '1 bit, the top row first': [
      { header: info([2, -2], 1), between: palette.slice(0, 8), pixels: [0x40, 0, 0, 0, 0x80, 0, 0, 0] },
      [red, green, green, red],
    ],
    '2 bits': [
      { header: info([4, 1], 2), between: palette, pixels: [0b00_01_10_11, 0, 0, 0] },
      [red, green, blue, white],
    ],
    '4 bits, with fewer colours': [
      { header: info([3, 1], 4, 0, four), between: palette, pixels: [0x10, 0xf0, 0, 0] },
      [green, red, black],
    ],
    '8 bits': [
      { header: info([3, 1], 8, 0, four), between: palette, pixels: [2, 3, 0, 0] },
      [blue, white, red],
    ],
    'a wrong place of the pixels': [
      { header: info([3, 1], 8, 0, four), between: palette, pixels: [2, 3, 0, 0], pixelsOffset: 54 },
      [blue, white, red],
    ],
    'no place of the pixels': [
      { header: info([3, 1], 8, 0, four), between: palette, pixels: [2, 3, 0, 0], pixelsOffset: 0 },
      [blue, white, red],
    ],
    '16 bits': [
      { header: info([4, 1], 16), pixels: words16(0x7c00, 0x3e0, 0x1f, 0xffff) },
      [red, green, blue, white],
    ],
    '16 bits, with masks': [
      {
        header: info([4, 1], 16, 3),
        between: words32(0xf800, 0x7e0, 0x1f),
        pixels: words16(0xf800, 0x7e0, 0x1f, 0x8000),
      },
      [red, green, blue, [131, 0, 0, 255]],
    ],
    '24 bits': [{ header: info([1, 1], 24), pixels: [0, 255, 0, 0] }, [green]],
    '32 bits, of which 10 are for each colour': [
      {
        header: info([3, 1], 32, 3),
        between: words32(0x3ff00000, 0xffc00, 0x3ff),
        pixels: words32(0x3ff00000, 0xc00ffc00, 0x200),
      },
      [red, green, [0, 0, 127, 255]],
    ],
    '32 bits, with an opacity of 4': [
      {
        header: info([2, 1], 32, 3, { more: words32(0xff0000, 0xff00, 0xff, 0xf0000000) }),
        pixels: words32(0x80ff0000, 0xf00000ff),
      },
      [[255, 0, 0, 136], blue],
    ],
    '32 bits, with four masks behind the header': [
      {
        header: info([2, 1], 32, 6),
        between: words32(0xff0000, 0xff00, 0xff, 0xff000000),
        pixels: words32(0x80ff0000, 0xff0000ff),
      },
      [[255, 0, 0, 128], blue],
    ],
    'OS/2’s first header': [
      { header: os2([2, 1], 1), between: shortPalette.slice(0, 6), pixels: [0x40, 0, 0, 0] },
      [red, green],
    ],
    'OS/2’s first header, 24 bits': [{ header: os2([1, 1], 24), pixels: [255, 0, 0, 0] }, [blue]],
    'OS/2’s second header, cut to 16 bytes': [
      { header: info([2, 1], 1).slice(0, 12), between: palette.slice(0, 8), pixels: [0x40, 0, 0, 0] },
      [red, green],
    ],
    'OS/2’s second header of 64 bytes': [
      {
        header: info([2, 1], 1, 0, { more: Array(24).fill(0) }),
        between: palette.slice(0, 8),
        pixels: [0x40, 0, 0, 0],
      },
      [red, green],
    ],
    'OS/2’s runs of 24 bits': [
      {
        header: info([4, 1], 24, 4, { more: Array(24).fill(0) }),
        pixels: [...[3, 0, 0, 255], ...[1, 255, 0, 0], ...[0, 1]],
      },
      [red, red, red, blue],
    ],
    'runs of 8 bits, longer than the row': [
      {
        header: info([3, 2], 8, 1, four),
        between: palette,
        pixels: [...[200, 1], ...[0, 0], ...[2, 2], ...[1, 3], ...[0, 1]],
      },
      [blue, blue, white, green, green, green],
    ],
    'lists of an odd length': [
      {
        header: info([4, 2], 8, 1, four),
        between: palette,
        pixels: [...[0, 3, 1, 2, 3, 0], ...[1, 1], ...[0, 0], ...[0, 4, 0, 1, 2, 3], ...[0, 1]],
      },
      [red, green, blue, white, green, blue, white, green],
    ],
    'runs of 4 bits, which alternate, and lists of an odd length': [
      {
        header: info([5, 2], 4, 2, four),
        between: palette,
        pixels: [...[5, 0x12], ...[0, 0], ...[0, 5, 0x12, 0x30, 0x10, 0], ...[0, 1]],
      },
      [green, blue, white, red, green, green, blue, green, blue, green],
    ],
    'pixels that are left out': [
      {
        header: info([3, 3], 8, 1, four),
        between: palette,
        pixels: [...[0, 2, 1, 1], ...[1, 2], ...[0, 1]],
      },
      [red, red, red, red, blue, red, red, red, red],
    ],
    'runs without an end': [
      { header: info([2, 1], 8, 1, four), between: palette, pixels: [2, 1] },
      [green, green],
    ],
  };
  for (const [name, [parts, expected]] of Object.entries(samples)) {
    test(name, () => {
      expect(decoded(ownBmp(parts))).toEqual(expected as number[][]);
    });
  }

  test('runs that end before the last row are truncated, wherever', () => {
    const whole = ownBmp({
      header: info([3, 2], 8, 1, four),
      between: palette,
      pixels: [...[3, 1], ...[0, 0], ...[0, 3, 1, 2, 3]],
    });
    expect(decoded(whole)).toEqual([green, blue, white, green, green, green]);
    for (let length = 70; length < whole.length; length++) {
      expect(() => decodeBmp(whole.subarray(0, length))).toThrow('The BMP picture is truncated: it has');
    }
  });

  test('agrees with the other decoder on what that one reads', async () => {
    const picture = bmp(13, 9);
    expect(Buffer.compare(decodeBmp(picture), picture)).toBe(0);
  });

  test.each([
    [
      'has a mask with gaps',
      { header: info([1, 1], 32, 3), between: words32(0xff00ff, 0, 0), pixels: [1, 2, 3, 4] },
    ],
    ['has an unknown kind of header', { header: info([1, 1], 24).concat(1, 2, 3), pixels: [1, 2, 3, 4] }],
    ['declares 7 bits per pixel, which does not exist', { header: info([1, 1], 7), pixels: [1, 2, 3, 4] }],
  ])('%s', (fault, parts) => {
    expect(() => readBmpHeader(ownBmp(parts))).toThrow(`The BMP picture ${fault}.`);
  });
});
