import type { ResizeAndCrop, Size } from '../../../native/geometry.ts';
import {
  bitmapSize,
  createBitmap,
  DecodeError,
  Intermediate,
  type Orientation,
} from '../../../native/image/bitmap.ts';
import { decodeBuiltin, readWindow, StoredPng, type Window } from '../../../native/image/builtin-decoder.ts';
import { decodeToBitmap } from '../../../native/image/napi-decoder.ts';
import type { PictureFormat } from '../../contract/formats.ts';
import { decoderOf } from '../sniff.ts';
import { type PictureHeader, shownSize, turnedSize } from './format/picture-header.ts';
import { bicubicAxis, resampleBicubic, resizeCutPixels } from './resample/resample.ts';

const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;
const TRANSPARENT_FLAG = 1;

/**
 * The same GIF with its first frame opaque. `Bun.Image` makes transparent pixels black; the reference shows
 * the palette's colour there. The picture is left alone where nothing is transparent.
 */
export function opaqueGif(bytes: Uint8Array): Uint8Array {
  const flags = bytes[10]!;
  let at = 13 + (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let opaque = bytes;
  while (bytes[at] === EXTENSION) {
    if (bytes[at + 1] === GRAPHIC_CONTROL && bytes[at + 3]! & TRANSPARENT_FLAG) {
      opaque = opaque === bytes ? new Uint8Array(bytes) : opaque;
      opaque[at + 3]! &= ~TRANSPARENT_FLAG;
    }
    at += 2;
    while (bytes[at]) at += 1 + bytes[at]!;
    at += 1;
  }
  return opaque;
}

/**
 * libjpeg can decode at n/8 of the size for every n up to 8. These have vector code: the others take as
 * long as the whole picture.
 *
 * `minimumRatio`: how much larger than the target the shrunk picture stays, so that the bicubic filter, not
 * the DCT's crude one, decides the pixels. With photos that are sharp to the pixel the mean difference from
 * resizing the whole picture is 0.9 of 255 at 1/8 and 1.5 times the target (the worst photo: 1.9), 0.6 (1.4)
 * at 2/8 and 2.0 times, 0.4 (1.1) at 4/8 and 2.4 times. Photos as large as those for 1/8 are seldom sharp to
 * the pixel, and there it saves most: half of the time.
 */
const steps = [
  { eighths: 1, minimumRatio: 1.5 },
  { eighths: 2, minimumRatio: 2.0 },
  { eighths: 4, minimumRatio: 2.4 },
] as const;

/** How a JPEG that will be resized is decoded. */
interface JpegShrink {
  /** The decoded size: whole pixels, of which the last of a row or column may be cut by the picture's edge. */
  readonly decoded: Size;
  /** The decoded pixels that the picture covers: n/8 of its sides. */
  readonly covered: Size;
}

export function jpegShrink(size: Size, resized: Size): JpegShrink {
  const step = steps.find(({ eighths, minimumRatio }) => {
    const { width, height } = eighthsOf(size, eighths);
    return Math.min(width / resized.width, height / resized.height) >= minimumRatio;
  });
  const covered = eighthsOf(size, step?.eighths ?? 8);
  return { covered, decoded: { width: Math.ceil(covered.width), height: Math.ceil(covered.height) } };
}

function eighthsOf({ width, height }: Size, eighths: number): Size {
  return { width: (width * eighths) / 8, height: (height * eighths) / 8 };
}

/** Bytes a pixel at the worst moment: measured with 12 to 100 megapixels, rounded up. */
const bytesPerPixel = {
  /** RGBA. */
  decoded: 4,
  /** RGBA, its PNG, that decoded again, and what waits for the garbage collector. */
  decodedTwice: 16,
  /** Lossless ones keep a copy; lossy ones need half of it. */
  webp: 8,
  gif: 6,
  /** The library's own pixels, its BMP, then that as RGBA. */
  transcoded: 11,
  /** An animated WebP's canvas besides. */
  rare: 12,
  /** Planes of up to 16 bits before. */
  avif: 16,
  /** And of the opacity, which is an image of its own. */
  avifWithAlpha: 32,
  /** Turning makes a copy. */
  turned: 4,
} as const;

const KIBI = 1024;
/** Rows under way, tables, the result. */
const FIXED_BYTES = 512 * KIBI;

/**
 * Estimates from the header how much memory decoding a picture takes at its worst moment, in bytes.
 * @param resized size to which it is resized, as shown; undefined for one that is decoded as it is
 */
export function decodeCostBytes(header: PictureHeader, resized: Size | undefined): number {
  return FIXED_BYTES + header.coefficientBytes + pixelBytes(header, resized);
}

function pixelBytes(header: PictureHeader, resized: Size | undefined): number {
  const { width, height, orientation, format } = header;
  const turned = orientation === 1 ? 0 : bytesPerPixel.turned;
  const pixels = width * height;
  if (!resized) return pixels * (bytesPerPixel.decodedTwice + turned);
  if (format === 'jpeg') {
    const { decoded } = jpegShrink(header, turnedSize(resized, orientation));
    return decoded.width * decoded.height * (bytesPerPixel.decodedTwice + turned);
  }
  const ofFormat = format === 'avif' && header.alpha ? bytesPerPixel.avifWithAlpha : perPixelByFormat[format];
  const perPixel = header.rare ? bytesPerPixel.rare : ofFormat;
  const premultiplied = header.alpha && pixels <= MAX_PREMULTIPLIED_PIXELS ? bytesPerPixel.decodedTwice : 0;
  return pixels * (Math.max(perPixel, premultiplied) + turned);
}

const perPixelByFormat = {
  png: bytesPerPixel.decoded,
  bmp: bytesPerPixel.decoded,
  webp: bytesPerPixel.webp,
  gif: bytesPerPixel.gif,
  tiff: bytesPerPixel.transcoded,
  avif: bytesPerPixel.avif,
} as const satisfies Readonly<Record<Exclude<PictureFormat, 'jpeg'>, number>>;

/**
 * Pictures with opacity up to this size are resized as Pillow does, by way of a second decoding. In larger
 * ones, shrunk a hundredfold and more, only the wholly transparent areas are made black.
 */
export const MAX_PREMULTIPLIED_PIXELS = 25_000_000;

/**
 * Multiplies colours by their opacity, in place, with Pillow's rounding (`MULDIV255`). Pillow resizes
 * pictures with opacity so; resized without it, colours hidden under transparent areas bleed into the
 * visible ones.
 * @param pixels [n, 4] u8 RGBA
 */
export function premultiplyAlpha(pixels: Uint8Array): void {
  // Most pixels are fully opaque or fully transparent: one comparison of a whole pixel settles those.
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.length / 4);
  for (let i = 0; i < words.length; i++) {
    const alpha = words[i]! >>> 24;
    if (alpha === 255) continue;
    if (alpha === 0) {
      words[i] = 0;
      continue;
    }
    for (let at = i * 4, end = at + 3; at < end; at++) {
      const product = pixels[at]! * alpha + 128;
      pixels[at] = (product + (product >> 8)) >> 8;
    }
  }
}

