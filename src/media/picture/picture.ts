import { cutSize, type ExifOrientation, type ResizeAndCrop, type Size } from '../../../native/geometry.ts';
import {
  bitmapSize,
  createBitmap,
  DecodeError,
  decodeBuiltin,
  encodeJpeg,
  readWindow,
  StoredPng,
  type Window,
} from '../../../native/image/builtin-decoder.ts';
import { decodeToBitmap } from '../../../native/image/napi-decoder.ts';
import { type PictureFormat, pictureFormats } from '../../contract/formats.ts';
import type { Fit } from '../../contract/options.ts';
import type { ServiceError } from '../../errors.ts';
import { collectGarbage, giveBack } from '../../garbage.ts';
import { createSemaphore, type Permit } from '../../semaphore.ts';
import { decoderOf, isIsolated, readPictureHeader, recognisePicture } from '../sniff.ts';
import { copyTile, type RgbImage, type TiledPicture } from '../tiles.ts';
import { plainAvif } from './format/avif.ts';
import { decodeBmp } from './format/bmp.ts';
import { type GifPicture, prepareGif } from './format/gif.ts';
import { type JpegCut, readJpegCut } from './format/jpeg.ts';
import { type PictureHeader, shownSize, turnedSize } from './format/picture-header.ts';
import { provePng } from './format/png.ts';
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

/** How a picture becomes the model's square, or several. */
export interface SquareTask {
  readonly header: PictureHeader;
  readonly place: ResizeAndCrop;
  /** The colour behind transparent pixels; undefined: opacity is dropped, as the reference does. */
  readonly background?: Rgb | undefined;
}

/** [red, green, blue], 0 to 255 each. */
export type Rgb = readonly [number, number, number];

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

interface PlanningOptions {
  /** How a picture that is shown at this size becomes the model's squares. */
  readonly geometry: (width: number, height: number, fit: Fit) => ResizeAndCrop;
  readonly limits: PictureLimits;
  /** Memory that one picture may take. A picture that needs more is refused. Default: unlimited. */
  readonly maxDecodeBytes?: number;
}

export interface PictureLoaderOptions extends PlanningOptions {
  /** Decodes the pictures that this process must not decode. */
  readonly isolated: { readonly decode: DecodeElsewhere };
  /**
   * Memory that all decoding together may take: once in this process, once in the others. A picture that needs more
   * is decoded alone. Default: unlimited.
   */
  readonly decodeBytes?: number;
}

export interface LoadPictureOptions extends Pick<SquareTask, 'background'> {
  /** How the picture is fitted into the square. Default: `crop`. */
  readonly fit?: Fit;
  /** Made for these bytes and the other options. Default: the header is read. */
  readonly plan?: PicturePlan | undefined;
  /** Aborted when the picture is no longer needed. */
  readonly signal?: AbortSignal;
}

export interface LoadedPicture {
  /** A sentence about the part of the picture that is missing; undefined: none is. */
  readonly warning: string | undefined;
  /** Set if the model looks at several squares. */
  readonly tiled?: TiledPicture;
}

/**
 * Decodes a picture once, turns it upright, resizes it and cuts the model's square out of it.
 * @param bytes the picture file; its name and declared type do not count
 * @param target receives the square, the first one if there are several, [S, S, 3] u8 RGB, row-major
 * @throws ServiceError image_empty, image_unsupported, image_too_large, image_broken; the signal's reason
 */
export type LoadPicture = (
  bytes: Uint8Array,
  target: Uint8Array,
  options?: LoadPictureOptions,
) => Promise<LoadedPicture>;

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

/**
 * Whether browsers need a thumbnail to show a picture that begins like this. A file that is not a picture does not count.
 * @param head its first 4 KiB, or all of a shorter file
 */
export function needsThumbnail(head: Uint8Array): boolean {
  const content = recognisePicture(head);
  return 'format' in content && !pictureFormats[content.format].shownByBrowsers;
}

/** A photo of 224 × 224 pixels takes some 10 KB, noise 31 KB. */
const THUMBNAIL_QUALITY = 75;

/**
 * Encodes what the model looks at as a thumbnail, off the main thread.
 * @param picture the square, or the picture that several are cut out of; not read any more when this returns its promise
 * @returns a JPEG file
 */
