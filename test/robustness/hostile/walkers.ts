import { crc32 } from 'node:zlib';
import { codedItem, gridData, heif, sizeProperty } from '../../media/sample-heifs.ts';

/** The largest picture that is accepted by default. */
export const LARGEST_PICTURE = 64 * 1024 ** 2;
/** The largest categories document that is accepted. */
export const LARGEST_DOCUMENT = 4 * 1024 ** 2;

/**
 * Inputs that make whatever walks their bytes take as many steps as it can be made to: chains of the smallest pieces,
 * tables that all tell of the same bytes, numbers without an end. Each is made as large as `size` allows.
 */
export type WorstCases = Readonly<Record<string, (size?: number) => Uint8Array>>;

type Bytes = Uint8Array | readonly number[] | string;

function concat(...parts: readonly Bytes[]): Uint8Array {
  const toBytes = (part: Bytes) => {
    if (typeof part === 'string') return Buffer.from(part, 'latin1');
    return part instanceof Uint8Array ? part : Uint8Array.from(part);
  };
  return Buffer.concat(parts.map(toBytes));
}

function big(value: number, bytes: number): Uint8Array {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 8) buffer.writeBigUInt64BE(BigInt(value));
  else buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

function little(value: number, bytes: number): Uint8Array {
  return big(value, bytes).toReversed();
}

/** `before`, then `unit` again and again, then `after`: at most `size` bytes in all. */
function filled(size: number, unit: Bytes, before: Bytes = [], after: Bytes = []): Uint8Array {
  const [start, piece, end] = [concat(before), concat(unit), concat(after)];
  const count = Math.floor((size - start.length - end.length) / piece.length);
  const bytes = Buffer.alloc(start.length + count * piece.length + end.length);
  bytes.set(start);
  if (count > 0) bytes.fill(piece, start.length, bytes.length - end.length);
  bytes.set(end, bytes.length - end.length);
  return bytes;
}

const jpegFrame = (width: number, height: number, process = 0xc0) =>
  concat([0xff, process, 0, 11, 8], big(height, 2), big(width, 2), [1, 1, 0x11, 0]);
const jpegScan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
const jpegEnd = [0xff, 0xd9];

const jpegs: WorstCases = {
  'JPEG segments of nothing': (size = LARGEST_PICTURE) =>
    filled(size, [0xff, 0xe0, 0, 2], [0xff, 0xd8], jpegEnd),
  'JPEG start markers': (size = LARGEST_PICTURE) => filled(size, [0xff, 0xd8], [], jpegEnd),
  'JPEG fill bytes': (size = LARGEST_PICTURE) => filled(size, [0xff], [0xff, 0xd8], jpegEnd),
  'JPEG stray zeros': (size = LARGEST_PICTURE) => filled(size, [0xff, 0], [0xff, 0xd8, 0xff, 0], jpegEnd),
  'JPEG pixels of FF 00': (size = LARGEST_PICTURE) =>
    filled(size, [0xff, 0], concat([0xff, 0xd8], jpegFrame(64, 64), jpegScan), jpegEnd),
  'JPEG pixels of restart markers': (size = LARGEST_PICTURE) =>
    filled(size, [0xff, 0xd0], concat([0xff, 0xd8], jpegFrame(64, 64), jpegScan), jpegEnd),
  'JPEG pixels of fill bytes': (size = LARGEST_PICTURE) =>
    filled(size, [0xff, 0xff, 0xff, 0], concat([0xff, 0xd8], jpegFrame(64, 64), jpegScan), jpegEnd),
  'JPEG pixels of fill bytes and FF 00 in turns': (size = LARGEST_PICTURE) =>
    filled(size, [0, 0xff], concat([0xff, 0xd8], jpegFrame(64, 64), jpegScan), concat([0], jpegEnd)),
  'JPEG scans of 100 megapixels': () =>
    concat(
      concat([0xff, 0xd8], jpegFrame(10_000, 10_000, 0xc2)),
      ...Array.from({ length: 100 }, () => concat(jpegScan, new Uint8Array(4000))),
      jpegEnd,
    ),
};

