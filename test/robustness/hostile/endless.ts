import { chunk, concat, uint32be, uint32le } from '../../media/sample-pictures.ts';

/** A picture whose tables or chains take long to walk for whoever believes them. */
export interface Endless {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const MEBI = 1024 ** 2;

/** @param mebibytes size of those whose harm grows with it; a picture may have 64 */
export function endlessPictures(mebibytes: number): readonly Endless[] {
  const bytes = mebibytes * MEBI;
  const pictures: Readonly<Record<string, Uint8Array>> = {
    'items without extents, 10.avif': avifOf(emptyExtents(10)),
    'items without extents, 100.avif': avifOf(emptyExtents(100)),
    'items without extents, 1000.avif': avifOf(emptyExtents(1000)),
    'items of nothing, 60000.avif': avifOf(emptyItems(60_000)),
    'a number of zeros.avif': zerosNumber(bytes - 1000),
    'a list of brands.avif': concat(uint32be(bytes), 'ftypzzzz\0\0\0\0', repeated('abcd', bytes - 16)),
    'a list of brands, AVIF at its end.avif': concat(
      ...[uint32be(bytes), 'ftypzzzz\0\0\0\0', repeated('abcd', bytes - 20), 'avif'],
    ),
    'boxes of nothing.avif': concat(
      uint32be(20),
      'ftypavif\0\0\0\0avif',
      repeated('\0\0\0\bfree', bytes - 20),
    ),
    'boxes in boxes.avif': nestedBoxes(Math.min(bytes, MEBI)),
    'tags of a million values.tiff': tagTable(),
    'directories in a ring.tiff': directoryRing(),
    'strips of nothing.tiff': emptyStrips(Math.min(1_000_000, bytes / 4)),
    'chunks of nothing.png': concat(
      '\x89PNG\r\n\x1a\n',
      chunk('IHDR', [...uint32be(8), ...uint32be(8), 8, 2, 0, 0, 0]),
      repeated(chunk('IDAT'), bytes - 200),
      chunk('IEND'),
    ),
    'text chunks of nothing.png': concat(
      '\x89PNG\r\n\x1a\n',
      chunk('IHDR', [...uint32be(8), ...uint32be(8), 8, 2, 0, 0, 0]),
      repeated(chunk('tEXt'), bytes - 200),
      chunk('IEND'),
    ),
    'segments of nothing.jpg': concat([0xff, 0xd8, 0xff], repeated('\xe0\0\x02\xff', bytes - 8), [0xd9]),
    'fill bytes.jpg': concat([0xff, 0xd8], repeated('\xff', bytes - 8), [0xd9]),
    'restart markers.jpg': concat([0xff, 0xd8], repeated('\xff\xd0', bytes - 8), [0xff, 0xd9]),
    'comments of a byte.gif': concat(
      ...['GIF89a', [10, 0, 10, 0, 0, 0, 0], '\x21\xfe', repeated('\x01a', bytes - 50), '\0'],
      ...['\x2c', [0, 0, 0, 0, 10, 0, 10, 0, 0], '\x02\0'],
    ),
    'extensions of nothing.gif': concat(
      ...['GIF89a', [10, 0, 10, 0, 0, 0, 0], repeated('\x21\xfe\0', bytes - 50)],
      ...['\x2c', [0, 0, 0, 0, 10, 0, 10, 0, 0], '\x02\0'],
    ),
    'chunks of nothing.webp': riffOf(repeated('ABCD\0\0\0\0', bytes - 20)),
  };
  return Object.entries(pictures).map(([name, picture]) => ({ name, bytes: picture }));
}

/** The pattern again and again, up to about so many bytes. */
function repeated(pattern: string | Uint8Array, bytes: number): Uint8Array {
  const piece = typeof pattern === 'string' ? Buffer.from(pattern, 'latin1') : pattern;
  return new Uint8Array(Buffer.alloc(Math.trunc(bytes / piece.length) * piece.length, piece));
}

function box(kind: string, ...payload: readonly (Uint8Array | readonly number[] | string)[]): Uint8Array {
  const content = concat(...payload);
  return concat(uint32be(8 + content.length), kind, content);
}

const fullBox = (kind: string, ...payload: readonly (Uint8Array | readonly number[] | string)[]) =>
  box(kind, [0, 0, 0, 0], ...payload);

const uint16be = (value: number) => [value >> 8, value & 0xff];

function avifOf(locations: Uint8Array, data: Uint8Array = new Uint8Array()): Uint8Array {
  const entry = box('infe', [2, 0, 0, 0], uint16be(1), uint16be(0), 'av01\0');
  const properties = box('ipco', fullBox('ispe', uint32be(64), uint32be(64)));
  const association = fullBox('ipma', uint32be(1), uint16be(1), [1, 0x81]);
  return concat(
    box('ftyp', 'avif\0\0\0\0avifmif1'),
    fullBox(
      'meta',
      fullBox('pitm', uint16be(1)),
      fullBox('iinf', uint16be(1), entry),
      box('iprp', properties, association),
      locations,
    ),
    data.length > 0 ? box('mdat', data) : [],
  );
}

/** Each item has 65,535 extents that take no bytes: the table does not run out, however often it is read. */
function emptyExtents(items: number): Uint8Array {
  const rows = Array.from({ length: items }, (_, item) => [...uint16be(item + 2), 0, 0, 0xff, 0xff]);
  return fullBox('iloc', [0, 0], uint16be(items), ...rows);
}

function emptyItems(items: number): Uint8Array {
  const rows = new Uint8Array(items * 6);
  const view = new DataView(rows.buffer);
  for (let item = 0; item < items; item++) view.setUint16(item * 6, item + 2);
  return fullBox('iloc', [0, 0], uint16be(items), rows);
}

/** A number of variable length in the AV1 sequence header, whose leading zeros go on to the end of the file. */
function zerosNumber(bytes: number): Uint8Array {
  const stream = concat([8, 4, 0, 0, 0, 0, 0, 0, 0, 2], new Uint8Array(bytes));
  const located = (offset: number) =>
    fullBox('iloc', [0x44, 0], uint16be(1), [0, 1, 0, 0, 0, 1], uint32be(offset), uint32be(stream.length));
  const withoutData = avifOf(located(0)).length;
  return avifOf(located(withoutData + 8), stream);
}

function nestedBoxes(bytes: number): Uint8Array {
  const count = Math.trunc((bytes - 100) / 8);
  const nest = new Uint8Array(count * 8);
  const view = new DataView(nest.buffer);
  for (let depth = 0; depth < count; depth++) {
    view.setUint32(depth * 8, nest.length - depth * 8);
    nest.set(Buffer.from('meta'), depth * 8 + 4);
  }
  return concat(uint32be(20), 'ftypavif\0\0\0\0avif', nest);
}

function tiffEntry(tag: number, type: number, count: number, value: number): Uint8Array {
  return concat([tag & 0xff, tag >> 8, type, 0], uint32le(count), uint32le(value));
}

/** Fourteen tags with a million values each, all in the same megabyte. */
function tagTable(): Uint8Array {
  const tags = [254, 256, 257, 258, 262, 273, 274, 277, 279, 324, 325, 330, 338, 50_706];
  const values = 8 + 2 + 12 * tags.length + 4;
  return concat(
    ...['II*\0', uint32le(8), [tags.length, 0]],
    ...tags.map((tag) => tiffEntry(tag, 1, 1_000_000, values)),
    uint32le(0),
    new Uint8Array(1_000_000).fill(1),
  );
}

function directoryRing(): Uint8Array {
  return concat('II*\0', uint32le(8), [1, 0], tiffEntry(256, 4, 1, 8), uint32le(8));
}

/** As many strips as fit, each of no bytes. */
function emptyStrips(strips: number): Uint8Array {
  const entries = 9;
  const table = 8 + 2 + 12 * entries + 4;
  return concat(
    ...['II*\0', uint32le(8), [entries, 0]],
    tiffEntry(256, 4, 1, 10),
    tiffEntry(257, 4, 1, strips),
    tiffEntry(258, 3, 1, 8),
    tiffEntry(259, 3, 1, 1),
    tiffEntry(262, 3, 1, 1),
    tiffEntry(273, 4, strips, table),
    tiffEntry(277, 3, 1, 1),
    tiffEntry(278, 4, 1, 1),
    tiffEntry(279, 4, strips, table),
    uint32le(0),
    new Uint8Array(strips * 4),
  );
}

function riffOf(chunks: Uint8Array): Uint8Array {
  return concat('RIFF', uint32le(4 + chunks.length), 'WEBP', chunks);
}
