import type { ExifOrientation, ResizeAndCrop, Size } from '../../../native/geometry.ts';
import {
  bitmapSize,
  createBitmap,
  DecodeError,
  decodeBuiltin,
  readWindow,
  StoredPng,
  type Window,
} from '../../../native/image/builtin-decoder.ts';
import { decodeToBitmap } from '../../../native/image/napi-decoder.ts';
import type { PictureFormat } from '../../contract/formats.ts';
import type { ServiceError } from '../../errors.ts';
import { giveBack } from '../../garbage.ts';
import { createSemaphore } from '../../semaphore.ts';
import { decoderOf, isIsolated, readPictureHeader, recognisePicture } from '../sniff.ts';
import { opaqueGif } from './format/gif.ts';
import { type PictureHeader, shownSize, turnedSize } from './format/picture-header.ts';
import { decodeTiff } from './format/tiff.ts';
import { isAnimatedWebp } from './format/webp.ts';
import {
  brokenPicture,
  emptyPicture,
  sideTooLong,
  tooLargeToDecode,
  tooManyBytes,
  tooManyPixels,
  tooMuchMemory,
  unsupportedVariant,
} from './picture-errors.ts';
import { bicubicAxis, resampleBicubic, resizeCutPixels } from './resample/resample.ts';

interface PictureLimits {
  readonly imageBytes: number;
  /** Declared width × height; checked before anything is decoded. */
  readonly imagePixels: number;
}

/** How a picture becomes the model's square. */
export interface SquareTask {
  readonly header: PictureHeader;
  readonly place: ResizeAndCrop;
}

export interface PlannedTask extends SquareTask {
  /** Memory that decoding it is expected to take, in bytes. */
  readonly memoryBytes: number;
}

/**
 * Does the work of `decodeSquare` in another process. When it settles, nothing reads `bytes` or writes to `target`.
 * @throws DecodeError; ServiceError image_broken, image_too_large for a picture that ended its process; the signal's
 * reason
 */
export type DecodeElsewhere = (
  bytes: Uint8Array,
  task: PlannedTask,
  target: Uint8Array,
  signal?: AbortSignal,
) => Promise<void>;