function pngChunk(type: string, data: Bytes = []): Uint8Array {
  const named = concat(type, data);
  return concat(big(named.length - 4, 4), named, big(crc32(named), 4));
}

const pngStart = concat('\x89PNG\r\n\x1a\n', pngChunk('IHDR', concat(big(8, 4), big(8, 4), [8, 2, 0, 0, 0])));
const pngEnd = pngChunk('IEND');

/** EXIF data with as many directory entries as may be, none of which is the orientation. */
function exifEntries(count: number): Uint8Array {
  return concat('II*\0', little(8, 4), little(count, 2), new Uint8Array(count * 12 + 4));
}

const pngs: WorstCases = {
  'PNG pixels in chunks of nothing': (size = LARGEST_PICTURE) =>
    filled(size, pngChunk('IDAT'), pngStart, pngEnd),
  'PNG texts of nothing': (size = LARGEST_PICTURE) => filled(size, pngChunk('tEXt'), pngStart, pngEnd),
  'PNG pixels in one chunk': (size = LARGEST_PICTURE) =>
    concat(pngStart, pngChunk('IDAT', new Uint8Array(size - 100)), pngEnd),
  'PNG with EXIF again and again': (size = LARGEST_PICTURE) =>
    filled(size, pngChunk('eXIf', exifEntries(65_535)), pngStart, pngEnd),
  'PNG with short EXIF again and again': (size = LARGEST_PICTURE) =>
    filled(size, pngChunk('eXIf', exifEntries(1)), pngStart, pngEnd),
};

function riff(size: number, unit: Bytes, start: Bytes = []): Uint8Array {
  const bytes = filled(size, unit, concat('RIFF\0\0\0\0WEBP', start));
  bytes.set(little(bytes.length - 8, 4), 4);
  return bytes;
}

const webps: WorstCases = {
  'WebP chunks of nothing': (size = LARGEST_PICTURE) => riff(size, 'JUNK\0\0\0\0'),
  'WebP with EXIF again and again': (size = LARGEST_PICTURE) => {
    const exif = exifEntries(65_535);
    return riff(size, concat('EXIF', little(exif.length, 4), exif), 'VP8L\x06\0\0\0\x2f\0\0\0\0\0');
  },
  'WebP with short EXIF again and again': (size = LARGEST_PICTURE) => {
    const exif = exifEntries(1);
    return riff(size, concat('EXIF', little(exif.length, 4), exif), 'VP8L\x06\0\0\0\x2f\0\0\0\0\0');
  },
};

const gifStart = concat('GIF89a', little(10, 2), little(10, 2), [0, 0, 0]);
const gifFrame = concat([0x2c], new Uint8Array(4), little(10, 2), little(10, 2), [0, 2]);

const gifs: WorstCases = {
  'GIF comment in blocks of a letter': (size = LARGEST_PICTURE) =>
    filled(size, '\x01a', concat(gifStart, [0x21, 0xfe]), concat([0], gifFrame, [0])),
  'GIF comments of nothing': (size = LARGEST_PICTURE) =>
    filled(size, [0x21, 0xfe, 0], gifStart, concat(gifFrame, [0])),
  'GIF pixels in blocks of a byte': (size = LARGEST_PICTURE) =>
    filled(size, [1, 0], concat(gifStart, gifFrame), [0]),
  'GIF transparent again and again': (size = LARGEST_PICTURE) =>
    filled(size, [0x21, 0xf9, 4, 1, 0, 0, 0, 0], gifStart, concat(gifFrame, [0])),
};

/** A classic TIFF, or a big one, with a directory that is given, and bytes behind it. */
function tiff(entries: readonly Uint8Array[], behind: Bytes, isBig = false): Uint8Array {
  const start = isBig
    ? concat('II+\0', little(8, 2), little(0, 2), little(16, 8))
    : concat('II*\0', little(8, 4));
  const count = little(entries.length, isBig ? 8 : 2);
  return concat(start, count, ...entries, new Uint8Array(isBig ? 8 : 4), behind);
}

