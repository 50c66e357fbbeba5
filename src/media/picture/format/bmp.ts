import { createBitmap } from '../../../../native/image/builtin-decoder.ts';
import { unsupportedPicture } from '../picture-errors.ts';
import { ByteView, ordinaryPicture, type PictureHeader } from './picture-header.ts';

const FILE_HEADER_BYTES = 14;
const CORE_HEADER_BYTES = 12;
const INFO_HEADER_BYTES = 40;
/** An information header with the masks of red, green and blue, or with alpha's as well. */
const V2_HEADER_BYTES = 52;
const V3_HEADER_BYTES = 56;
const V4_HEADER_BYTES = 108;
const V5_HEADER_BYTES = 124;
const WINDOWS_HEADERS: readonly number[] = [
  INFO_HEADER_BYTES,
  V2_HEADER_BYTES,
  V3_HEADER_BYTES,
  V4_HEADER_BYTES,
  V5_HEADER_BYTES,
];
/** OS/2's second header may end after any of its fields. */
const OS2_HEADERS: readonly number[] = [
  ...Array.from({ length: 13 }, (_, index) => 16 + index * 4),
  42,
  46,
].filter((bytes) => !WINDOWS_HEADERS.includes(bytes));

/** The lengths of all kinds of headers, which are their first number. */
export const bmpHeaderLengths: readonly number[] = [CORE_HEADER_BYTES, ...OS2_HEADERS, ...WINDOWS_HEADERS];

/** How the pixels are stored. */
type Coding = 'plain' | 'rle4' | 'rle8' | 'rle24';

/** Four bits of each channel's mask tell where it is in a pixel's 16 or 32 bits. */
interface Masks {
  readonly red: number;
  readonly green: number;
  readonly blue: number;
  /** 0: opaque. */
  readonly alpha: number;
}

interface BmpLayout {
  readonly width: number;
  readonly height: number;
  readonly topRowFirst: boolean;
  readonly bitsPerPixel: number;
  readonly coding: Coding;
  /** Of pixels with 16 or 32 bits. */
  readonly masks: Masks;
  readonly paletteOffset: number;
  readonly coloursInPalette: number;
  /** 3 in OS/2's first header, otherwise 4. */
  readonly bytesPerColour: number;
  readonly pixelsOffset: number;
  /** Decoders agree on it: a common header, 24 or 32 bits, whole bytes as channels. */
  readonly isCommon: boolean;
}

/** Reads a BMP's header, Windows' or OS/2's. */
export function readBmpHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'bmp', 'little');
  const { width, height, bitsPerPixel, coding, masks, pixelsOffset, isCommon } = readLayout(view);
  let isPadded = true;
  if (coding === 'plain') {
    const rowBytes = paddedRowBytes(width, bitsPerPixel);
    // Some encoders leave out the padding of the last row.
    view.require(pixelsOffset + rowBytes * (height - 1) + Math.ceil((width * bitsPerPixel) / 8));
    isPadded = pixelsOffset + rowBytes * height <= view.length;
  }
  return {
    ...ordinaryPicture,
    format: 'bmp',
    width,
    height,
    alpha: masks.alpha !== 0,
    rare: !isCommon || !isPadded,
  };
}

/** Rows end on a multiple of 4 bytes. */
function paddedRowBytes(width: number, bitsPerPixel: number): number {
  return Math.ceil((width * bitsPerPixel) / 32) * 4;
}