export interface PictureLoaderOptions {
  /** Where the model's square lies on a picture that is shown at this size. */
  readonly geometry: (width: number, height: number) => ResizeAndCrop;
  readonly limits: PictureLimits;
  /** Decodes the pictures that this process must not decode. */
  readonly isolated: { readonly decode: DecodeElsewhere };
  /**
   * Memory that all decoding together may take: once in this process, once in the others. A picture that needs more
   * is decoded alone. Default: unlimited.
   */
  readonly decodeBytes?: number;
  /** Memory that one picture may take. A picture that needs more is refused. Default: unlimited. */
  readonly maxDecodeBytes?: number;
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts the model's square out of it.
 * @param bytes the picture file; its name and declared type do not count
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @param signal aborted when the picture is no longer needed
 * @throws ServiceError image_empty, image_unsupported, image_too_large, image_broken; the signal's reason
 */
type LoadPicture = (bytes: Uint8Array, target: Uint8Array, signal?: AbortSignal) => Promise<void>;

/**
 * Whether another process decodes a picture that begins like this. Every BMP counts: its rare variants are recognised
 * only later. A file that is not a picture does not count.
 * @param head its first 4 KiB, or all of a shorter file
 */
export function isIsolatedPicture(head: Uint8Array): boolean {
  const content = recognisePicture(head);
  if ('other' in content) return false;
  const { format } = content;
  const rare = format === 'bmp' || (format === 'webp' && isAnimatedWebp(head));
  return isIsolated(decoderOf({ format, rare }));
}

export function createPictureLoader(options: PictureLoaderOptions): LoadPicture {
  const {
    geometry,
    limits,
    isolated,
    decodeBytes = Number.POSITIVE_INFINITY,
    maxDecodeBytes = Number.POSITIVE_INFINITY,
  } = options;
  // Two semaphores: pictures whose decoder is slow do not delay the others.
  const here = createSemaphore(decodeBytes);
  const elsewhere = createSemaphore(decodeBytes);
  const oversized = createSemaphore(1);

  return async (bytes, target, signal) => {
    const header = readWithinLimits(bytes, limits);
    const shown = shownSize(header);
    const place = geometry(shown.width, shown.height);

    const leaves = isIsolated(decoderOf(header));
    // The other process gets a copy of the file.
    const cost = decodeCostBytes(header, resizedSize(place)) + (leaves ? bytes.length : 0);
    if (cost > maxDecodeBytes) throw tooMuchMemory(header, cost, maxDecodeBytes);
    using _turn = cost > decodeBytes ? await oversized.acquire(1, signal) : undefined;
    using _memory = await (leaves ? elsewhere : here).acquire(cost, signal);
    signal?.throwIfAborted();
    try {
      if (leaves) await isolated.decode(bytes, { header, place, memoryBytes: cost }, target, signal);
      else await decodeSquare(bytes, { header, place }, target, signal);
    } catch (fault) {
      throw fault instanceof DecodeError ? toServiceError(fault, header) : fault;
    }
  };
}

/** Decoders keep several rows of a picture in memory: up to 20 bytes for each of their pixels. */
const MAX_SIDE = 1_000_000;

function readWithinLimits(bytes: Uint8Array, { imageBytes, imagePixels }: PictureLimits): PictureHeader {
  if (bytes.length === 0) throw emptyPicture();
  if (bytes.length > imageBytes) throw tooManyBytes(bytes.length, imageBytes);
  const header = readPictureHeader(bytes);
  const { width, height } = header;
  if (Math.max(width, height) > MAX_SIDE) throw sideTooLong(width, height, MAX_SIDE);
  if (width * height > imagePixels) throw tooManyPixels(width, height, imagePixels);
  return header;
}

function toServiceError(fault: DecodeError, { format }: PictureHeader): ServiceError {
  switch (fault.reason) {
    case 'broken':
      return brokenPicture(format, 'is damaged and cannot be decoded', fault);
    case 'unsupported':
      return unsupportedVariant(format, fault);
    case 'too_large':
      return tooLargeToDecode(format, fault);
  }
}

/** 16 MiB of RGBA: at a resolution of 224 a strip of 84 : 1. */
const MAX_RESIZED_PIXELS = 4 * 1024 ** 2;

/**
 * The size to which a whole picture is resized before the square is cut out of it.
 * @returns undefined for a strip, of which only the square is made: 1 × 16,000 pixels would become 224 × 3,584,000,
 * which are 3 GB
 */
function resizedSize({ resizedWidth: width, resizedHeight: height }: ResizeAndCrop): Size | undefined {
  return width * height > MAX_RESIZED_PIXELS ? undefined : { width, height };
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts the square out of it, as the reference does: in this
 * process. The slow steps run off the main thread.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @throws DecodeError; the signal's reason
 */
export async function decodeSquare(
  bytes: Uint8Array,
  { header, place }: SquareTask,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const side = Math.sqrt(target.length / 3);
  const resized = resizedSize(place);
  if (!resized) return await decodeStrip(bytes, { header, place }, target, signal);
  using decodable = await makeDecodable(bytes, header, resized, signal);
  signal?.throwIfAborted();
  const { size, covered, orientation } = decodable;
  if (covered.width < size.width || covered.height < size.height) {
    resizeCutPixels(decodable.bytes, { covered, place, orientation }, target);
    return;
  }
  const square = { left: place.cropLeft, top: place.cropTop, width: side, height: side };
  let pixels = await resizeAndRead(decodable, resized, square);
  if (header.alpha && !isOpaque(pixels)) {
    signal?.throwIfAborted();
    if (pixelCount(size) <= MAX_PREMULTIPLIED_PIXELS) {
      using premultiplied = await premultipliedBitmap(decodable);
      signal?.throwIfAborted();
      pixels = await resizeAndRead(premultiplied, resized, square);
      unpremultiplyAlpha(pixels);
    } else blackenTransparent(pixels);
  }
  dropAlpha(pixels, target);
}

/** Makes only the square of a strip, from the part of the picture that it depends on. */
async function decodeStrip(
  bytes: Uint8Array,
  { header, place }: SquareTask,
  target: Uint8Array,
  signal: AbortSignal | undefined,
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
 * Decodes a picture, turns it upright and cuts a window out of it, without resizing.
 * @returns [height, width, 4] u8 RGBA, row-major
 * @throws DecodeError; the signal's reason
 */
export async function decodeWindow(
  bytes: Uint8Array,
  header: PictureHeader,
  window: Window,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  using decodable = await makeDecodable(bytes, header, shownSize(header), signal);
  signal?.throwIfAborted();
  using png = await decodeStored(decodable, { orientation: decodable.orientation });
  checkSize(png.stored, shownSize(header));
  return readWindow(png.stored, window);
}

/** A picture in a form that `Bun.Image` reads. Disposing it frees the bytes that were made on the way. */
interface Decodable extends Disposable {
  readonly bytes: Uint8Array;
  readonly size: Size;
  /**
   * The pixels that the picture covers. They are less than `size` for a shrunk JPEG whose last column or row is cut by
   * the picture's edge.
   */
  readonly covered: Size;
  /** Still to be applied. */
  readonly orientation: ExifOrientation;
}

/** @param resized size to which the picture will be resized, as shown */
async function makeDecodable(
  file: Uint8Array,
  header: PictureHeader,
  resized: Size,
  signal: AbortSignal | undefined,
): Promise<Decodable> {
  const { orientation, format, preview } = header;
  const bytes = preview ? file.subarray(preview.start, preview.end) : file;
  const asItIs = { bytes, size: header, covered: header, orientation, [Symbol.dispose]() {} };
  switch (decoderOf(header)) {
    case 'library': {
      const bitmap = await decodeToBitmap(bytes, { isAvif: format === 'avif' }, signal);
      checkSize(bitmapSize(bitmap), header);
      return { ...asItIs, bytes: bitmap, [Symbol.dispose]: () => giveBack(bitmap) };
    }
    case 'tiff': {
      const bitmap = await decodeTiff(bytes);
      return { ...asItIs, bytes: bitmap, [Symbol.dispose]: () => giveBack(bitmap) };
    }
    case 'builtin jpeg': {
      const { covered, decoded } = jpegShrink(header, turnedSize(resized, orientation));
      const png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(header), resized: decoded });
      return { bytes: png, size: decoded, covered, orientation, [Symbol.dispose]: () => giveBack(png) };
    }
    case 'builtin gif':
      return { ...asItIs, bytes: opaqueGif(bytes) };
    case 'builtin':
      return asItIs;
  }
}

/** Decodes with `Bun.Image`. Disposing the result frees its pixels. */
async function decodeStored(
  { bytes, size }: Decodable,
  options: { readonly orientation?: ExifOrientation; readonly resized?: Size },
): Promise<{ readonly stored: StoredPng } & Disposable> {
  const png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(size), ...options });
  return { stored: new StoredPng(png), [Symbol.dispose]: () => giveBack(png) };
}