const tiffTags = [
  ...[254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330],
  ...[338, 339, 347, 513, 514, 530, 532, 34_665, 50_706],
];

const tiffs: WorstCases = {
  'TIFF tags of a million values': () => {
    const offset = 8 + 2 + tiffTags.length * 12 + 4;
    const entries = tiffTags.map((tag) =>
      concat(little(tag, 2), little(1, 2), little(1_000_000, 4), little(offset, 4)),
    );
    return tiff(entries, new Uint8Array(1_000_000).fill(1));
  },
  'TIFF tags of half a million long values': () => {
    const tags = tiffTags.filter((tag) => tag !== 254 && tag !== 50706);
    const offset = 16 + 8 + tags.length * 20 + 8;
    const entries = tags.map((tag) =>
      concat(little(tag, 2), little(16, 2), little(500_000, 8), little(offset, 8)),
    );
    return tiff(entries, filled(4_000_000, [1, 0, 0, 0, 0, 0, 0, 0]), true);
  },
  'TIFF strips by the half million': () => {
    const offset = 8 + 2 + 9 * 12 + 4;
    const short = (tag: number, value: number) =>
      concat(little(tag, 2), little(3, 2), little(1, 4), little(value, 4));
    const long = (tag: number) => concat(little(tag, 2), little(4, 2), little(500_000, 4), little(offset, 4));
    return tiff(
      [
        ...[short(256, 1), short(257, 1), short(262, 1), long(273), long(279), short(322, 1), short(323, 1)],
        ...[long(324), long(325)],
      ],
      new Uint8Array(2_000_000),
    );
  },
  'raw previews that all reach to the end': (size = LARGEST_PICTURE) => {
    // A JPEG that is nothing but its frame and scan headers; restart markers follow until the end of the file.
    const start = [
      ...[0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 16, 0, 16, 0, 1, 1, 0x11, 0],
      ...[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0],
    ];
    const count = 16;
    const entry = (tag: number, value: number) =>
      concat(little(tag, 2), little(4, 2), little(1, 4), little(value, 4));
    const directoryBytes = 2 + 3 * 12 + 4;
    const first = 8 + count * directoryBytes;
    const directories = Array.from({ length: count }, (_, index) => {
      const at = first + index * start.length;
      const next = index + 1 < count ? 8 + (index + 1) * directoryBytes : 0;
      return concat(
        little(3, 2),
        entry(513, at),
        entry(514, size - at - 2),
        entry(50_706, 1),
        little(next, 4),
      );
    });
    const previews = Array.from({ length: count }, () => concat(start));
    return filled(size, [0xff, 0xd0], concat('II*\0', little(8, 4), ...directories, ...previews));
  },
  'TIFF with a long directory': (size = LARGEST_PICTURE) => {
    const count = Math.floor((size - 100) / 20);
    const bytes = filled(
      size,
      concat(little(60_000, 2), little(1, 2), little(1, 8), little(0, 8)),
      concat('II+\0', little(8, 2), little(0, 2), little(16, 8), little(count, 8)),
      new Uint8Array(60),
    );
    return bytes;
  },
};

function box(type: string, ...contents: readonly Bytes[]): Uint8Array {
  const body = concat(...contents);
  return concat(big(8 + body.length, 4), type, body);
}

function fullBox(type: string, ...contents: readonly Bytes[]): Uint8Array {
  return box(type, new Uint8Array(4), ...contents);
}

const ispe = (width: number, height: number) => fullBox('ispe', big(width, 4), big(height, 4));
const infe = (id: number) => box('infe', [2, 0, 0, 0], big(id, 2), [0, 0], 'av01\0');
const av1C = box('av1C', [0x81, 0, 0, 0]);
const brands = box('ftyp', 'avif\0\0\0\0avifmif1');

