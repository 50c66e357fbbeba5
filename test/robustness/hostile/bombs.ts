import { deflateSync, gzipSync } from 'node:zlib';
import {
  avif,
  chunk,
  concat,
  jpeg,
  riff,
  riffChunk,
  segment,
  uint32be,
  uint32le,
  webp,
  webpChunks,
  webpExtension,
} from '../../media/sample-pictures.ts';

/** A small file that holds, or says that it holds, something enormous. */
export interface Bomb {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const MEBI = 1024 ** 2;

export interface BombSize {
  /** What the compressed ones become. */
  readonly inflatedMebibytes: number;
  /** Of the pictures that are within all limits, and take the decoder's time and memory. */
  readonly side: number;
}

/** The largest that the service takes by default: just below 100 megapixels. */
export const largestSide = 9990;

export async function makeBombs({ inflatedMebibytes, side }: BombSize): Promise<readonly Bomb[]> {
  const inflating = deflatedZeros(inflatedMebibytes * MEBI);
  const still = await webp(61, 47);
  const photo = await jpeg(61, 47);
  const av1 = Uint8Array.from(await avif(61, 47));
  const bombs: Readonly<Record<string, Uint8Array>> = {
    'huge declared.png': pngOf(header(100_000, 100_000), idat(deflatedZeros(1000))),
    'overflowing size.png': pngOf(header(2 ** 31 - 1, 2 ** 31 - 1), idat(deflatedZeros(1000))),
    'all of it black.png': pngOf(header(side, side, 1, 0), idat(deflatedZeros(side * (1 + side / 8 + 1)))),
    'more than declared.png': pngOf(header(100, 100), idat(inflating)),
    'inflating text.png': pngOf(header(8, 8), chunk('zTXt', concat('k\0\0', inflating)), soundIdat()),
    'inflating profile.png': pngOf(header(8, 8), chunk('iCCP', concat('k\0\0', inflating)), soundIdat()),
    'many empty chunks.png': pngOf(
      header(8, 8),
      new Uint8Array(Buffer.concat(Array(200_000).fill(chunk('IDAT')))),
      soundIdat(),
    ),
    'huge screen.gif': gifOf(65_535, 65_535, 10, 10, blackLzw(100)),
    'huge frame.gif': gifOf(10, 10, 65_535, 65_535, blackLzw(100)),
    'all of it black.gif': gifOf(side, side, side, side, blackLzw(side * side)),
    'more than declared.gif': gifOf(10, 10, 10, 10, blackLzw(500_000_000)),
    'huge canvas.webp': riff(webpExtension(16_384, 16_384, 0), webpChunks(still)),
    'huge declared.webp': riff(blackVp8l(16_383, 16_383)),
    'all of it black.webp': riff(blackVp8l(side, side)),
    'huge declared.tiff': tiffOf(65_000, 65_000, 1, new Uint8Array(100)),
    'overflowing size.tiff': tiffOf(2 ** 32 - 1, 2 ** 32 - 1, 1, new Uint8Array(100)),
    'all of it black.tiff': tiffOf(side, side, 8, deflatedZeros(side * side)),
    'more than declared.tiff': tiffOf(100, 100, 8, inflating),
    'huge declared.avif': withImageSize(av1, 65_535, 65_535),
    'large declared.avif': withImageSize(av1, side, side),
    'tiny declared.avif': withImageSize(av1, 1, 1),
    'huge declared.jpg': withFrameSize(photo, 65_500, 65_500),
    'large declared.jpg': withFrameSize(photo, side, side),
    'allowed scans.jpg': progressiveJpeg(side, side, 98),
    'many scans.jpg': progressiveJpeg(side, side, 1000),
    'many scans of a small picture.jpg': progressiveJpeg(800, 800, 20_000),
    'huge declared.bmp': bmpOf(2 ** 31 - 1, 2 ** 31 - 1, 0, new Uint8Array(100)),
    'all of it black.bmp': bmpOf(side, side, 1, Uint8Array.of(0, 1)),
    'a compressed file.gz': gzipSync(new Uint8Array(inflatedMebibytes * MEBI)),
  };
  return Object.entries(bombs).map(([name, bytes]) => ({ name, bytes }));
}

/** A zlib stream of so many zeros. */
function deflatedZeros(length: number): Uint8Array {
  return deflateSync(new Uint8Array(length));
}

function pngOf(...chunks: readonly Uint8Array[]): Uint8Array {
  return concat('\x89PNG\r\n\x1a\n', ...chunks, chunk('IEND'));
}

function header(width: number, height: number, bitDepth = 8, colourType = 2): Uint8Array {
  return chunk('IHDR', [...uint32be(width), ...uint32be(height), bitDepth, colourType, 0, 0, 0]);
}

const idat = (data: Uint8Array) => chunk('IDAT', data);
const soundIdat = () => idat(deflatedZeros(8 * (1 + 8 * 3)));

function gifOf(
  screenWidth: number,
  screenHeight: number,
  width: number,
  height: number,
  codes: Uint8Array,
): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < codes.length; at += 255) {
    const block = codes.subarray(at, at + 255);
    blocks.push(concat([block.length], block));
  }
  return concat(
    'GIF89a',
    uint16le(screenWidth),
    uint16le(screenHeight),
    [0x80, 0, 0],
    [0, 0, 0, 255, 255, 255],
    [0x2c, 0, 0, 0, 0],
    uint16le(width),
    uint16le(height),
    [0, 2],
    ...blocks,
    [0, 0x3b],
  );
}

