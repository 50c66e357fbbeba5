/** Bytes that hurt a service which believes them: each is small, or of the largest size that may be sent. */
import { chunk, concat, uint32be, uint32le } from '../../media/sample-pictures.ts';

const MEBI = 1024 ** 2;
/** The largest picture that is accepted by default. */
const LARGEST = 64 * MEBI;

type Piece = Uint8Array | readonly number[] | string;

const uint16be = (value: number): readonly number[] => [value >> 8, value & 0xff];
const uint16le = (value: number): readonly number[] => [value & 0xff, value >> 8];

function box(kind: string, ...payload: readonly Piece[]): Uint8Array {
  const content = concat(...payload);
  return concat(uint32be(8 + content.length), kind, content);
}

/** A box with a version and flags, all of them zero. */
function fullBox(kind: string, ...payload: readonly Piece[]): Uint8Array {
  return box(kind, [0, 0, 0, 0], ...payload);
}

/** An AVIF of one item, 64 × 64, with a table of locations that is given. */
function avif(locations: Uint8Array): Uint8Array {
  const item = box('infe', [2, 0, 0, 0], uint16be(1), uint16be(0), 'av01\0');
  const properties = box('ipco', fullBox('ispe', uint32be(64), uint32be(64)));
  const association = fullBox('ipma', uint32be(1), uint16be(1), [1, 0x81]);
  return concat(
    box('ftyp', 'avif\0\0\0\0avifmif1'),
    fullBox(
      'meta',
      fullBox('pitm', uint16be(1)),
      fullBox('iinf', uint16be(1), item),
      box('iprp', properties, association),
      locations,
    ),
  );
}

/** Extents that take no bytes: the table does not run out, however often it is read. */
export function endlessExtents(items: number): Uint8Array {
  const rows = Array.from({ length: items }, (_, item) =>
    concat(uint16be(item + 2), uint16be(0), uint16be(65_535)),
  );
  return avif(fullBox('iloc', [0, 0], uint16be(items), ...rows));
}

/** An AV1 stream with a variable-length number whose leading zeros go on to the end of the file. */
export function endlessNumber(mebibytes: number): Uint8Array {
  const stream = new Uint8Array(10 + mebibytes * MEBI);
  stream.set([0x08, 0x04, 0, 0, 0, 0, 0, 0, 0, 0x02]);
  const located = (offset: number) =>
    avif(
      fullBox(
        'iloc',
        [0x44, 0],
        uint16be(1),
        uint16be(1),
        uint16be(0),
        uint16be(1),
        uint32be(offset),
        uint32be(stream.length),
      ),
    );
  return concat(located(located(0).length + 8), uint32be(8 + stream.length), 'mdat', stream);
}

/** A list of brands as long as the file. */
export function endlessBrands(): Uint8Array {
  return filled(concat(uint32be(LARGEST), 'ftypzzzz\0\0\0\0'), 'abcd', LARGEST);
}

/** Fourteen tags with a million values each, all in the same megabyte. */
export function sharedValues(): Uint8Array {
  const tags = [254, 256, 257, 258, 262, 273, 274, 277, 279, 324, 325, 330, 338, 50_706];
  const count = 1_000_000;
  const values = 8 + 2 + 12 * tags.length + 4;
  const entries = tags.map((tag) => concat(uint16le(tag), uint16le(1), uint32le(count), uint32le(values)));
  const start = concat('II*\0', uint32le(8), uint16le(tags.length), ...entries, uint32le(0));
  return filled(start, '\x01', start.length + count);
}