/** An AVIF of 64 × 64 pixels whose tables are given. */
function avif(
  {
    iloc = ilocOf([{ id: 1, extents: [[0, 1]] }]),
    properties = [],
    ipma = fullBox('ipma', big(1, 4), big(1, 2), [2, 0x81, 0x82]),
  }: {
    iloc?: Uint8Array;
    properties?: readonly Uint8Array[];
    ipma?: Uint8Array;
  },
  ...behind: readonly Uint8Array[]
): Uint8Array {
  const meta = fullBox(
    'meta',
    fullBox('pitm', big(1, 2)),
    fullBox('iinf', big(1, 2), infe(1)),
    box('iprp', box('ipco', ispe(64, 64), av1C, ...properties), ipma),
    iloc,
  );
  return concat(brands, meta, ...behind);
}

/** Items whose data lies where `extents` says. */
function ilocOf(
  items: readonly { id: number; extents: readonly (readonly [offset: number, length: number])[] }[],
) {
  return fullBox(
    'iloc',
    [0x44, 0],
    big(items.length, 2),
    ...items.map(({ id, extents }) =>
      concat(
        big(id, 2),
        [0, 0],
        big(extents.length, 2),
        ...extents.map(([at, length]) => concat(big(at, 4), big(length, 4))),
      ),
    ),
  );
}

/** An AVIF whose picture is one stream. */
function streamAvif(stream: Uint8Array): Uint8Array {
  const at = avif({}).length + 8;
  return avif({ iloc: ilocOf([{ id: 1, extents: [[at, stream.length]] }]) }, box('mdat', stream));
}

const avifs: WorstCases = {
  'AVIF extents that take no bytes': () =>
    avif({
      iloc: fullBox(
        'iloc',
        [0, 0],
        big(1000, 2),
        ...Array.from({ length: 1000 }, (_, item) => concat(big(item + 2, 2), [0, 0], big(65_535, 2))),
      ),
    }),
  'AVIF extents as many as fit': () =>
    avif({
      iloc: ilocOf(
        Array.from({ length: 2 }, (_, item) => ({
          id: item + 1,
          extents: Array.from({ length: 65_000 }, () => [0, 1] as const),
        })),
      ),
    }),
  'AVIF items of no extents': () =>
    avif({
      iloc: fullBox(
        'iloc',
        [0, 0],
        big(65_535, 2),
        ...Array.from({ length: 65_535 }, (_, id) => concat(big(id, 2), big(0, 4))),
      ),
    }),
  'AVIF number without an end': (size = LARGEST_PICTURE) => {
    return streamAvif(filled(size - 1000, [0], [0x08, 4, 0, 0, 0, 0, 0, 0, 0, 2]));
  },
  'AVIF stream of many units': (size = LARGEST_PICTURE) => streamAvif(filled(size - 1000, [0x12, 0])),
  // A unit of no bytes whose header is read out of those that follow: 32 operating points, each with a tier.
  'AVIF stream of the same header': (size = LARGEST_PICTURE) => streamAvif(filled(size - 1000, [0x0a, 0])),
  'AVIF pieces by the thousand': (size = LARGEST_PICTURE) => {
    const pieces = 65_000;
    const located = (start: number, bytes: number) =>
      ilocOf([
        {
          id: 1,
          extents: Array.from({ length: pieces }, (_, piece) => [start + piece * bytes, bytes] as const),
        },
      ]);
    const start = avif({ iloc: located(0, 1) }).length + 8;
    const bytes = Math.floor((size - start) / pieces);
    return avif({ iloc: located(start, bytes) }, box('mdat', new Uint8Array(bytes * pieces)));
  },
  'AVIF associations as many as fit': () =>
    avif({ ipma: fullBox('ipma', big(0xffff_ffff, 4), filled(1_000_000, [0, 9, 0])) }),
  'AVIF properties as many as may be': () =>
    avif({ properties: Array.from({ length: 9_000 }, () => ispe(64, 64)) }),
  'AVIF with a long name of a plane': (size = LARGEST_PICTURE) =>
    avif({ properties: [box('auxC', new Uint8Array(size - 1000))] }),
  'AVIF boxes of nothing': (size = LARGEST_PICTURE) => filled(size, box('free'), brands),
  'brands as long as the file': (size = LARGEST_PICTURE) =>
    filled(size, 'abcd', concat(big(size, 4), 'ftypzzzz\0\0\0\0')),
};