/** The way back, with Pillow's truncation: a transparent pixel stays black. */
export function unpremultiplyAlpha(pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3]!;
    if (alpha === 255 || alpha === 0) continue;
    for (let channel = at; channel < at + 3; channel++) {
      pixels[channel] = Math.min(255, Math.trunc((pixels[channel]! * 255) / alpha));
    }
  }
}

export function isOpaque(pixels: Uint8Array): boolean {
  for (let at = 3; at < pixels.length; at += 4) if (pixels[at] !== 255) return false;
  return true;
}

/** [n, 4] u8 RGBA → [n, 3] u8 RGB. The opacity is dropped, not applied, as the reference does. */
export function dropAlpha(rgba: Uint8Array, rgb: Uint8Array): void {
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from]!;
    rgb[to + 1] = rgba[from + 1]!;
    rgb[to + 2] = rgba[from + 2]!;
  }
}

/** Main-thread work between two turns of the event loop: some 3 ms. */
const PIXELS_PER_TURN = 500_000;

/** A picture in a form that `Bun.Image` reads; disposed of, where it was made on the way. */
interface Decodable extends Size, Disposable {
  readonly bytes: Uint8Array;
  /** That still is to be applied. */
  readonly orientation: Orientation;
}

/** How a picture becomes the model's square. */
export interface SquareTask {
  readonly header: PictureHeader;
  readonly place: ResizeAndCrop;
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts the square out of it: in this process.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @throws DecodeError; the signal's reason
 */
export async function decodeSquare(
  bytes: Uint8Array,
  task: SquareTask,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  await (isExtremeRatio(task.place) ? decodeExtremeRatio : decodeResized)(bytes, task, target, signal);
}

/** 16 MiB of RGBA: at a resolution of 224 a strip of 84 : 1. */
const MAX_RESIZED_PIXELS = 4 * 1024 ** 2;

/**
 * A strip resized until its short side fits is as long as its ratio says: 1 × 16,000 would become
 * 224 × 3,584,000 pixels, 3 GB, of which a square is kept.
 */
export function isExtremeRatio({ resizedWidth, resizedHeight }: ResizeAndCrop): boolean {
  return resizedWidth * resizedHeight > MAX_RESIZED_PIXELS;
}

/** What `decodeResized` does, but makes only the square: from the part of the picture that it depends on. */
async function decodeExtremeRatio(
  bytes: Uint8Array,
  { header, place }: SquareTask,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const side = Math.sqrt(target.length / 3);
  const { width, height } = shownSize(header);
  const horizontal = bicubicAxis(width, place.resizedWidth, place.cropLeft, side);
  const vertical = bicubicAxis(height, place.resizedHeight, place.cropTop, side);
  const window = {
    left: horizontal.sourceStart,
    top: vertical.sourceStart,
    width: horizontal.sourceEnd - horizontal.sourceStart,
    height: vertical.sourceEnd - vertical.sourceStart,
  };
  const source = await decodeWindow(bytes, header, window, signal);
  if (header.alpha) premultiplyAlpha(source);
  const square = resampleBicubic(source, { horizontal, vertical });
  if (header.alpha) unpremultiplyAlpha(square);
  dropAlpha(square, target);
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts a square out of it, as the reference does. What
 * takes long happens off the main thread.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @throws DecodeError
 */
export async function decodeResized(
  bytes: Uint8Array,
  { header, place }: SquareTask,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const side = Math.sqrt(target.length / 3);
  const resized = { width: place.resizedWidth, height: place.resizedHeight };
  const square = { left: place.cropLeft, top: place.cropTop, width: side, height: side };

  if (header.format === 'jpeg') {
    const { covered, decoded } = jpegShrink(header, turnedSize(resized, header.orientation));
    if (covered.width < decoded.width || covered.height < decoded.height) {
      using png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(header), resized: decoded });
      signal?.throwIfAborted();
      resizeCutPixels(png.bytes, { covered, place, orientation: header.orientation }, target);
      return;
    }
  }
  using decodable = await makeDecodable(bytes, header, resized, signal);
  signal?.throwIfAborted();
  let pixels = await resizeAndRead(decodable, resized, square);
  if (header.alpha && !isOpaque(pixels)) {
    signal?.throwIfAborted();
    if (pixelCount(decodable) <= MAX_PREMULTIPLIED_PIXELS) {
      using premultiplied = await premultipliedBitmap(decodable);
      signal?.throwIfAborted();
      pixels = await resizeAndRead(premultiplied, resized, square);
      unpremultiplyAlpha(pixels);
    } else blackenTransparent(pixels);
  }
  dropAlpha(pixels, target);
}

