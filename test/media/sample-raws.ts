import { concat, exifSegment, uint32be, uint32le, withSegments } from './sample-pictures.ts';
import { type TiffFileOptions, type TiffTag, tiffFile } from './sample-tiffs.ts';

/** What stands for sensor values. */
export const sensor = new Uint8Array(600).fill(77);

/** The JPEG with the marker of a lossless one, as sensor values begin. */
export function losslessLike(jpeg: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(jpeg);
  const frame = Buffer.from(bytes.buffer).indexOf(Buffer.from([0xff, 0xc0]));
  if (frame !== -1) bytes[frame + 1] = 0xc3;
  return bytes;
}

export const make = (text: string): TiffTag => [271, 2, text];
export const turned = (orientation: number): TiffTag => [274, 3, [orientation]];
const reduced: TiffTag = [254, 4, [1]];
export const pointer = (start: number, bytes: Uint8Array): readonly TiffTag[] => [
  [513, 4, [start]],
  [514, 4, [bytes.length]],
];
export const strip = (compression: number, start: number, bytes: Uint8Array): readonly TiffTag[] => [
  [259, 3, [compression]],
  [273, 4, [start]],
  [279, 4, [bytes.length]],
];
/** Pixels of 160 × 120, the picture of a raw file for programs that do not know it. */
export const tinyPage: readonly TiffTag[] = [
  reduced,
  [256, 3, [10]],
  [257, 3, [10]],
  [258, 3, [8]],
  [262, 3, [1]],
];
export const cfa: TiffTag = [262, 3, [32_803]];

export interface RawParts {
  readonly orientation?: number;
  /** The largest JPEG, a smaller one, and the smallest. */
  readonly jpegs: readonly [Uint8Array, Uint8Array, Uint8Array];
  readonly options?: TiffFileOptions;
}