/** Coded as HEVC, as far as its header says. */
const coded = {
  width: 64,
  height: 64,
  configuration: filled(23, [0]),
  data: new Uint8Array(1),
};

const heics: WorstCases = {
  'HEIC associations as many as fit': () =>
    heif({
      items: [codedItem(1, coded)],
      associations: fullBox('ipma', big(0xffff_ffff, 4), filled(1_000_000, [0, 9, 0])),
    }),
  'HEIC references as many as fit': () => {
    const ids = Array.from({ length: 65_000 }, (_, index) => index);
    const items = [codedItem(1, coded)];
    return heif({
      items,
      references: Array.from({ length: 7 }, (_, from) => ['auxl', from + 1, ids] as const),
    });
  },
  'HEIC tiles by the thousand': () => {
    const ids = Array.from({ length: 60 * 60 }, (_, index) => index + 2);
    return heif({
      items: [
        { id: 1, type: 'grid', properties: [sizeProperty(3840, 3840)], data: gridData(60, 60, 3840, 3840) },
        ...ids.map((id) => codedItem(id, coded)),
      ],
      references: [['dimg', 1, ids]],
    });
  },
  'HEIC tiles of nothing': () =>
    heif({
      items: [
        { id: 1, type: 'grid', properties: [sizeProperty(8, 8)], data: gridData(256, 256, 8, 8) },
        codedItem(2, coded),
      ],
      references: [['dimg', 1, Array.from({ length: 65_535 }, () => 2)]],
    }),
  'HEIC items in items': () => {
    const data = filled(3000, [0]);
    const within = (id: number) =>
      ({ ...codedItem(id, { ...coded, data }), place: { item: id + 1, offset: 0 }, pieceBytes: 1 }) as const;
    return heif({ items: [...[1, 2, 3, 4, 5].map(within), { id: 6, type: 'mime', data }] });
  },
  'HEIC tracks as many as fit': (size = LARGEST_PICTURE) => {
    const track = box('trak', box('mdia', filled(6000, box('free'))));
    const tracks = filled(Math.min(size - 1000, track.length * 9999), track);
    return concat(box('ftyp', 'hevc\0\0\0\0hevcmsf1'), box('moov', tracks));
  },
};

/** Pictures, by what they are full of. */
export const worstPictures: WorstCases = {
  ...jpegs,
  ...pngs,
  ...webps,
  ...gifs,
  ...tiffs,
  ...avifs,
  ...heics,
  'a text as long as a picture': (size = LARGEST_PICTURE) => filled(size, ' '),
};

const json = (size: number, unit: string, before = '[', after = '"z"]') => filled(size, unit, before, after);

function numbered(size: number, text: (index: number) => string): Uint8Array {
  const parts: string[] = [];
  for (let length = 0, index = 0; length < size; index++) {
    const part = text(index);
    length += part.length;
    if (length < size) parts.push(part);
  }
  return Buffer.from(parts.join(''));
}

