import { deflateSync, zstdCompressSync } from 'node:zlib';
import { concat } from './sample-pictures.ts';

/** [tag, type, values]; types: 1 byte, 2 ASCII, 3 short, 4 long, 5 rational (of whole numbers), 7 bytes, 13 directory. */
export type TiffTag = readonly [
  tag: number,
  type: keyof typeof bytesByType,
  values: readonly number[] | string | Uint8Array,
];

const bytesByType = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 13: 4, 16: 8 } as const;

export interface TiffDirectoryParts {
  readonly tags: readonly TiffTag[];
  /** Their places become the tag 330. */
  readonly subDirectories?: readonly TiffDirectoryParts[];
  /** Its place becomes the tag 34665. */
  readonly exif?: TiffDirectoryParts;
}

export interface TiffFileOptions {
  readonly isLittleEndian?: boolean;
  readonly isBig?: boolean;
  /** The first bytes, in place of those of a TIFF. */
  readonly start?: string;
}

/**
 * A file of TIFF directories with data before them.
 * @param data lies at the places that `directories` gets
 * @param directories follow one another
 */
export function tiffFile(
  data: readonly Uint8Array[],
  directories: (places: readonly number[]) => readonly TiffDirectoryParts[],
  { isLittleEndian = true, isBig = false, start }: TiffFileOptions = {},
): Uint8Array {
  const number = (value: number, bytes: number): Uint8Array => {
    const out = Buffer.alloc(bytes);
    if (bytes === 8) {
      if (isLittleEndian) out.writeBigUInt64LE(BigInt(value));
      else out.writeBigUInt64BE(BigInt(value));
    } else if (isLittleEndian) out.writeUIntLE(value, 0, bytes);
    else out.writeUIntBE(value, 0, bytes);
    return out;
  };
  const pointerBytes = isBig ? 8 : 4;
  const pieces: Uint8Array[] = [];
  let length = 16;
  const append = (piece: Uint8Array): number => {
    const at = length;
    pieces.push(piece);
    length += piece.length;
    return at;
  };
  const valueBytes = (type: TiffTag[1], values: TiffTag[2]): Uint8Array => {
    if (typeof values === 'string') return concat(values, [0]);
    if (values instanceof Uint8Array) return values;
    const size = bytesByType[type];
    return concat(
      ...values.map((value) => (type === 5 ? concat(number(value, 4), number(1, 4)) : number(value, size))),
    );
  };
  const writeDirectory = ({ tags, subDirectories = [], exif }: TiffDirectoryParts, next: number): number => {
    const pointers = subDirectories.map((directory) => writeDirectory(directory, 0));
    const all: TiffTag[] = [...tags];
    if (pointers.length > 0) all.push([330, isBig ? 16 : 4, pointers]);
    if (exif) all.push([34_665, 4, [writeDirectory(exif, 0)]]);
    const entries = all
      .sort(([one], [other]) => one - other)
      .map(([tag, type, values]) => {
        const bytes = valueBytes(type, values);
        const inline =
          bytes.length <= pointerBytes
            ? concat(bytes, new Uint8Array(pointerBytes - bytes.length))
            : number(append(bytes), pointerBytes);
        return concat(
          number(tag, 2),
          number(type, 2),
          number(bytes.length / bytesByType[type], pointerBytes),
          inline,
        );
      });
    return append(concat(number(entries.length, isBig ? 8 : 2), ...entries, number(next, pointerBytes)));
  };
  const places = data.map(append);
  const first = [...directories(places)]
    .reverse()
    .reduce((next, directory) => writeDirectory(directory, next), 0);
  const header = isBig
    ? concat(isLittleEndian ? 'II+\0' : 'MM\0+', number(8, 2), number(0, 2), number(first, 8))
    : concat(start ?? (isLittleEndian ? 'II*\0' : 'MM\0*'), number(first, 4), new Uint8Array(8));
  return concat(header, ...pieces);
}

type TiffCompression = 'none' | 'lzw' | 'old lzw' | 'deflate' | 'packbits' | 'zstd';

const compressionNumbers = {
  none: 1,
  lzw: 5,
  'old lzw': 5,
  deflate: 8,
  packbits: 32773,
  zstd: 50000,
} as const satisfies Record<TiffCompression, number>;

/** How the samples of a picture are stored. */
export interface TiffVariant extends TiffFileOptions {
  readonly width: number;
  readonly height: number;
  readonly photometric: number;
  readonly bits: number;
  /** The samples of a pixel, each of `bits` bits. */
  readonly samples: (x: number, y: number) => readonly number[];
  /** Kinds of those samples that are not of the colour. */
  readonly extraSamples?: readonly number[];
  readonly compression?: TiffCompression;
  readonly hasDifferences?: boolean;
  /** Width and height of a tile; strips of 5 rows where it is left out. */
  readonly tile?: readonly [width: number, height: number];
  readonly isPlanar?: boolean;
  readonly isReversed?: boolean;
  readonly tags?: readonly TiffTag[];
}

const ROWS_A_STRIP = 5;