/**
 * Decodes a picture, turns it upright and cuts a window out of it, without resizing.
 * @returns [height, width, 4] u8 RGBA, row-major
 * @throws DecodeError
 */
export async function decodeWindow(
  bytes: Uint8Array,
  header: PictureHeader,
  window: Window,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  using decodable = await makeDecodable(bytes, header, shownSize(header), signal);
  signal?.throwIfAborted();
  const { orientation } = decodable;
  const options = { declaredPixels: pixelCount(decodable), orientation };
  using png = await decodeBuiltin(decodable.bytes, options);
  const stored = new StoredPng(png.bytes);
  checkSize(stored, shownSize(header));
  return readWindow(stored, window);
}

async function makeDecodable(
  bytes: Uint8Array,
  header: PictureHeader,
  resized: Size,
  signal: AbortSignal | undefined,
): Promise<Decodable> {
  const { width, height, orientation, format } = header;
  const asItIs = (readable: Uint8Array) => ({
    bytes: readable,
    width,
    height,
    orientation,
    [Symbol.dispose]() {},
  });
  switch (decoderOf(header)) {
    case 'library': {
      const bitmap = await decodeToBitmap(bytes, { isAvif: format === 'avif', isGrey: header.grey }, signal);
      checkSize(bitmapSize(bitmap.bytes), header);
      return made(bitmap, header, orientation);
    }
    case 'builtin jpeg': {
      const { decoded } = jpegShrink(header, turnedSize(resized, orientation));
      const png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(header), resized: decoded });
      return made(png, decoded, orientation);
    }
    case 'builtin gif':
      return asItIs(opaqueGif(bytes));
    case 'builtin':
      return asItIs(bytes);
  }
}