export async function encodeThumbnail({ width, height, pixels: rgb }: RgbImage): Promise<Uint8Array> {
  const { bytes, pixels } = createBitmap(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    pixels[to] = rgb[from]!;
    pixels[to + 1] = rgb[from + 1]!;
    pixels[to + 2] = rgb[from + 2]!;
    pixels[to + 3] = 255;
  }
  return await encodeJpeg(bytes, THUMBNAIL_QUALITY);
}

export function createPictureLoader(options: PictureLoaderOptions): LoadPicture {
  const { isolated } = options;
  const { decodeBytes = Number.POSITIVE_INFINITY, maxDecodeBytes = Number.POSITIVE_INFINITY } = options;
  // Two semaphores: pictures whose decoder is slow do not delay the others.
  const here = createSemaphore(decodeBytes);
  const elsewhere = createSemaphore(decodeBytes);

  return async (bytes, target, { background, fit = 'crop', plan: known, signal } = {}) => {
    const plan = known ?? planPicture(bytes, target.length / 3, { background, fit }, options);
    const { header, place, memoryBytes, leaves } = plan;
    if (memoryBytes > maxDecodeBytes) throw tooMuchMemory(header, memoryBytes, maxDecodeBytes);
    using _memory = await (leaves ? elsewhere : here).acquire(memoryBytes, signal);
    signal?.throwIfAborted();
    const { tiles = 1 } = place;
    const cut = cutSize(place, target.length / 3);
    const pixels = tiles > 1 ? new Uint8Array(cut.width * cut.height * 3) : target;
    try {
      let warning: string | undefined;
      const task = { header, place, background };
      if (!leaves) warning = await decodeSquare(bytes, task, pixels, signal);
      else await isolated.decode(bytes, { ...task, memoryBytes }, pixels, signal);
      if (tiles === 1) return { warning };
      const tiled = { ...cut, pixels, tiles };
      copyTile(tiled, 0, target);
      return { warning, tiled };
    } catch (fault) {
      throw fault instanceof DecodeError ? toServiceError(fault, header) : fault;
    }
  };
}

interface MemoryReserveOptions extends PlanningOptions {
  /** Pixels of the model's square. */
  readonly squarePixels: number;
  /** A picture that needs more than this is large. */
  readonly usualBytes: number;
  /** Waits for memory for a large picture. */
  readonly lend: (bytes: number, signal: AbortSignal | undefined) => Promise<Permit>;
  /** Returns the memory of decoded pixels to the system; tests replace it. */
  readonly collect?: () => void;
}

/** Says whether a picture is large. */
export type ReserveMemory = (
  bytes: Uint8Array,
  options: Pick<LoadPictureOptions, 'background' | 'fit'>,
) => MemoryNeed;

interface MemoryNeed {
  /** For loading the picture: its header is read once, because that takes a look at every byte of a JPEG. */
  readonly plan?: PicturePlan;
  /** Waits for the picture's memory, for minutes if videos have it. Left out if it is not large, or will be refused. */
  readonly reserve?: (signal?: AbortSignal) => Promise<Permit>;
}

export function createMemoryReserve(options: MemoryReserveOptions): ReserveMemory {
  const { squarePixels, usualBytes, lend, collect = collectGarbage } = options;
  const { maxDecodeBytes = Number.POSITIVE_INFINITY } = options;
  return (bytes, { background, fit = 'crop' }) => {
    let plan: PicturePlan;
    try {
      plan = planPicture(bytes, squarePixels, { background, fit }, options);
    } catch {
      // Loading it says why it is refused.
      return {};
    }
    const { memoryBytes, leaves } = plan;
    if (memoryBytes <= usualBytes || memoryBytes > maxDecodeBytes) return { plan };
    const reserve = async (signal?: AbortSignal) => {
      const permit = await lend(memoryBytes, signal);
      if (leaves) return permit;
      using held = new DisposableStack();
      held.use(permit);
      // Disposed first: the next picture takes the memory at once.
      held.defer(collect);
      return held.move();
    };
    return { plan, reserve };
  };
}

/** What a picture's header says about loading it. */
interface PicturePlan {
  readonly header: PictureHeader;
  readonly place: ResizeAndCrop;
  /** Memory that decoding it is expected to take, in bytes. */
  readonly memoryBytes: number;
  /** Whether another process decodes it. */
  readonly leaves: boolean;
}

