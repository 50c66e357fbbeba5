import { crc32, deflateSync } from 'node:zlib';
import { Transformer } from '@napi-rs/image';
import { createBitmap } from '../../native/image/builtin-decoder.ts';

/** [red, green, blue, opacity], 0 to 255 each. */
export type Rgba = readonly [number, number, number, number];
export type Paint = (x: number, y: number) => Rgba;

/** Every pixel differs from its neighbours, no side looks like another, nothing is symmetrical. */
export const scene: Paint = (x, y) => [
  (x * 5 + y * 2) % 256,
  Math.abs(((x * 3 - y * 7) % 256) + 40) % 256,
  (x * y + 3 * y) % 256,
  255,
];

/** The scene on a transparent ground that hides white, with a soft edge. */
export const cutOut: Paint = (x, y) => {
  const edge = Math.min(255, Math.max(0, (x - 8) * 40));
  return edge === 0 ? [255, 255, 255, 0] : [...(scene(x, y).slice(0, 3) as [number, number, number]), edge];
};

/** [h, w, 4] u8 RGBA, row-major. */
export function paint(width: number, height: number, at: Paint): Uint8Array {
  const pixels = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) pixels.set(at(x, y), (y * width + x) * 4);
  }
  return pixels;
}

/** A 32-bit BMP with an alpha mask. */
export function bmp(width: number, height: number, at: Paint = scene): Uint8Array {
  const bitmap = createBitmap(width, height);
  bitmap.pixels.set(paint(width, height, at));
  return bitmap.bytes;
}

export async function jpeg(width: number, height: number, progressive = false): Promise<Uint8Array> {
  return await new Bun.Image(bmp(width, height)).jpeg({ quality: 90, progressive }).bytes();
}

export async function webp(width: number, height: number, at: Paint = scene): Promise<Uint8Array> {
  return await new Bun.Image(bmp(width, height, at)).webp({ lossless: true }).bytes();
}

export async function tiff(width: number, height: number, at: Paint = scene): Promise<Uint8Array> {
  return await Transformer.fromRgbaPixels(paint(width, height, at), width, height).tiff();
}

/** An uncompressed TIFF of 8 bits of grey, in one strip. */
export function greyTiff(width: number, height: number, at: (x: number, y: number) => number): Uint8Array {
  const pixels = Uint8Array.from({ length: width * height }, (_, index) =>
    at(index % width, Math.trunc(index / width)),
  );
  const entries: readonly (readonly [tag: number, value: number])[] = [
    [256, width],
    [257, height],
    [258, 8], // bits a sample
    [259, 1], // uncompressed
    [262, 1], // black is zero
    [273, 8], // where the strip is
    [277, 1], // samples a pixel
    [278, height], // rows in the strip
    [279, pixels.length],
  ];
  return concat(
    'II*\0',
    uint32le(8 + pixels.length),
    pixels,
    [entries.length, 0],
    // Each value as one LONG.
    ...entries.map(([tag, value]) => concat([tag & 0xff, tag >> 8, 4, 0], uint32le(1), uint32le(value))),
    uint32le(0),
  );
}

/** A BMP of 8 bits a pixel, whose palette are 256 shades of one colour. */
export function paletteBmp(width: number, height: number): Uint8Array {
  const rowBytes = Math.ceil(width / 4) * 4;
  const pixelsOffset = 54 + 256 * 4;
  return concat(
    'BM',
    uint32le(pixelsOffset + rowBytes * height),
    uint32le(0),
    uint32le(pixelsOffset),
    uint32le(40),
    uint32le(width),
    uint32le(height),
    [1, 0, 8, 0], // planes, bits a pixel
    ...Array.from({ length: 6 }, () => uint32le(0)),
    ...Array.from({ length: 256 }, (_, shade) => [shade, shade >> 1, 255 - shade, 0]),
    Uint8Array.from(
      { length: rowBytes * height },
      (_, at) => (at % rowBytes) * 3 + Math.trunc(at / rowBytes),
    ),
  );
}