/** LZW codes (at first of 3 bits) of so many pixels of colour 0: each code stands for one pixel more than the last. */
function blackLzw(pixels: number): Uint8Array {
  const CLEAR = 4;
  const bytes: number[] = [];
  let buffer = 0;
  let filled = 0;
  const put = (code: number, bits: number) => {
    buffer |= code << filled;
    for (filled += bits; filled >= 8; filled -= 8) {
      bytes.push(buffer & 0xff);
      buffer >>>= 8;
    }
  };
  let width = 3;
  for (let left = pixels; left > 0; ) {
    put(CLEAR, width);
    width = 3;
    put(0, width);
    left -= 1;
    // Each code but the first after a clear one makes the decoder's table one longer.
    for (let next = 6, run = 2; next < 4095 && left > 0; next++, run++) {
      put(next, width);
      left -= run;
      if (next + 1 === 1 << width && width < 12) width += 1;
    }
  }
  put(CLEAR + 1, width);
  put(0, 8);
  return Uint8Array.from(bytes);
}

/** A lossless WebP chunk of one colour: five codes of no bits, so that no pixel takes any space. */
function blackVp8l(width: number, height: number): Uint8Array {
  const bits: number[] = [];
  const put = (value: number, count: number) => {
    for (let bit = 0; bit < count; bit++) bits.push((value >>> bit) & 1);
  };
  put(width - 1, 14);
  put(height - 1, 14);
  put(0, 1 + 3); // no alpha, version 0
  put(0, 1 + 1 + 1); // no transform, no colour cache, no meta codes
  for (let code = 0; code < 5; code++) put(0b0001, 4); // simple, one symbol, of one bit: 0
  const bytes = Array.from({ length: Math.ceil(bits.length / 8) + 8 }, (_, at) =>
    bits.slice(at * 8, at * 8 + 8).reduce((byte, bit, index) => byte | (bit << index), 0),
  );
  return riffChunk('VP8L', [0x2f, ...bytes]);
}

/** Grey, 8 bits, in one strip. */
function tiffOf(width: number, height: number, compression: number, strip: Uint8Array): Uint8Array {
  const entries: readonly (readonly [tag: number, value: number])[] = [
    [256, width],
    [257, height],
    [258, 8],
    [259, compression],
    [262, 1],
    [273, 8],
    [277, 1],
    [278, height],
    [279, strip.length],
  ];
  const padded = concat(strip, new Uint8Array(strip.length % 2));
  return concat(
    'II*\0',
    uint32le(8 + padded.length),
    padded,
    [entries.length, 0],
    ...entries.map(([tag, value]) => concat([tag & 0xff, tag >> 8, 4, 0], uint32le(1), uint32le(value))),
    uint32le(0),
  );
}

function withImageSize(picture: Uint8Array, width: number, height: number): Uint8Array {
  const at = Buffer.from(picture).indexOf('ispe');
  const changed = Uint8Array.from(picture);
  changed.set([...uint32be(width), ...uint32be(height)], at + 8);
  return changed;
}

function withFrameSize(picture: Uint8Array, width: number, height: number): Uint8Array {
  const at = Buffer.from(picture).indexOf(Uint8Array.of(0xff, 0xc0));
  const changed = Uint8Array.from(picture);
  changed.set([height >> 8, height & 0xff, width >> 8, width & 0xff], at + 5);
  return changed;
}

/**
 * A grey progressive JPEG of hardly any data but many passes: each refines all blocks of the picture, which
 * takes as long as decoding it once.
 */
function progressiveJpeg(width: number, height: number, scans: number): Uint8Array {
  const frame = [8, height >> 8, height & 0xff, width >> 8, width & 0xff, 1, 1, 0x11, 0];
  const table = (kind: number, counts: readonly number[], symbols: readonly number[]) =>
    segment(0xc4, [kind, ...Array.from({ length: 16 }, (_, at) => counts[at] ?? 0), ...symbols]);
  // The longest run of empty blocks that one symbol can announce: 2^14 and 14 bits more.
  const END_OF_BAND_RUN = 0xe0;
  const scan = (from: number, to: number, high: number, low: number, data: Uint8Array) =>
    concat(segment(0xda, [1, 1, 0, from, to, (high << 4) | low]), data);
  const blocks = Math.ceil(width / 8) * Math.ceil(height / 8);
  const runs = new Uint8Array(Math.ceil((Math.ceil(blocks / 16_384) * 15) / 8) + 2);
  const refinement = scan(1, 63, 1, 0, runs);
  return concat(
    [0xff, 0xd8],
    segment(0xdb, [0, ...Array(64).fill(1)]),
    segment(0xc2, frame),
    table(0x00, [1], [0]),
    table(0x10, [1], [END_OF_BAND_RUN]),
    scan(0, 0, 0, 0, new Uint8Array(Math.ceil(blocks / 8))),
    scan(1, 63, 0, 1, runs),
    new Uint8Array(Buffer.concat(Array(scans).fill(refinement))),
    [0xff, 0xd9],
  );
}

function bmpOf(width: number, height: number, compression: number, data: Uint8Array): Uint8Array {
  const palette = new Uint8Array(256 * 4);
  const offset = 14 + 40 + palette.length;
  return concat(
    'BM',
    uint32le(offset + data.length),
    uint32le(0),
    uint32le(offset),
    uint32le(40),
    uint32le(width),
    uint32le(height),
    [1, 0, 8, 0],
    uint32le(compression),
    uint32le(data.length),
    uint32le(0),
    uint32le(0),
    uint32le(256),
    uint32le(0),
    palette,
    data,
  );
}

function uint16le(value: number): readonly number[] {
  return [value & 0xff, value >> 8];
}