/** Categories documents. */
export const worstDocuments: WorstCases = {
  'a,a,…': (size = LARGEST_DOCUMENT) => filled(size, 'a,'),
  'lines of a letter': (size = LARGEST_DOCUMENT) => filled(size, 'a\n'),
  'different labels': (size = LARGEST_DOCUMENT) => numbered(size, (index) => `${index},`),
  'different lines': (size = LARGEST_DOCUMENT) => numbered(size, (index) => `${index.toString(36)}\n`),
  'empty quotes': (size = LARGEST_DOCUMENT) => filled(size, '"",'),
  'quoted letters': (size = LARGEST_DOCUMENT) => filled(size, '"a",'),
  commas: (size = LARGEST_DOCUMENT) => filled(size, ','),
  semicolons: (size = LARGEST_DOCUMENT) => filled(size, ';'),
  tabs: (size = LARGEST_DOCUMENT) => filled(size, '\t'),
  'tabs behind a letter': (size = LARGEST_DOCUMENT) => filled(size, '\t', 'a'),
  'line feeds': (size = LARGEST_DOCUMENT) => filled(size, '\n'),
  'carriage returns': (size = LARGEST_DOCUMENT) => filled(size, '\r\n'),
  blanks: (size = LARGEST_DOCUMENT) => filled(size, ' '),
  'blanks behind a letter': (size = LARGEST_DOCUMENT) => filled(size, ' ', 'a', 'b'),
  'blanks between letters': (size = LARGEST_DOCUMENT) => filled(size, 'a '),
  'blanks and tabs': (size = LARGEST_DOCUMENT) => filled(size, ' \t', 'a,'),
  'quotes only': (size = LARGEST_DOCUMENT) => filled(size, '"'),
  'one quoted label of quotes': (size = LARGEST_DOCUMENT) => filled(size, '""', '"', '"'),
  'quotes within a label': (size = LARGEST_DOCUMENT) => filled(size, 'a"'),
  'a quote that never closes': (size = LARGEST_DOCUMENT) => filled(size, 'a,', '"'),
  'a quote that never closes, at the end': (size = LARGEST_DOCUMENT) => filled(size, 'aaaa\n', '', '"'),
  'a quote that closes amid its label': (size = LARGEST_DOCUMENT) => filled(size, 'a', '"b" '),
  'long labels': (size = LARGEST_DOCUMENT) => filled(size, `${'a'.repeat(4000)},`),
  'long quoted labels': (size = LARGEST_DOCUMENT) => filled(size, `"${'a, '.repeat(1000)}",`),
  'labels of forty letters': (size = LARGEST_DOCUMENT) =>
    numbered(size, (index) => `${'x'.repeat(38)}${index},`),
  'quoted labels of forty letters': (size = LARGEST_DOCUMENT) =>
    numbered(size, (index) => `"${'x'.repeat(38)}${index}",`),
  'one label of letters': (size = LARGEST_DOCUMENT) => filled(size, 'a'),
  'references without an end': (size = LARGEST_DOCUMENT) => filled(size, '&'),
  'references with an end': (size = LARGEST_DOCUMENT) => filled(size, '&a;'),
  'line separators': (size = LARGEST_DOCUMENT) => numbered(size / 3, () => 'a\u2028'),
  'JSON strings of a letter': (size = LARGEST_DOCUMENT) => json(size, '"a",'),
  'JSON empty strings': (size = LARGEST_DOCUMENT) => json(size, '"",'),
  'JSON different strings': (size = LARGEST_DOCUMENT) =>
    concat(
      '[',
      numbered(size - 10, (index) => `"${index}",`),
      '"z"]',
    ),
  'JSON strings of forty letters': (size = LARGEST_DOCUMENT) =>
    concat(
      '[',
      numbered(size - 10, (index) => `"${'x'.repeat(38)}${index}",`),
      '"z"]',
    ),
  'JSON nested': (size = LARGEST_DOCUMENT) => filled(size, '['),
  'JSON nested and closed': (size = LARGEST_DOCUMENT) => concat(filled(size / 2, '['), filled(size / 2, ']')),
  'JSON objects nested': (size = LARGEST_DOCUMENT) => filled(size, '{"a":'),
  'JSON empty lists': (size = LARGEST_DOCUMENT) => json(size, '[],'),
  'JSON objects': (size = LARGEST_DOCUMENT) => json(size, '{"a":1},'),
  'JSON numbers': (size = LARGEST_DOCUMENT) => json(size, '1,'),
  'JSON different keys': (size = LARGEST_DOCUMENT) =>
    concat(
      '{',
      numbered(size - 30, (index) => `"k${index}":1,`),
      '"categories":["a"]}',
    ),
  'JSON the same key': (size = LARGEST_DOCUMENT) => json(size, '"a":1,', '{', '"categories":["a"]}'),
  'JSON one long string': (size = LARGEST_DOCUMENT) => json(size, 'a', '["', '"]'),
  'JSON one string of escapes': (size = LARGEST_DOCUMENT) => json(size, '\\u0061', '["', '"]'),
  'JSON blanks': (size = LARGEST_DOCUMENT) => json(size, ' '),
  'JSON with a fault at the end': (size = LARGEST_DOCUMENT) => json(size, '"a",', '[', '"z" "y"]'),
  'JSON of numbers with a fault at the end': (size = LARGEST_DOCUMENT) => json(size, '1,', '[', '2 3]'),
  'JSON of blanks with a fault at the end': (size = LARGEST_DOCUMENT) => json(size, ' ', '[', '2 3]'),
  'JSON of lines with a fault at the end': (size = LARGEST_DOCUMENT) => json(size, '\n', '[', '2 3]'),
  'JSON of symbols': (size = LARGEST_DOCUMENT) => json(size, "'", '[', ']'),
  'JSON comments': (size = LARGEST_DOCUMENT) => json(size, '/**/', '[', ']'),
  'JSON long string with a fault at the end': (size = LARGEST_DOCUMENT) => json(size, 'a', '["', '"'),
  'JSON escapes with a fault at the end': (size = LARGEST_DOCUMENT) => json(size, '\\n', '["', '"'),
  'JSON brackets that close': (size = LARGEST_DOCUMENT) => json(size, ']', '[', ']'),
  'replacement characters before a fault': (size = LARGEST_DOCUMENT) =>
    filled(size, [0xef, 0xbf, 0xbd], [], [0xff]),
  'invalid bytes': (size = LARGEST_DOCUMENT) => filled(size, [0xff], 'a'),
  'UTF-16 of letters': (size = LARGEST_DOCUMENT) => filled(size, 'a\0', [0xff, 0xfe]),
  'UTF-16 of commas, big-endian': (size = LARGEST_DOCUMENT) => filled(size, '\0,', [0xfe, 0xff]),
  'UTF-16 with half a pair at the end': (size = LARGEST_DOCUMENT) =>
    filled(size, 'a\0', [0xff, 0xfe], [0, 0xd8]),
  'control characters': (size = LARGEST_DOCUMENT) => filled(size, '\x01\x01,'),
};

