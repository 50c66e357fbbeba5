import { bitmapSize, createBitmap } from './bitmap.ts';
import { decodeBuiltin } from './builtin-decoder.ts';
import { resizeCutPixels } from './cut-pixels.ts';
import { DecodeError } from './decode-error.ts';
import { opaqueGif } from './gif-opaque.ts';
import { Intermediate } from './intermediate.ts';
import { jpegShrink } from './jpeg-shrink.ts';
import { decodeToBitmap } from './napi-decoder.ts';
import {
  type Orientation,
  type PictureHeader,
  type ResizeAndCrop,
  type Size,
  shownSize,
  turnedSize,
} from './picture-header.ts';
import {
  dropAlpha,
  isOpaque,
  MAXIMUM_PREMULTIPLIED_PIXELS,
  premultiplyAlpha,
  unpremultiplyAlpha,
} from './premultiplied-alpha.ts';
import { readWindow, StoredPng, type Window } from './stored-png.ts';

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