/**
 * Reads a picture's header.
 * @param squarePixels of the model's square
 * @throws ServiceError image_empty, image_unsupported, image_too_large, image_broken
 */
function planPicture(
  bytes: Uint8Array,
  squarePixels: number,
  { background, fit }: { readonly background: Rgb | undefined; readonly fit: Fit },
  { geometry, limits }: PlanningOptions,
): PicturePlan {
  const header = readWithinLimits(bytes, limits);
  const shown = shownSize(header);
  const place = geometry(shown.width, shown.height, fit);
  const leaves = isIsolated(decoderOf(header));
  const decodingBytes = decodeCostBytes(
    header,
    resizedSize(place),
    isBlended({ header, background }),
    cutSize(place, squarePixels),
  );
  // The other process gets a copy of the file.
  return { header, place, memoryBytes: decodingBytes + (leaves ? bytes.length : 0), leaves };
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
 * @param target receives the square, [S, S, 3] u8 RGB, row-major; all of the resized picture, if there are several
 * @returns a sentence about the part of the picture that is missing; undefined: none is
 * @throws DecodeError; ServiceError image_broken; the signal's reason
 */
export async function decodeSquare(
  bytes: Uint8Array,
  task: SquareTask,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { place, background } = task;
  const resized = resizedSize(place);
  if (!resized) return await decodeStrip(bytes, task, target, signal);
  using decodable = await makeDecodable(bytes, task, resized, signal);
  signal?.throwIfAborted();
  const { size, covered, orientation, warning } = decodable;
  if (covered.width < size.width || covered.height < size.height) {
    resizeCutPixels(decodable.bytes, { covered, place, orientation }, target);
    return warning;
  }
  const square = { left: place.cropLeft, top: place.cropTop, ...cutSize(place, target.length / 3) };
  let pixels = await resizeAndRead(decodable, resized, square);
  if (isBlended(task) && !isOpaque(pixels)) {
    signal?.throwIfAborted();
    const blend = blendWith(background);
    if (pixelCount(size) <= MAX_PREMULTIPLIED_PIXELS) {
      using blended = await blendedBitmap(decodable, blend);
      signal?.throwIfAborted();
      pixels = await resizeAndRead(blended, resized, square);
      if (!background) unpremultiplyAlpha(pixels);
    } else if (background) blend(pixels);
    else blackenTransparent(pixels);
  }
  dropAlpha(pixels, target);
  return warning;
}

/** Whether the opacity changes the square. */
function isBlended({ header, background }: Omit<SquareTask, 'place'>): boolean {
  return header.alpha || (background !== undefined && header.seeThrough === true);
}

/** Makes only the square of a strip, from the part of the picture that it depends on. */
async function decodeStrip(
  bytes: Uint8Array,
  task: SquareTask,
  target: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { header, place, background } = task;
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
  const { pixels: source, warning } = await decodeWindow(bytes, task, window, signal);
  const isSeenThrough = isBlended(task);
  if (isSeenThrough) blendWith(background)(source);
  const square = resampleBicubic(source, { horizontal, vertical });
  if (isSeenThrough && !background) unpremultiplyAlpha(square);
  dropAlpha(square, target);
  return warning;
}

/**
 * Decodes a picture, turns it upright and cuts a window out of it, without resizing.
 * @returns [height, width, 4] u8 RGBA, row-major; and a sentence about the part of the picture that is missing
 * @throws DecodeError; ServiceError image_broken; the signal's reason
 */
export async function decodeWindow(
  bytes: Uint8Array,
  task: Omit<SquareTask, 'place'>,
  window: Window,
  signal?: AbortSignal,
): Promise<{ readonly pixels: Uint8Array; readonly warning: string | undefined }> {
  const shown = shownSize(task.header);
  using decodable = await makeDecodable(bytes, task, shown, signal);
  signal?.throwIfAborted();
  using png = await decodeStored(decodable, { orientation: decodable.orientation });
  checkSize(png.stored, shown);
  return { pixels: readWindow(png.stored, window), warning: decodable.warning };
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
  /** A sentence about the part of the picture that is missing. */
  readonly warning?: string | undefined;
}

/** @param resized size to which the picture will be resized, as shown */
async function makeDecodable(
  file: Uint8Array,
  { header, background }: Omit<SquareTask, 'place'>,
  resized: Size,
  signal: AbortSignal | undefined,
): Promise<Decodable> {
  const { orientation, format, preview } = header;
  const bytes = preview ? file.subarray(preview.start, preview.end) : file;
  const asItIs = { bytes, size: header, covered: header, orientation, [Symbol.dispose]() {} };
  switch (decoderOf(header)) {
    case 'libav':
      throw new Error('This is a bug: libav reads such pictures row by row.');
    case 'library': {
      const bitmap =
        format === 'bmp'
          ? decodeBmp(bytes)
          : await decodeToBitmap(format === 'avif' ? plainAvif(bytes) : bytes, signal);
      checkSize(bitmapSize(bitmap), header);
      return { ...asItIs, bytes: bitmap, [Symbol.dispose]: () => giveBack(bitmap) };
    }
    case 'tiff': {
      const bitmap = await decodeTiff(bytes);
      return { ...asItIs, bytes: bitmap, [Symbol.dispose]: () => giveBack(bitmap) };
    }
    case 'builtin jpeg': {
      const { covered, decoded } = jpegShrink(header, turnedSize(resized, orientation));
      const cut = header.unproven ? readJpegCut(bytes) : undefined;
      const png = await decodeBuiltin(bytes.subarray(0, cut?.end), {
        declaredPixels: pixelCount(header),
        resized: decoded,
      });
      const shrunk = {
        bytes: png,
        size: decoded,
        covered,
        orientation,
        [Symbol.dispose]: () => giveBack(png),
      };
      return cut ? await mendCut(shrunk, { header, cut }) : shrunk;
    }
    case 'builtin gif': {
      const gif = await prepareGif(bytes, { keepTransparency: background !== undefined, signal });
      const frame = { ...asItIs, bytes: gif.bytes };
      return gif.isWhole ? frame : await placeFrame({ ...frame, size: gif.place }, header, gif, background);
    }
    case 'builtin':
      return format === 'png' && header.unproven ? { ...asItIs, bytes: await provePng(bytes) } : asItIs;
  }
}

/** The largest part of a JPEG's pixels that may be missing at its end. */
const MAX_MISSING = 0.05;

/**
 * Finds out how much of a cut JPEG is there. The pixels above take the place of those that the decoder has filled with
 * one colour, so that this colour does not count. The picture keeps its size: the model's square stays where it is.
 * @throws ServiceError image_broken if too much is missing
 */
async function mendCut(
  shrunk: Decodable,
  { header, cut }: { readonly header: PictureHeader; readonly cut: JpegCut },
): Promise<Decodable> {
  if (cut.progressive) {
    return {
      ...shrunk,
      warning: 'The JPEG picture is cut off: its finest details are missing, at least in a part of it.',
    };
  }
  using png = new DisposableStack();
  png.use(shrunk);
  const { covered } = shrunk;
  const { width, height } = shrunk.size;
  const scale = Math.min(1, height / header.height);
  const { rows, rowsAtAll, columns } = await wholePart(new StoredPng(shrunk.bytes), {
    rows: Math.max(1, Math.round(cut.coded.height * scale)),
    columns: Math.max(1, Math.round(cut.coded.width * scale)),
    fill: cut.fill,
  });
  if (rows === height) {
    png.move();
    return shrunk;
  }
  const missing = 1 - (rows * width + (rowsAtAll - rows) * columns) / (width * height);
  const percentage = Math.max(1, Math.ceil(missing * 100));
  if (missing > MAX_MISSING) {
    throw brokenPicture(
      'jpeg',
      `is truncated: ${percentage} % of its pixels are missing, at most ${MAX_MISSING * 100} % may be`,
    );
  }
  const stored = new StoredPng(shrunk.bytes);
  const { bytes, pixels } = createBitmap(width, height);
  const rowBytes = width * 4;
  await eachRow(shrunk.size, (y) => {
    const row = pixels.subarray(y * rowBytes, (y + 1) * rowBytes);
    if (y < rowsAtAll) stored.readRow(row);
    if (y >= rows) {
      const from = y < rowsAtAll ? columns * 4 : 0;
      row.set(pixels.subarray((y - 1) * rowBytes + from, y * rowBytes), from);
    }
  });
  // `resizeCutPixels` reads a PNG.
  const isCovered = covered.width === width && covered.height === height;
  const mended = isCovered ? bytes : await decodeBuiltin(bytes, { declaredPixels: width * height });
  return {
    ...shrunk,
    bytes: mended,
    warning: `The JPEG picture is cut off: ${percentage} % of its pixels are missing.`,
    [Symbol.dispose]: () => giveBack(mended),
  };
}

/** The part of a cut picture before the decoder's fill. */
interface WholePart {
  /** Complete rows. */
  readonly rows: number;
  /** Rows with pixels. The last ones, which were coded together, are not complete. */
  readonly rowsAtAll: number;
  /** Pixels of the incomplete rows. */
  readonly columns: number;
}

/** @param coded rows and columns of pixels that are coded together */
async function wholePart(
  stored: StoredPng,
  coded: { readonly rows: number; readonly columns: number; readonly fill: number },
): Promise<WholePart> {
  const { width, height } = stored;
  const { fill } = coded;
  const row = new Uint8Array(width * 4);
  /** Of each row, the pixels before those that are nothing but fill. */
  const lengths = new Uint32Array(height);
  await eachRow(stored, (y) => {
    stored.readRow(row);
    let at = row.length;
    while (at > 0 && row[at - 4] === fill && row[at - 3] === fill && row[at - 2] === fill) at -= 4;
    lengths[y] = at / 4;
  });
  let rowsAtAll = height;
  while (rowsAtAll > 0 && lengths[rowsAtAll - 1] === 0) rowsAtAll -= 1;
  // The first row and column of the fill may have some of the colours beside it.
  if (rowsAtAll < height) rowsAtAll -= rowsAtAll % coded.rows;
  const rows = Math.max(0, Math.ceil(rowsAtAll / coded.rows) - 1) * coded.rows;
  const length = Math.min(...lengths.subarray(rows, rowsAtAll));
  if (length === width) return { rows: rowsAtAll, rowsAtAll, columns: width };
  // The data end within the last block, which is not complete either.
  const columns = Math.max(0, Math.floor(length / coded.columns) - 1) * coded.columns;
  return { rows, rowsAtAll, columns: rowsAtAll === 0 ? 0 : columns };
}

/** Places a GIF's frame on its canvas. */
async function placeFrame(
  frame: Decodable,
  canvas: Size,
  { place, ground }: GifPicture,
  background: Rgb | undefined,
): Promise<Decodable> {
  using png = await decodeStored(frame, {});
  const { stored } = png;
  checkSize(stored, place);
  const { bytes, pixels } = createBitmap(canvas.width, canvas.height);
  // With a background, the canvas is transparent.
  const [empty] = new Uint32Array(Uint8Array.of(...ground, 255).buffer);
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.length / 4);
  await eachRow(canvas, (y) => {
    const row = words.subarray(y * canvas.width, (y + 1) * canvas.width);
    if (!background) row.fill(empty!);
    if (y < place.top || y >= place.top + place.height) return;
    const from = (y * canvas.width + place.left) * 4;
    stored.readRow(pixels.subarray(from, from + place.width * 4));
  });
  return { ...frame, bytes, size: canvas, covered: canvas, [Symbol.dispose]: () => giveBack(bytes) };
}