/** A TIFF of any variant, apart from JPEG and fax compression. */
export function tiffOf(variant: TiffVariant): Uint8Array {
  const { width, height, photometric, bits, extraSamples = [], compression = 'none' } = variant;
  const { isPlanar = false, hasDifferences = false, isReversed = false, tile, tags = [] } = variant;
  const sampleCount = variant.samples(0, 0).length;
  const [blockWidth, blockHeight] = tile ?? [width, ROWS_A_STRIP];
  const blocks: Uint8Array[] = [];
  for (let plane = 0; plane < (isPlanar ? sampleCount : 1); plane++) {
    for (let top = 0; top < height; top += blockHeight) {
      for (let left = 0; left < width; left += blockWidth) {
        const rows = tile ? blockHeight : Math.min(blockHeight, height - top);
        const packed = Array.from({ length: rows }, (_, y) => {
          const pixels = Array.from({ length: blockWidth }, (_, x) => {
            const samples = variant.samples(Math.min(left + x, width - 1), Math.min(top + y, height - 1));
            return isPlanar ? [samples[plane]!] : samples;
          });
          return packRow(hasDifferences ? differences(pixels, bits) : pixels.flat(), variant);
        });
        const data = compress(concat(...packed), compression);
        blocks.push(isReversed ? data.map(reverse) : data);
      }
    }
  }
  const counts = blocks.map(({ length }) => length);
  return tiffFile(
    blocks,
    (places) => [
      {
        tags: [
          [256, 3, [width]],
          [257, 3, [height]],
          [258, 3, new Array<number>(sampleCount).fill(bits)],
          [259, 3, [compressionNumbers[compression]]],
          [262, 3, [photometric]],
          ...(isReversed ? ([[266, 3, [2]]] as const) : []),
          [277, 3, [sampleCount]],
          [284, 3, [isPlanar ? 2 : 1]],
          ...(hasDifferences ? ([[317, 3, [2]]] as const) : []),
          ...(tile
            ? ([
                [322, 3, [blockWidth]],
                [323, 3, [blockHeight]],
                [324, 4, places],
                [325, 4, counts],
              ] as const)
            : ([
                [273, 4, places],
                [278, 3, [ROWS_A_STRIP]],
                [279, 4, counts],
              ] as const)),
          ...(extraSamples.length > 0 ? ([[338, 3, extraSamples]] as const) : []),
          ...tags,
        ],
      },
    ],
    variant,
  );
}

function differences(pixels: readonly (readonly number[])[], bits: number): readonly number[] {
  const mask = 2 ** bits - 1;
  return pixels.flatMap((pixel, x) =>
    x === 0 ? pixel : pixel.map((sample, index) => (sample - pixels[x - 1]![index]!) & mask),
  );
}

function packRow(samples: readonly number[], { bits, isLittleEndian = true }: TiffVariant): Uint8Array {
  if (bits === 16) {
    return Uint8Array.from(
      samples.flatMap((sample) =>
        isLittleEndian ? [sample & 0xff, sample >> 8] : [sample >> 8, sample & 0xff],
      ),
    );
  }
  const row = new Uint8Array(Math.ceil((samples.length * bits) / 8));
  for (const [index, sample] of samples.entries()) {
    for (let bit = 0; bit < bits; bit++) {
      const at = index * bits + bit;
      if ((sample >> (bits - 1 - bit)) & 1) row[at >> 3]! |= 0x80 >> (at & 7);
    }
  }
  return row;
}

function compress(data: Uint8Array, compression: TiffCompression): Uint8Array {
  switch (compression) {
    case 'none':
      return data;
    case 'lzw':
      return lzw(data, false);
    case 'old lzw':
      return lzw(data, true);
    case 'deflate':
      return deflateSync(data);
    case 'zstd':
      return zstdCompressSync(data);
    case 'packbits':
      return packBits(data);
  }
}

/** Repeated bytes as runs, all others one by one. */
function packBits(data: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (let at = 0; at < data.length; ) {
    let run = 1;
    while (run < 128 && data[at + run] === data[at]) run += 1;
    out.push(run === 1 ? 0 : 257 - run, data[at]!);
    at += run;
  }
  return Uint8Array.from(out);
}

/** @param isOld with the lowest bits first, and longer codes one code later */
function lzw(data: Uint8Array, isOld: boolean): Uint8Array {
  const bits: number[] = [];
  const early = isOld ? 0 : 1;
  let table = new Map<string, number>();
  let codeBits = 9;
  let next = 258;
  const emit = (code: number) => {
    for (let bit = 0; bit < codeBits; bit++) bits.push((code >> (isOld ? bit : codeBits - 1 - bit)) & 1);
  };
  emit(256);
  let text = '';
  const codeOf = (string: string) => (string.length === 1 ? string.charCodeAt(0) : table.get(string)!);
  for (const byte of data) {
    const longer = text + String.fromCharCode(byte);
    if (longer.length === 1 || table.has(longer)) {
      text = longer;
      continue;
    }
    emit(codeOf(text));
    table.set(longer, next++);
    if (next + early > 2 ** codeBits) codeBits += 1;
    text = String.fromCharCode(byte);
    if (next < 4093) continue;
    emit(codeOf(text));
    emit(256);
    [table, codeBits, next, text] = [new Map(), 9, 258, ''];
  }
  if (text) {
    emit(codeOf(text));
    if (next + 1 + early > 2 ** codeBits && codeBits < 12) codeBits += 1;
  }
  emit(257);
  const out = new Uint8Array(Math.ceil(bits.length / 8));
  for (const [at, bit] of bits.entries()) if (bit) out[at >> 3]! |= isOld ? 1 << (at & 7) : 0x80 >> (at & 7);
  return out;
}

export function reverse(byte: number): number {
  return Number.parseInt(byte.toString(2).padStart(8, '0').split('').reverse().join(''), 2);
}