/** Texts of a category, at most as long as any that is looked at. */
export const worstLabels: Readonly<Record<string, string>> = {
  'a word of a letter': 'a'.repeat(4096),
  'a word of a letter that just fits': 'a'.repeat(2400),
  'a word of many merges': 'abcdefghijklmnopqrstuvwxyz'.repeat(90),
  // A letter's place in the alphabet jumps about, as by chance.
  'a word of different merges': Array.from({ length: 2400 }, (_, at) =>
    String.fromCharCode(97 + ((at * at * 31 + at * 17 + (at >> 3) * 7) % 26)),
  ).join(''),
  'a word of many languages': 'aжλ猫'.repeat(250),
  'a word of signs': '!?.,'.repeat(600),
  digits: '0123456789'.repeat(240),
  'words of a letter': 'a '.repeat(2400),
  'HTML references in references': `&${'amp;'.repeat(1200)}`,
  'HTML references': '&amp;'.repeat(960),
  'HTML references in capitals': '&EACUTE;'.repeat(600),
  ampersands: '&'.repeat(4800),
  'HTML references without an end': '&amp'.repeat(1200),
  'numbers of characters': '&#65;'.repeat(960),
  'a number of a character': `&#${'0'.repeat(4700)}65;`,
  'combining marks': `a${'\u0301\u0323'.repeat(2000)}`,
  'combining marks that just fit': `a${'\u0301'.repeat(1231)}${'\u0323'.repeat(1231)}`,
  'combining marks in the wrong order': `a${'\u0301'.repeat(2000)}${'\u0323'.repeat(2000)}`,
  'full-width forms': '\uff21'.repeat(1600),
  'the longest compatibility form': '\ufdfa'.repeat(1600),
  ligatures: 'ﬃ'.repeat(1600),
  'half pairs': '\ud800'.repeat(4800),
  'line feeds': 'a\n'.repeat(2400),
  'terminal escapes': '\x1b['.repeat(2400),
  'long terminal escape': `\x1b[${'1'.repeat(4700)}`,
  apostrophes: "'".repeat(4800),
  'letters that grow in lower case': 'İ'.repeat(2400),
  'start tokens': '<|startoftext|>'.repeat(320),
};