/** A BMP of 8 bits a pixel in runs and lists, whose palette are 256 shades of one colour. */
export function runLengthBmp(width: number, height: number): Uint8Array {
  const bytes = paletteBmp(width, height).slice(0, 54 + 256 * 4);
  bytes[30] = 1; // how it is coded
  const row = (y: number) => [width - 4, y, 0, 3, y + 1, y + 2, y + 3, 0, 0, 2, 1, 0, 0, 0];
  return concat(bytes, ...Array.from({ length: height }, (_, y) => row(y)), [0, 1]);
}

export async function avif(width: number, height: number, at: Paint = scene): Promise<Uint8Array> {
  const pixels = Transformer.fromRgbaPixels(paint(width, height, at), width, height);
  return await pixels.avif({ quality: 95, speed: 10 });
}

export function concat(...pieces: readonly (Uint8Array | readonly number[] | string)[]): Uint8Array {
  return new Uint8Array(
    Buffer.concat(
      pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : Buffer.from(piece))),
    ),
  );
}

export function uint32be(value: number): readonly number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

export function uint32le(value: number): readonly number[] {
  return uint32be(value).toReversed();
}

/** A PNG chunk with its right checksum. */
export function chunk(type: string, data: Uint8Array | readonly number[] = []): Uint8Array {
  const body = concat(type, data);
  return concat(uint32be(data.length), body, uint32be(crc32(body)));
}

export interface PngOptions {
  readonly bitDepth?: 1 | 2 | 4 | 8 | 16;
  /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha. */
  readonly colourType?: 0 | 2 | 3 | 4 | 6;
  readonly interlaced?: boolean;
  /** Chunks between the header and the pixels. */
  readonly before?: readonly Uint8Array[];
  /** The samples of a pixel, each of `bitDepth` bits. */
  readonly samples: (x: number, y: number) => readonly number[];
}

const wholePicture = [[0, 0, 1, 1]] as const;
/** Adam7: of every pass its first column and row, and the steps between columns and rows. */
const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** A PNG of any colour type and depth, interlaced or not, as encoders here do not make them. */
export function png(width: number, height: number, options: PngOptions): Uint8Array {
  const { bitDepth = 8, colourType = 2, interlaced = false, before = [], samples } = options;
  const rows: number[] = [];
  for (const [left, top, stepX, stepY] of interlaced ? adam7 : wholePicture) {
    if (left >= width) continue;
    for (let y = top; y < height; y += stepY) {
      rows.push(0); // unfiltered
      let bits = 0;
      let filled = 0;
      for (let x = left; x < width; x += stepX) {
        for (const sample of samples(x, y)) {
          if (bitDepth === 16) {
            rows.push(sample >> 8, sample & 0xff);
            continue;
          }
          bits = (bits << bitDepth) | sample;
          filled += bitDepth;
          if (filled === 8) {
            rows.push(bits);
            bits = filled = 0;
          }
        }
      }
      if (filled > 0) rows.push(bits << (8 - filled));
    }
  }
  return concat(
    '\x89PNG\r\n\x1a\n',
    chunk('IHDR', [...uint32be(width), ...uint32be(height), bitDepth, colourType, 0, 0, interlaced ? 1 : 0]),
    ...before,
    chunk('IDAT', deflateSync(Uint8Array.from(rows))),
    chunk('IEND'),
  );
}

export function rgbPng(width: number, height: number, at: Paint = scene): Uint8Array {
  return png(width, height, { samples: (x, y) => at(x, y).slice(0, 3) });
}

export interface GifOptions {
  readonly palette: readonly (readonly [number, number, number])[];
  readonly index: (x: number, y: number) => number;
  /** Index that is transparent. */
  readonly transparent?: number;
  /** Further frames, of the same pixels. */
  readonly frames?: number;
}