/** A sound TIFF, 20 × 10, whose colours stand in planes of 16 × 16 tiles, which the picture does not fill. */
export function planarTiles(): Uint8Array {
  const [width, height, side] = [20, 10, 16];
  const tiles: Uint8Array[] = [];
  for (let channel = 0; channel < 3; channel++) {
    for (let left = 0; left < width; left += side) {
      const tile = new Uint8Array(side * side);
      for (let y = 0; y < height; y++) {
        for (let x = left; x < Math.min(width, left + side); x++) {
          const red = Math.floor((x * 255) / (width - 1));
          const green = Math.floor((y * 255) / (height - 1));
          tile[y * side + x - left] = [red, green, 128][channel] as number;
        }
      }
      tiles.push(tile);
    }
  }
  const tileBytes = side * side;
  const bits = 8 + tiles.length * tileBytes;
  const offsets = bits + 3 * 2;
  const counts = offsets + tiles.length * 4;
  const directory = counts + tiles.length * 4;
  const [SHORT, LONG] = [3, 4] as const;
  const entries: readonly (readonly [tag: number, type: number, count: number, value: number])[] = [
    [256, SHORT, 1, width],
    [257, SHORT, 1, height],
    [258, SHORT, 3, bits],
    [259, SHORT, 1, 1], // uncompressed
    [262, SHORT, 1, 2], // RGB
    [277, SHORT, 1, 3], // samples a pixel
    [284, SHORT, 1, 2], // each channel by itself
    [322, SHORT, 1, side],
    [323, SHORT, 1, side],
    [324, LONG, tiles.length, offsets],
    [325, LONG, tiles.length, counts],
  ];
  return concat(
    'II*\0',
    uint32le(directory),
    ...tiles,
    ...[8, 8, 8].map(uint16le),
    ...tiles.map((_, index) => uint32le(8 + index * tileBytes)),
    ...tiles.map(() => uint32le(tileBytes)),
    uint16le(entries.length),
    ...entries.map(([tag, type, count, value]) =>
      concat(uint16le(tag), uint16le(type), uint32le(count), uint32le(value)),
    ),
    uint32le(0),
  );
}

/** A PNG of as many empty pieces as it may have. */
export function pngChain(): Uint8Array {
  const start = concat('\x89PNG\r\n\x1a\n', chunk('IHDR', [...uint32be(8), ...uint32be(8), 8, 2, 0, 0, 0]));
  const empty = chunk('IDAT');
  const count = Math.floor((LARGEST - 200) / empty.length);
  return Buffer.concat([filled(start, empty, start.length + count * empty.length), chunk('IEND')]);
}

/** A JPEG of as many empty segments as it may have. */
export function jpegChain(): Uint8Array {
  const start = Uint8Array.of(0xff, 0xd8, 0xff);
  const count = Math.floor((LARGEST - 8) / 4);
  const chain = filled(start, Uint8Array.of(0xe0, 0, 2, 0xff), start.length + count * 4);
  return Buffer.concat([chain, Uint8Array.of(0xd9)]);
}

/** A GIF with a comment of as many blocks of one byte as it may have. */
export function gifChain(): Uint8Array {
  const size = [...uint16le(10), ...uint16le(10)];
  const start = concat('GIF89a', size, [0, 0, 0], [0x21, 0xfe]);
  const count = Math.floor((LARGEST - 50) / 2);
  const chain = filled(start, '\x01a', start.length + count * 2);
  return Buffer.concat([chain, concat([0, 0x2c, 0, 0, 0, 0], size, [0, 2, 0])]);
}

/** As many bytes of one pattern, the beginning included. */
function filled(start: Uint8Array, pattern: string | Uint8Array, length: number): Uint8Array {
  const bytes = Buffer.alloc(length, pattern);
  // The pattern begins where the beginning ends.
  bytes.copyWithin(start.length, 0, length - start.length);
  bytes.set(start);
  return bytes;
}

/** A thousand labels of 4,000 control characters and a letter: no tokens at all, but 24 KB each in JSON. */
export function controlLabels(count: number, length: number): string {
  const label = (index: number) => {
    const digits = index.toString(2).replaceAll('0', '\x01').replaceAll('1', '\x02');
    return `${digits.padStart(length, '\x01')}x`;
  };
  return Array.from({ length: count }, (_, index) => label(index)).join(',');
}

/** Labels of some 65 tokens that the service has never seen. */
export function longLabels(count: number, salt: number): string {
  return JSON.stringify(Array.from({ length: count }, (_, index) => `${'cat '.repeat(60)}${salt} ${index}`));
}