/** Decodes with `Bun.Image`. Disposing the result frees its pixels. */
async function decodeStored(
  { bytes, size }: Decodable,
  options: { readonly orientation?: ExifOrientation; readonly resized?: Size },
): Promise<{ readonly bytes: Uint8Array; readonly stored: StoredPng } & Disposable> {
  const png = await decodeBuiltin(bytes, { declaredPixels: pixelCount(size), ...options });
  return { bytes: png, stored: new StoredPng(png), [Symbol.dispose]: () => giveBack(png) };
}

async function resizeAndRead(decodable: Decodable, resized: Size, square: Window): Promise<Uint8Array> {
  const { orientation } = decodable;
  const { width, height } = turnedSize(decodable.size, orientation);
  // `Bun.Image` resizes the rows first: a narrow, long picture would become wide before it becomes short.
  const first = width < resized.width && height > resized.height ? { ...resized, width } : resized;
  using png = await decodeStored(decodable, { orientation, resized: first });
  if (first === resized) return readWindow(png.stored, square);
  const shortened = { ...decodable, bytes: png.bytes, size: first };
  using squeezed = await decodeStored(shortened, { resized });
  return readWindow(squeezed.stored, square);
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

/** The largest side of a model's square in use. */
const WIDEST_SQUARE = 448;

/** Rows in progress, tables, the result. */
const FIXED_BYTES = 512 * 1024;

/**
 * Estimates from the header how much memory decoding a picture takes at its worst moment, in bytes.
 * @param resized size to which it is resized, as shown; undefined for a picture that is not resized as a whole
 * @param isBlended the opacity changes the square
 * @param cut the part of the resized picture that is cut out
 */
export function decodeCostBytes(
  header: PictureHeader,
  resized: Size | undefined,
  isBlended = header.alpha,
  cut: Size = { width: WIDEST_SQUARE, height: WIDEST_SQUARE },
): number {
  return FIXED_BYTES + header.coefficientBytes + pixelBytes(header, resized, isBlended, cut);
}

function pixelBytes(header: PictureHeader, resized: Size | undefined, isBlended: boolean, cut: Size): number {
  const { width, height, orientation, format } = header;
  if (format === 'heic') {
    const columns = Math.max(WIDEST_SQUARE, turnedSize(cut, orientation).width);
    const narrowed = Math.max(width, height) * bytesPerPixel.decoded * columns;
    // Only a picture with an opacity is in memory as a whole, after its rows were read.
    return narrowed + (header.alpha ? width * height * bytesPerPixel.decoded : 0);
  }
  const turned = orientation === 1 ? 0 : bytesPerPixel.turned;
  const pixels = width * height;
  if (!resized) return pixels * (bytesPerPixel.decodedTwice + turned);
  if (format === 'jpeg' || format === 'raw') {
    const { decoded } = jpegShrink(header, turnedSize(resized, orientation));
    return decoded.width * decoded.height * (bytesPerPixel.decodedTwice + turned);
  }
  const ofFormat = format === 'avif' && header.alpha ? bytesPerPixel.avifWithAlpha : perPixelByFormat[format];
  const perPixel = header.rare ? bytesPerPixel.rare : ofFormat;
  const premultiplied = isBlended && pixels <= MAX_PREMULTIPLIED_PIXELS ? bytesPerPixel.decodedTwice : 0;
  return pixels * (Math.max(perPixel, premultiplied) + turned);
}

const perPixelByFormat = {
  png: bytesPerPixel.decoded,
  bmp: bytesPerPixel.decoded,
  webp: bytesPerPixel.webp,
  gif: bytesPerPixel.gif,
  tiff: bytesPerPixel.tiff,
  avif: bytesPerPixel.avif,
} as const satisfies Readonly<Record<Exclude<PictureFormat, 'jpeg' | 'heic' | 'raw'>, number>>;

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

/** Does something with each row of a picture, with turns of the event loop in between. */
async function eachRow({ width, height }: Size, work: (y: number) => void): Promise<void> {
  const rowsPerTurn = Math.max(1, Math.trunc(PIXELS_PER_TURN / width));
  for (let y = 0; y < height; y++) {
    work(y);
    if ((y + 1) % rowsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Changes pixels in place, [n, 4] u8 RGBA: composites them on a background, or multiplies them by their opacity. */
export function blendWith(background: Rgb | undefined): (pixels: Uint8Array) => void {
  return background ? (pixels) => compositeOn(background, pixels) : premultiplyAlpha;
}

/** Composites pixels on an opaque background, in place, as Pillow does (`alpha_composite`). */
export function compositeOn(background: Rgb, pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3]!;
    if (alpha === 255) continue;
    for (let channel = 0; channel < 3; channel++) {
      const blended = pixels[at + channel]! * alpha + background[channel]! * (255 - alpha);
      pixels[at + channel] = Math.round(blended / 255);
    }
    pixels[at + 3] = 255;
  }
}

async function blendedBitmap(decodable: Decodable, blend: (row: Uint8Array) => void): Promise<Decodable> {
  using png = await decodeStored(decodable, {});
  const { stored } = png;
  checkSize(stored, decodable.size);
  const { bytes, pixels } = createBitmap(stored.width, stored.height);
  const rowBytes = stored.width * 4;
  await eachRow(stored, (y) => {
    const row = pixels.subarray(y * rowBytes, (y + 1) * rowBytes);
    stored.readRow(row);
    blend(row);
  });
  return { ...decodable, bytes, [Symbol.dispose]: () => giveBack(bytes) };
}

/** The reference shows black under full transparency, not the colour that the file hides there. */
function blackenTransparent(pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 0) pixels.fill(0, at, at + 3);
}