async function resizeAndRead(decodable: Decodable, resized: Size, square: Window): Promise<Uint8Array> {
  using png = await decodeStored(decodable, { orientation: decodable.orientation, resized });
  return readWindow(png.stored, square);
}

/** The decoder must read the same size as our header reader: the geometry was made from ours. */
function checkSize(decoded: Size, declared: Size): void {
  if (decoded.width === declared.width && decoded.height === declared.height) return;
  throw new DecodeError(
    'broken',
    `${decoded.width} × ${decoded.height} pixels were decoded, ${declared.width} × ${declared.height} declared`,
  );
}

function pixelCount({ width, height }: Size): number {
  return width * height;
}

/**
 * libjpeg can decode at n/8 of the size for every n up to 8. Only these steps have vector code: the others are as slow
 * as the whole picture.
 *
 * `minimumRatio`: how much larger than the target the shrunk picture stays, so the bicubic filter decides the pixels
 * and not the DCT's crude one. The mean difference from resizing the whole picture, measured with photos that are sharp
 * to the pixel: 0.9 of 255 at 1/8 and 1.5 times the target (the worst photo: 1.9), 0.6 (1.4) at 2/8 and 2.0 times,
 * 0.4 (1.1) at 4/8 and 2.4 times. Photos large enough for 1/8 are seldom sharp to the pixel. There, shrinking saves
 * half of the time.
 */