function made(intermediate: Intermediate, { width, height }: Size, orientation: Orientation): Decodable {
  const dispose = () => intermediate[Symbol.dispose]();
  return { bytes: intermediate.bytes, width, height, orientation, [Symbol.dispose]: dispose };
}

async function resizeAndRead(decodable: Decodable, resized: Size, square: Window): Promise<Uint8Array> {
  const { bytes, orientation } = decodable;
  const options = { declaredPixels: pixelCount(decodable), orientation, resized };
  using png = await decodeBuiltin(bytes, options);
  return readWindow(new StoredPng(png.bytes), square);
}

async function premultipliedBitmap(decodable: Decodable): Promise<Decodable> {
  const { width, height, orientation } = decodable;
  using png = await decodeBuiltin(decodable.bytes, { declaredPixels: pixelCount(decodable) });
  const stored = new StoredPng(png.bytes);
  checkSize(stored, decodable);
  const { bytes, pixels } = createBitmap(width, height);
  const rowBytes = width * 4;
  const rowsPerTurn = Math.max(1, Math.trunc(PIXELS_PER_TURN / width));
  for (let y = 0; y < height; y++) {
    const row = pixels.subarray(y * rowBytes, (y + 1) * rowBytes);
    stored.readRow(row);
    premultiplyAlpha(row);
    if ((y + 1) % rowsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return made(new Intermediate(bytes), decodable, orientation);
}

/** The decoder's own reading of the header must agree with ours: the geometry was made from it. */
function checkSize(decoded: Size, declared: Size): void {
  if (decoded.width === declared.width && decoded.height === declared.height) return;
  throw new DecodeError(
    'broken',
    `${decoded.width} × ${decoded.height} pixels were decoded, ${declared.width} × ${declared.height} declared`,
  );
}

/** Under full transparency the reference has black, whatever colour the file hides there. */
function blackenTransparent(pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 0) pixels.fill(0, at, at + 3);
}

function pixelCount({ width, height }: Size): number {
  return width * height;
}