/** A GIF of up to 128 colours; its codes are never joined to longer ones. */
export function gif(width: number, height: number, options: GifOptions): Uint8Array {
  const { palette, index, transparent, frames = 1 } = options;
  const clear = 128;
  const codes: number[] = [];
  for (let pixel = 0; pixel < width * height; pixel++) {
    // Before the decoder's table grows to codes of 9 bits.
    if (pixel % 100 === 0) codes.push(clear);
    codes.push(index(pixel % width, Math.trunc(pixel / width)));
  }
  codes.push(clear + 1);
  // Codes of 8 bits each are bytes.
  const blocks: number[] = [];
  for (let at = 0; at < codes.length; at += 255) {
    const block = codes.slice(at, at + 255);
    blocks.push(block.length, ...block);
  }
  const size = [width & 0xff, width >> 8, height & 0xff, height >> 8];
  const table = Array.from({ length: 128 }, (_, at) => palette[at] ?? [0, 0, 0]).flat();
  const control = [0x21, 0xf9, 4, transparent === undefined ? 0 : 1, 0, 0, transparent ?? 0, 0];
  const frame = concat(control, [0x2c, 0, 0, 0, 0, ...size, 0, 7], blocks, [0]);
  return concat(
    'GIF89a',
    size,
    [0x80 | 6, 0, 0],
    table,
    ...Array.from({ length: frames }, () => frame),
    [0x3b],
  );
}

/** A GIF with another canvas, and its first frame somewhere on it. */
export function placed(
  picture: Uint8Array,
  canvas: readonly [width: number, height: number],
  place: readonly [left: number, top: number],
): Uint8Array {
  const copy = Uint8Array.from(picture);
  const view = new DataView(copy.buffer);
  // After the table of 128 colours and the extension before the frame.
  const frame = 13 + 128 * 3 + 8;
  for (const [axis, at] of [6, 8].entries()) view.setUint16(at, canvas[axis]!, true);
  for (const [axis, at] of [1, 3].entries()) view.setUint16(frame + at, place[axis]!, true);
  return copy;
}

/** EXIF data with nothing but an orientation. */
export function exif(orientation: number, littleEndian = true): Uint8Array {
  return littleEndian
    ? concat('II*\0', uint32le(8), [1, 0, 0x12, 1, 3, 0, ...uint32le(1), orientation, 0, 0, 0], uint32le(0))
    : concat('MM\0*', uint32be(8), [0, 1, 1, 0x12, 0, 3, ...uint32be(1), 0, orientation, 0, 0], uint32be(0));
}

/** A JPEG segment: marker, length, data. */
export function segment(marker: number, data: Uint8Array | readonly number[]): Uint8Array {
  return concat([0xff, marker, (data.length + 2) >> 8, (data.length + 2) & 0xff], data);
}

/** The JPEG with segments put in right after its beginning. */
export function withSegments(picture: Uint8Array, ...segments: readonly Uint8Array[]): Uint8Array {
  return concat(picture.subarray(0, 2), ...segments, picture.subarray(2));
}

export function exifSegment(orientation: number): Uint8Array {
  return segment(0xe1, concat('Exif\0\0', exif(orientation)));
}

/** A RIFF chunk, padded to an even length. */
export function riffChunk(type: string, data: Uint8Array | readonly number[]): Uint8Array {
  return concat(type, uint32le(data.length), data, data.length % 2 ? [0] : []);
}

export function riff(...chunks: readonly Uint8Array[]): Uint8Array {
  const body = concat('WEBP', ...chunks);
  return concat('RIFF', uint32le(body.length), body);
}

/** The chunks of a WebP, without the RIFF header before them. */
export function webpChunks(picture: Uint8Array): Uint8Array {
  return picture.subarray(12);
}

function uint24le(value: number): readonly number[] {
  return uint32le(value).slice(0, 3);
}

/** The first chunk of an extended WebP. */
export function webpExtension(width: number, height: number, flags: number): Uint8Array {
  return riffChunk('VP8X', [flags, 0, 0, 0, ...uint24le(width - 1), ...uint24le(height - 1)]);
}

/** An animated WebP of still ones. */
export function animatedWebp(width: number, height: number, stills: readonly Uint8Array[]): Uint8Array {
  const frames = stills.map((still) =>
    riffChunk(
      'ANMF',
      concat(
        uint24le(0),
        uint24le(0),
        uint24le(width - 1),
        uint24le(height - 1),
        uint24le(100),
        [0],
        webpChunks(still),
      ),
    ),
  );
  return riff(webpExtension(width, height, 0x02), riffChunk('ANIM', [0, 0, 0, 0, 0, 0]), ...frames);
}