function readLayout(view: ByteView): BmpLayout {
  const headerBytes = view.uint32(FILE_HEADER_BYTES);
  const isCore = headerBytes === CORE_HEADER_BYTES;
  const isWindows = WINDOWS_HEADERS.includes(headerBytes);
  if (!bmpHeaderLengths.includes(headerBytes)) throw view.broken('has an unknown kind of header');
  const headerEnd = FILE_HEADER_BYTES + headerBytes;
  view.require(headerEnd);
  /** A field of the header; 0 if the header ends before it. */
  const field = (offset: number) => (offset + 4 <= headerEnd ? view.uint32(offset) : 0);

  const width = isCore ? view.uint16(18) : view.int32(18);
  const declaredHeight = isCore ? view.uint16(20) : view.int32(22);
  const height = Math.abs(declaredHeight);
  const bitsPerPixel = view.uint16(isCore ? 24 : 28);
  if (width <= 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const compression = isCore ? 0 : field(30);
  const { coding, maskCount } = codingOf(compression, bitsPerPixel, isWindows);
  if (![1, 2, 4, 8, 16, 24, 32].includes(bitsPerPixel)) {
    throw view.broken(`declares ${bitsPerPixel} bits per pixel, which does not exist`);
  }
  const masksFollow = headerBytes === INFO_HEADER_BYTES && maskCount > 0;
  const maskAt = (index: number) =>
    index < (masksFollow ? maskCount : (headerBytes - INFO_HEADER_BYTES) / 4)
      ? view.uint32(FILE_HEADER_BYTES + INFO_HEADER_BYTES + index * 4)
      : 0;
  const masks =
    maskCount > 0
      ? { red: maskAt(0), green: maskAt(1), blue: maskAt(2), alpha: maskAt(3) }
      : defaultMasks(bitsPerPixel);
  for (const mask of Object.values(masks)) {
    if (!isContiguous(mask)) throw view.broken('has a mask with gaps');
  }

  const paletteOffset = headerEnd + (masksFollow ? maskCount * 4 : 0);
  const bytesPerColour = isCore ? 3 : 4;
  const declaredOffset = view.uint32(10);
  const possible = bitsPerPixel <= 8 ? 2 ** bitsPerPixel : 0;
  const fitting =
    declaredOffset > paletteOffset
      ? Math.trunc((declaredOffset - paletteOffset) / bytesPerColour)
      : Number.POSITIVE_INFINITY;
  const coloursInPalette = Math.min(possible, field(46) || possible, fitting);
  // Some encoders write 0, or the end of the header although a palette follows.
  const hasOffset = declaredOffset > paletteOffset || (declaredOffset === paletteOffset && possible === 0);
  const pixelsOffset = hasOffset ? declaredOffset : paletteOffset + coloursInPalette * bytesPerColour;
  const isWhole = bitsPerPixel === 24 || (bitsPerPixel === 32 && Object.values(masks).every(isByte));
  return {
    width,
    height,
    // A negative height says so.
    topRowFirst: declaredHeight < 0,
    bitsPerPixel,
    coding,
    masks,
    paletteOffset,
    coloursInPalette,
    bytesPerColour,
    pixelsOffset,
    isCommon:
      [INFO_HEADER_BYTES, V4_HEADER_BYTES, V5_HEADER_BYTES].includes(headerBytes) &&
      coding === 'plain' &&
      maskCount <= 3 &&
      isWhole &&
      hasOffset,
  };
}

/**
 * @param isWindows OS/2 has other codings under the same numbers
 * @returns how the pixels are stored, and how many masks say where the channels are
 */
function codingOf(
  compression: number,
  bitsPerPixel: number,
  isWindows: boolean,
): { readonly coding: Coding; readonly maskCount: number } {
  const hasChannels = bitsPerPixel === 16 || bitsPerPixel === 32;
  if (compression === 0) return { coding: 'plain', maskCount: 0 };
  if (compression === 1 && bitsPerPixel === 8) return { coding: 'rle8', maskCount: 0 };
  if (compression === 2 && bitsPerPixel === 4) return { coding: 'rle4', maskCount: 0 };
  if (!isWindows && compression === 4 && bitsPerPixel === 24) return { coding: 'rle24', maskCount: 0 };
  // Masks of pixels that have no channels say nothing.
  if (isWindows && compression === 3) return { coding: 'plain', maskCount: hasChannels ? 3 : 0 };
  if (isWindows && compression === 6) return { coding: 'plain', maskCount: hasChannels ? 4 : 0 };
  if (isWindows && (compression === 4 || compression === 5)) {
    throw unsupportedPicture('a BMP that wraps a JPEG or PNG');
  }
  throw unsupportedPicture(`a BMP of ${bitsPerPixel} bits per pixel with compression ${compression}`);
}

function defaultMasks(bitsPerPixel: number): Masks {
  return bitsPerPixel === 16
    ? { red: 0x7c00, green: 0x3e0, blue: 0x1f, alpha: 0 }
    : { red: 0xff0000, green: 0xff00, blue: 0xff, alpha: 0 };
}

/** Whether the bits of a mask lie together. */
function isContiguous(mask: number): boolean {
  const bits = mask === 0 ? 0 : mask >>> shiftOf(mask);
  return (bits & (bits + 1)) === 0;
}

/** Whether a mask is 0 or a whole byte. */
function isByte(mask: number): boolean {
  return mask === 0 || (shiftOf(mask) % 8 === 0 && mask >>> shiftOf(mask) === 0xff);
}

/** The number of zeros below the mask. */
function shiftOf(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

/**
 * Decodes any BMP that `readBmpHeader` accepts: all depths, masks of any width, run lengths. It takes a second for 50
 * megapixels, so it must not run in the service's process.
 * @returns the pixels as a BMP of 32 bits, which `Bun.Image` reads
 * @throws ServiceError image_broken if the run lengths end before the last row
 */
export function decodeBmp(bytes: Uint8Array): Uint8Array {
  const view = new ByteView(bytes, 'bmp', 'little');
  const layout = readLayout(view);
  const { width, height, topRowFirst, bitsPerPixel } = layout;
  const bitmap = createBitmap(width, height);
  const { byteOffset, length } = bitmap.pixels;
  /** A word is a pixel: its bytes are R, G, B, A. Words are little-endian on all supported processors. */
  const words = new Uint32Array(bitmap.bytes.buffer, byteOffset, length / 4);
  const rowOf = (y: number) => {
    const row = topRowFirst ? y : height - 1 - y;
    return words.subarray(row * width, (row + 1) * width);
  };
  if (layout.coding !== 'plain') {
    const palette = layout.coding === 'rle24' ? new Uint32Array(1).fill(BLACK) : readPalette(view, layout);
    // Pixels that are left out have the first colour, as in the reference.
    words.fill(palette[0]!);
    decodeRunLengths(view, layout, palette, rowOf);
  } else {
    const readRow = rowReaders[bitsPerPixel <= 8 ? 'palette' : bitsPerPixel === 24 ? 'bytes' : 'masks'];
    const read = readRow(view, layout);
    const rowBytes = paddedRowBytes(width, bitsPerPixel);
    for (let y = 0; y < height; y++) read(layout.pixelsOffset + y * rowBytes, rowOf(y));
  }
  return bitmap.bytes;
}

const BLACK = 0xff000000;

function opaque(red: number, green: number, blue: number): number {
  return (BLACK | (blue << 16) | (green << 8) | red) >>> 0;
}

/** @returns 256 words; indices without a colour are black */
function readPalette(view: ByteView, layout: BmpLayout): Uint32Array {
  const { paletteOffset, coloursInPalette, bytesPerColour } = layout;
  const palette = new Uint32Array(256).fill(BLACK);
  view.require(paletteOffset + coloursInPalette * bytesPerColour);
  for (let index = 0; index < coloursInPalette; index++) {
    const at = paletteOffset + index * bytesPerColour;
    palette[index] = opaque(view.bytes[at + 2]!, view.bytes[at + 1]!, view.bytes[at]!);
  }
  return palette;
}

/** Makes a function that reads the row at an offset. */
type RowReader = (view: ByteView, layout: BmpLayout) => (at: number, row: Uint32Array) => void;

const rowReaders = {
  palette(view, layout) {
    const { bytes } = view;
    const { bitsPerPixel: bits } = layout;
    const palette = readPalette(view, layout);
    const pixelsPerByte = 8 / bits;
    const mask = 2 ** bits - 1;
    return (at, row) => {
      for (let x = 0; x < row.length; x++) {
        const byte = bytes[at + Math.trunc(x / pixelsPerByte)]!;
        row[x] = palette[(byte >> (8 - bits * ((x % pixelsPerByte) + 1))) & mask]!;
      }
    };
  },
  bytes({ bytes }) {
    return (at, row) => {
      for (let x = 0, from = at; x < row.length; x++, from += 3) {
        row[x] = opaque(bytes[from + 2]!, bytes[from + 1]!, bytes[from]!);
      }
    };
  },
  masks({ bytes }, { bitsPerPixel, masks }) {
    const channel = (mask: number) => {
      const shift = shiftOf(mask);
      const maximum = mask >>> shift;
      return (word: number) => (mask === 0 ? 0 : Math.trunc((((word & mask) >>> shift) * 255) / maximum));
    };
    const [red, green, blue] = [channel(masks.red), channel(masks.green), channel(masks.blue)];
    const alpha = masks.alpha === 0 ? () => 255 : channel(masks.alpha);
    const isLong = bitsPerPixel === 32;
    return (at, row) => {
      for (let x = 0, from = at; x < row.length; x++, from += isLong ? 4 : 2) {
        const low = bytes[from]! | (bytes[from + 1]! << 8);
        const word = isLong ? low | (bytes[from + 2]! << 16) | (bytes[from + 3]! << 24) : low;
        row[x] = ((alpha(word) << 24) | (blue(word) << 16) | (green(word) << 8) | red(word)) >>> 0;
      }
    };
  },
} as const satisfies Record<string, RowReader>;

/** Codes of two bytes whose first one is 0. Larger ones: this many pixels follow. */
const END_OF_ROW = 0;
const END_OF_PICTURE = 1;
const MOVE = 2;

/**
 * Decodes runs. Pixels beyond the end of a row are left out.
 * @param rowOf the pixels of a row, counted as stored
 */
function decodeRunLengths(
  view: ByteView,
  { width, height, coding, pixelsOffset }: BmpLayout,
  palette: Uint32Array,
  rowOf: (y: number) => Uint32Array,
): void {
  const { bytes } = view;
  const bytesPerColour = coding === 'rle24' ? 3 : 1;
  /** The pixel at a place of a run or a list of pixels that begins at an offset. */
  const colourAt = (start: number, index: number): number => {
    if (coding === 'rle8') return palette[bytes[start + index]!]!;
    if (coding === 'rle4') return palette[(bytes[start + (index >> 1)]! >> (index % 2 === 0 ? 4 : 0)) & 0xf]!;
    const at = start + index * 3;
    return opaque(bytes[at + 2]!, bytes[at + 1]!, bytes[at]!);
  };
  let at = pixelsOffset;
  let x = 0;
  let y = 0;
  while (y < height && !(y === height - 1 && x >= width && at + 2 > view.length)) {
    const count = view.uint8(at);
    const code = view.uint8(at + 1);
    if (count > 0) {
      const start = at + 1;
      view.require(start + bytesPerColour);
      const row = rowOf(y);
      const end = Math.min(width, x + count);
      // The two pixels of a byte alternate.
      const period = coding === 'rle4' ? 2 : 1;
      for (let index = 0; x + index < end; index++) row[x + index] = colourAt(start, index % period);
      x += count;
      at = start + bytesPerColour;
    } else if (code === END_OF_ROW) {
      x = 0;
      y += 1;
      at += 2;
    } else if (code === END_OF_PICTURE) {
      return;
    } else if (code === MOVE) {
      x += view.uint8(at + 2);
      y += view.uint8(at + 3);
      at += 4;
    } else {
      const start = at + 2;
      const listBytes = coding === 'rle4' ? Math.ceil(code / 2) : code * bytesPerColour;
      view.require(start + listBytes);
      const row = rowOf(y);
      const end = Math.min(width, x + code);
      for (let index = 0; x + index < end; index++) row[x + index] = colourAt(start, index);
      x += code;
      // Lists end on a multiple of 2 bytes.
      at = start + listBytes + (listBytes % 2);
    }
  }
}
