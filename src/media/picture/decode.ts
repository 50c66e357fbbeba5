import {
  bitmapSize,
  createBitmap,
  DecodeError,
  Intermediate,
  type Orientation,
  type PictureHeader,
  type ResizeAndCrop,
  type Size,
  shownSize,
  turnedSize,
} from '../../../native/image/bitmap.ts';
import { decodeBuiltin, readWindow, StoredPng, type Window } from '../../../native/image/builtin-decoder.ts';
import { decodeToBitmap } from '../../../native/image/napi-decoder.ts';
import {
  dropAlpha,
  isOpaque,
  MAXIMUM_PREMULTIPLIED_PIXELS,
  premultiplyAlpha,
  unpremultiplyAlpha,
} from './premultiplied-alpha.ts';
import { resizeCutPixels } from './resample/cut-pixels.ts';

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
  const premultiplied =
    header.alpha && pixels <= MAXIMUM_PREMULTIPLIED_PIXELS ? bytesPerPixel.decodedTwice : 0;
  return pixels * (Math.max(perPixel, premultiplied) + turned);
}

const perPixelByFormat = {
  png: bytesPerPixel.decoded,
  bmp: bytesPerPixel.decoded,
  webp: bytesPerPixel.webp,
  gif: bytesPerPixel.gif,
  tiff: bytesPerPixel.transcoded,
  avif: bytesPerPixel.avif,
} as const;

/** Main-thread work between two turns of the event loop: some 3 ms. */
const PIXELS_PER_TURN = 500_000;

/** A picture in a form that `Bun.Image` reads; disposed of, where it was made on the way. */
interface Decodable extends Size, Disposable {
  readonly bytes: Uint8Array;
  /** That still is to be applied. */
  readonly orientation: Orientation;
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts a square out of it, as the reference does. What
 * takes long happens off the main thread.
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @throws DecodeError
 */
export async function decodeResized(
  bytes: Uint8Array,
  header: PictureHeader,
  geometry: ResizeAndCrop,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const side = Math.sqrt(target.length / 3);
  const resized = { width: geometry.resizedWidth, height: geometry.resizedHeight };
  const square = { left: geometry.cropLeft, top: geometry.cropTop, width: side, height: side };

  if (header.format === 'jpeg') {
    const { covered, decoded } = jpegShrink(header, turnedSize(resized, header.orientation));
    if (covered.width < decoded.width || covered.height < decoded.height) {
      using png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(header), resized: decoded });
      signal?.throwIfAborted();
      resizeCutPixels(png.bytes, covered, geometry, header.orientation, target);
      return;
    }
  }
  using decodable = await makeDecodable(bytes, header, resized, signal);
  signal?.throwIfAborted();
  let pixels = await resizeAndRead(decodable, resized, square);
  if (header.alpha && !isOpaque(pixels)) {
    signal?.throwIfAborted();
    if (pixelCount(decodable) <= MAXIMUM_PREMULTIPLIED_PIXELS) {
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
  if (format === 'tiff' || format === 'avif' || header.rare) {
    const bitmap = await decodeToBitmap(bytes, header, signal);
    checkSize(bitmapSize(bitmap.bytes), header);
    return made(bitmap, header, orientation);
  }
  if (format === 'jpeg') {
    const { decoded } = jpegShrink(header, turnedSize(resized, orientation));
    const png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(header), resized: decoded });
    return made(png, decoded, orientation);
  }
  const readable = format === 'gif' ? opaqueGif(bytes) : bytes;
  return { bytes: readable, width, height, orientation, [Symbol.dispose]() {} };
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