/** Raw files as cameras lay them out. */
const layouts = {
  DNG: ({ orientation = 1, jpegs, options }: RawParts) =>
    tiffFile(
      [...jpegs, sensor],
      ([first = 0, second = 0, third = 0, raw = 0]) => [
        {
          tags: [
            [50_706, 1, [1, 4, 0, 0]],
            make('Some Phone'),
            turned(orientation),
            ...tinyPage,
            ...strip(7, third, jpegs[2]),
          ],
          subDirectories: [
            { tags: [cfa, ...strip(7, raw, sensor)] },
            { tags: [reduced, [262, 3, [6]], ...strip(7, second, jpegs[1])] },
            { tags: [reduced, [262, 3, [6]], ...strip(7, first, jpegs[0])] },
          ],
        },
      ],
      options,
    ),
  NEF: ({ orientation = 1, jpegs, options }: RawParts) =>
    tiffFile(
      [...jpegs, sensor],
      ([first = 0, second = 0, third = 0, raw = 0]) => [
        {
          tags: [make('NIKON CORPORATION'), turned(orientation), ...tinyPage, ...strip(1, third, sensor)],
          subDirectories: [
            { tags: [reduced, [259, 3, [6]], ...pointer(second, jpegs[1])] },
            { tags: [cfa, ...strip(34_713, raw, sensor)] },
            { tags: [reduced, [259, 3, [6]], ...pointer(first, jpegs[0])] },
          ],
        },
      ],
      { isLittleEndian: false, ...options },
    ),
  CR2: ({ orientation = 1, jpegs, options }: RawParts) => {
    const bytes = tiffFile(
      [...jpegs, losslessLike(jpegs[0])],
      ([first = 0, , third = 0, raw = 0]) => [
        { tags: [make('Canon'), turned(orientation), ...strip(6, first, jpegs[0])] },
        { tags: pointer(third, jpegs[2]) },
        { tags: strip(6, raw, jpegs[0]) },
      ],
      options,
    );
    bytes.set(concat('CR\x02\0'), 8);
    return bytes;
  },
  ARW: ({ orientation = 1, jpegs, options }: RawParts) =>
    tiffFile(
      [...jpegs, sensor],
      ([first = 0, , third = 0, raw = 0]) => [
        {
          tags: [reduced, make('SONY'), turned(orientation), [259, 3, [6]], ...pointer(first, jpegs[0])],
          subDirectories: [{ tags: [cfa, ...strip(32_767, raw, sensor)] }],
        },
        { tags: [[259, 3, [6]], ...pointer(third, jpegs[2])] },
      ],
      options,
    ),
  PEF: ({ orientation = 1, jpegs, options }: RawParts) =>
    tiffFile(
      [...jpegs, sensor],
      ([first = 0, , third = 0, raw = 0]) => [
        { tags: [make('PENTAX'), turned(orientation), cfa, ...strip(65_535, raw, sensor)] },
        { tags: pointer(third, jpegs[2]) },
        { tags: pointer(first, jpegs[0]) },
      ],
      { isLittleEndian: false, ...options },
    ),
  RW2: ({ orientation = 1, jpegs }: RawParts) =>
    tiffFile([], () => [{ tags: [[0x2e, 7, jpegs[0]], make('Panasonic'), turned(orientation)] }], {
      start: 'IIU\0',
    }),
  ORF: ({ orientation = 1, jpegs }: RawParts) => {
    const entry = (tag: number, type: number, value: number) =>
      concat([tag & 0xff, tag >> 8, type, 0], uint32le(1), uint32le(value));
    // Offsets count from the beginning of the notes.
    const notes = concat(
      'OLYMPUS\0II\x03\0',
      [1, 0],
      entry(0x2020, 13, 30),
      uint32le(0),
      [2, 0],
      entry(0x101, 4, 60),
      entry(0x102, 4, jpegs[0].length),
      uint32le(0),
      jpegs[0],
    );
    return tiffFile(
      [sensor],
      ([raw = 0]) => [
        {
          tags: [make('OLYMPUS CORPORATION'), turned(orientation), ...strip(1, raw, sensor)],
          exif: { tags: [[37_500, 7, notes]] },
        },
      ],
      { start: 'IIRO' },
    );
  },
  /** The JPEG has the orientation. */
  RAF: ({ orientation = 1, jpegs }: RawParts) => {
    const shown = withSegments(jpegs[0], exifSegment(orientation));
    const start = concat('FUJIFILMCCD-RAW 0201', new Uint8Array(64), uint32be(120), uint32be(shown.length));
    return concat(start, new Uint8Array(120 - start.length), shown, sensor);
  },
  CR3: ({ orientation = 1, jpegs }: RawParts) => {
    const notes = tiffFile([], () => [{ tags: [make('Canon'), turned(orientation)] }]);
    const table = (at: number) =>
      box(
        'stbl',
        box('stsz', uint32be(0), uint32be(jpegs[0].length), uint32be(1)),
        box('co64', uint32be(0), uint32be(1), uint32be(0), uint32be(at)),
      );
    const start = (at: number) =>
      concat(
        box('ftyp', 'crx ', uint32be(1), 'crx isom'),
        box(
          'moov',
          box('uuid', '\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48', box('CMT1', notes)),
          box('trak', box('mdia', box('minf', table(at)))),
        ),
        box(
          'uuid',
          '\xea\xf4\x2b\x5e\x1c\x98\x4b\x88\xb9\xfb\xb7\xdc\x40\x6e\x4d\x16',
          [0, 0, 0, 0, 0, 0, 0, 1],
          box('PRVW', uint32be(0), [0, 1, 1, 64, 0, 214, 0, 1], uint32be(jpegs[1].length), jpegs[1]),
        ),
      );
    return concat(start(start(0).length + 8), box('mdat', jpegs[0], sensor));
  },
} as const;

function box(type: string, ...content: readonly (Uint8Array | readonly number[] | string)[]): Uint8Array {
  const body = concat(...content);
  return concat(uint32be(8 + body.length), type, body);
}

export type RawKind = keyof typeof layouts;
export const rawKinds = Object.keys(layouts) as RawKind[];

/** A raw file as cameras lay it out, with little else than its previews. */
export function rawFile(kind: RawKind, parts: RawParts): Uint8Array {
  return layouts[kind](parts);
}