const shrinkSteps = [
  { eighths: 1, minimumRatio: 1.5 },
  { eighths: 2, minimumRatio: 2.0 },
  { eighths: 4, minimumRatio: 2.4 },
] as const;

/** How a JPEG that will be resized is decoded. */
interface JpegShrink {
  /** The decoded size in whole pixels. The picture's edge may cut the last pixel of a row or column. */
  readonly decoded: Size;
  /** The part of them that the picture covers: n/8 of its sides. */
  readonly covered: Size;
}

/** @param resized size to which the picture will be resized, as stored */
export function jpegShrink(size: Size, resized: Size): JpegShrink {
  const step = shrinkSteps.find(({ eighths, minimumRatio }) => {
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
  /** RGBA, its PNG, the decoded PNG, and garbage that is not collected yet. */
  decodedTwice: 16,
  /** A lossless WebP keeps a copy; a lossy one needs half of this. */
  webp: 8,
  gif: 6,
  /** A BMP of RGBA, and the RGBA made of it. */
  tiff: 8,
  /** In addition, the canvas of an animated WebP. */
  rare: 12,
  /** In addition, planes of up to 16 bits. */
  avif: 16,
  /** The opacity is a second image. */
  avifWithAlpha: 32,
  /** Turning makes a copy. */
  turned: 4,
} as const;

/** Rows in progress, tables, the result. */
const FIXED_BYTES = 512 * 1024;

/**
 * Estimates from the header how much memory decoding a picture takes at its worst moment, in bytes.
 * @param resized size to which it is resized, as shown; undefined for a picture that is not resized as a whole
 */
export function decodeCostBytes(header: PictureHeader, resized: Size | undefined): number {
  return FIXED_BYTES + header.coefficientBytes + pixelBytes(header, resized);
}

function pixelBytes(header: PictureHeader, resized: Size | undefined): number {
  const { width, height, orientation, format } = header;
  const turned = orientation === 1 ? 0 : bytesPerPixel.turned;
  const pixels = width * height;
  if (!resized) return pixels * (bytesPerPixel.decodedTwice + turned);
  if (format === 'jpeg' || format === 'raw') {
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
  tiff: bytesPerPixel.tiff,
  avif: bytesPerPixel.avif,
} as const satisfies Readonly<Record<Exclude<PictureFormat, 'jpeg' | 'raw'>, number>>;

/**
 * Pictures with opacity up to this size are resized as Pillow does, which needs a second decoding. In larger pictures,
 * shrunk a hundredfold and more, only fully transparent areas are made black.
 */
const MAX_PREMULTIPLIED_PIXELS = 25_000_000;

/**
 * Multiplies colours by their opacity, in place, with Pillow's rounding (`MULDIV255`), as Pillow does before resizing.
 * Without it, colours hidden under transparent areas bleed into the visible ones.
 * @param pixels [n, 4] u8 RGBA
 */
export function premultiplyAlpha(pixels: Uint8Array): void {
  // Most pixels are fully opaque or fully transparent: for these, one comparison suffices.
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

/** Undoes `premultiplyAlpha`, with Pillow's truncation: a transparent pixel stays black. */
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

async function premultipliedBitmap(decodable: Decodable): Promise<Decodable> {
  using png = await decodeStored(decodable, {});
  const { stored } = png;
  checkSize(stored, decodable.size);
  const { width, height } = stored;
  const { bytes, pixels } = createBitmap(width, height);
  const rowBytes = width * 4;
  const rowsPerTurn = Math.max(1, Math.trunc(PIXELS_PER_TURN / width));
  for (let y = 0; y < height; y++) {
    const row = pixels.subarray(y * rowBytes, (y + 1) * rowBytes);
    stored.readRow(row);
    premultiplyAlpha(row);
    if ((y + 1) % rowsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { ...decodable, bytes, [Symbol.dispose]: () => giveBack(bytes) };
}

/** The reference shows black under full transparency, not the colour that the file hides there. */
function blackenTransparent(pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 0) pixels.fill(0, at, at + 3);
}
