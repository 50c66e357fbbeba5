import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import {
  createBitmap,
  DecodeError,
  decodeBuiltin,
  StoredPng,
} from '../../../../native/image/builtin-decoder.ts';
import { createGarbageNote } from '../../../garbage.ts';
import { unsupportedTiff } from '../picture-errors.ts';
import { decodeFax, type FaxOptions } from './fax.ts';
import { jpegSegments, readJpegFrame, readJpegHeader } from './jpeg.ts';
import { ByteView, ordinaryPicture, type PictureHeader, toOrientation } from './picture-header.ts';
import { decompressLzw, decompressZstd, inflate, reverseBits, unpackBits } from './tiff-compression.ts';
import { firstDirectory, isBigTiff, type TagValues, TiffDirectory } from './tiff-directory.ts';

/**
 * Reads the first page of a TIFF, classic or BigTIFF. What it cannot read exactly is refused when the header is read:
 * libraries decode some variants to wrong pixels without an error, and one ends its process.
 */

const tags = {
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  fillOrder: 266,
  stripOffsets: 273,
  orientation: 274,
  samplesPerPixel: 277,
  rowsPerStrip: 278,
  stripByteCounts: 279,
  planarConfiguration: 284,
  faxOptions: 292,
  predictor: 317,
  colourMap: 320,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileByteCounts: 325,
  inkSet: 332,
  extraSamples: 338,
  sampleFormat: 339,
  jpegTables: 347,
  jpegOffset: 513,
  jpegBytes: 514,
  lumaCoefficients: 529,
  subsampling: 530,
  referenceBlackWhite: 532,
} as const;

type Colours = 'white is zero' | 'black is zero' | 'rgb' | 'palette' | 'cmyk' | 'ycbcr';

const coloursByPhotometric: ReadonlyMap<number, Colours> = new Map([
  [0, 'white is zero'],
  [1, 'black is zero'],
  [2, 'rgb'],
  [3, 'palette'],
  [5, 'cmyk'],
  [6, 'ycbcr'],
]);

const otherPhotometrics: ReadonlyMap<number, string> = new Map([
  [4, 'a transparency mask'],
  [8, 'CIE L*a*b* colours'],
  [9, 'ICC L*a*b* colours'],
  [10, 'ITU L*a*b* colours'],
  [32844, 'LogL luminance'],
  [32845, 'LogLuv colours'],
]);

/** Samples of a pixel that its colour takes. */
const samplesOfColours = {
  'white is zero': 1,
  'black is zero': 1,
  rgb: 3,
  palette: 1,
  cmyk: 4,
  ycbcr: 3,
} as const satisfies Record<Colours, number>;

type Compression =
  | 'none'
  | 'lzw'
  | 'deflate'
  | 'zstd'
  | 'packbits'
  | 'jpeg'
  | 'old jpeg'
  | FaxOptions['coding'];

const compressions: ReadonlyMap<number, Compression> = new Map([
  [1, 'none'],
  [2, 'rle'],
  [3, 'group 3'],
  [4, 'group 4'],
  [5, 'lzw'],
  [6, 'old jpeg'],
  [7, 'jpeg'],
  [8, 'deflate'],
  [32771, 'rle word'],
  [32773, 'packbits'],
  [32946, 'deflate'],
  [50000, 'zstd'],
]);

const otherCompressions: ReadonlyMap<number, string> = new Map([
  [9, 'JBIG'],
  [10, 'JBIG'],
  [32766, 'NeXT'],
  [32809, 'ThunderScan'],
  [32909, 'PixarLog'],
  [34661, 'JBIG'],
  [34676, 'SGI Log'],
  [34677, 'SGI Log'],
  [34712, 'JPEG 2000'],
  [34887, 'LERC'],
  [34925, 'LZMA'],
  [50001, 'WebP'],
  [50002, 'JPEG XL'],
  [52546, 'JPEG XL'],
]);

const otherSampleFormats: ReadonlyMap<number, string> = new Map([
  [2, 'signed samples'],
  [3, 'floating-point samples'],
  [5, 'complex samples'],
  [6, 'complex samples'],
]);

/** What a classic TIFF can declare. */
const MAX_SIDE = 0xffff_ffff;
const MAX_BITS = 16;
const DIFFERENCES = 2;
const SEPARATE_PLANES = 2;
const LOWEST_BIT_FIRST = 2;
const FAX_IN_TWO_DIMENSIONS = 1;
const FAX_UNCOMPRESSED = 2;
const CMYK_INKS = 1;
/** Kinds of extra samples. CorelDRAW writes 999 for an opacity. */
const PREMULTIPLIED_OPACITY = 1;
const opacities: readonly number[] = [PREMULTIPLIED_OPACITY, 2, 999];
/** Tiles reach beyond the right and lower edges. Together, they may have this number of pixels more than the picture. */
const MAX_PADDED_PIXELS = 64 * 1024 ** 2;

/** The strips or tiles of the picture, in the order of the file. */
interface Blocks extends Size {
  readonly isTiled: boolean;
  readonly across: number;
  readonly down: number;
  readonly offsets: TagValues;
  readonly byteCounts: TagValues | undefined;
}

/** How the samples of a page are stored. */
interface Page extends Size {
  readonly view: ByteView;
  readonly isLittleEndian: boolean;
  readonly orientation: ExifOrientation;
  readonly colours: Colours;
  readonly bits: number;
  /** Samples of a pixel, those included that are not read. */
  readonly samples: number;
  /** Index of the opacity among the samples. */
  readonly opacity: number | undefined;
  readonly isPremultiplied: boolean;
  readonly isPlanar: boolean;
  readonly compression: Compression;
  readonly hasDifferences: boolean;
  readonly isReversed: boolean;
  readonly blocks: Blocks;
  readonly jpegTables: Uint8Array | undefined;
  /** RGB of every index, 8 bits each: all reds, all greens, all blues. */
  readonly palette: Uint8Array | undefined;
  /** Pixels that share the colour of YCbCr. */
  readonly subsampling: Size;
  readonly lumaCoefficients: readonly number[];
  readonly referenceBlackWhite: readonly number[];
}

/**
 * Reads the header of the first page.
 * @throws ServiceError image_unsupported for a variant that `decodeTiff` does not read; image_broken
 */
export function readTiffHeader(bytes: Uint8Array): PictureHeader {
  const page = readPage(bytes);
  return {
    ...ordinaryPicture,
    format: 'tiff',
    width: page.width,
    height: page.height,
    orientation: page.orientation,
    alpha: page.opacity !== undefined,
    coefficientBytes: workingBytes(page),
  };
}

function readPage(bytes: Uint8Array): Page {
  const isLittleEndian = bytes[0] === 0x49;
  const view = new ByteView(bytes, 'tiff', isLittleEndian ? 'little' : 'big');
  const directory = new TiffDirectory(view, firstDirectory(view), { isBig: isBigTiff(view) });
  const width = directory.number(tags.width) ?? 0;
  const height = directory.number(tags.height) ?? 0;
  if (Math.min(width, height) === 0 || Math.max(width, height) > MAX_SIDE) {
    throw view.broken(`declares ${width} × ${height} pixels`);
  }

  const compression = readCompression(directory);
  const colours = readColours(view, directory, compression);
  const samples = directory.number(tags.samplesPerPixel) ?? 1;
  const ofColours = samplesOfColours[colours];
  if (samples < ofColours) throw view.broken(`declares ${samples} of the ${ofColours} samples of a pixel`);
  const bits = readBits(view, directory, samples);
  if (colours === 'palette' && bits > 8) throw unsupportedTiff(`a palette and ${bits} bits per pixel`);
  const inkSet = directory.number(tags.inkSet) ?? CMYK_INKS;
  if (colours === 'cmyk' && inkSet !== CMYK_INKS) throw unsupportedTiff('inks other than CMYK');

  const isPlanar = samples > 1 && directory.number(tags.planarConfiguration) === SEPARATE_PLANES;
  const opacity = readOpacity(directory, colours, samples);
  const subsampling = readSubsampling(view, directory, colours);
  const page: Page = {
    view,
    isLittleEndian,
    width,
    height,
    orientation: toOrientation(directory.number(tags.orientation) ?? 1),
    colours,
    bits,
    samples,
    opacity: opacity?.sample,
    isPremultiplied: opacity?.kind === PREMULTIPLIED_OPACITY,
    isPlanar,
    compression,
    hasDifferences: readPredictor(directory, compression, bits),
    isReversed: directory.number(tags.fillOrder) === LOWEST_BIT_FIRST && !compression.endsWith('jpeg'),
    blocks: readBlocks(view, directory, { width, height }, compression),
    jpegTables: bytesOf(view, directory, tags.jpegTables),
    palette: colours === 'palette' ? readPalette(view, directory, bits) : undefined,
    subsampling,
    lumaCoefficients: coefficients(directory, tags.lumaCoefficients, [0.299, 0.587, 0.114]),
    referenceBlackWhite: coefficients(directory, tags.referenceBlackWhite, [0, 255, 128, 255, 128, 255]),
  };
  requireData(page);
  requireReadable(page);
  return page;
}

function readCompression(directory: TiffDirectory): Compression {
  const number = directory.number(tags.compression) ?? 1;
  const compression = compressions.get(number);
  if (!compression)
    throw unsupportedTiff(`${otherCompressions.get(number) ?? `an unknown (${number})`} compression`);
  if (compression !== 'group 3' && compression !== 'group 4') return compression;
  const options = directory.number(compression === 'group 3' ? tags.faxOptions : tags.faxOptions + 1) ?? 0;
  if ((options & FAX_UNCOMPRESSED) !== 0) throw unsupportedTiff('uncompressed parts in fax compression');
  const isFlat = compression === 'group 4' || (options & FAX_IN_TWO_DIMENSIONS) === 0;
  return isFlat ? compression : 'group 3 in two dimensions';
}

function isFax(compression: Compression): compression is FaxOptions['coding'] {
  return compression.startsWith('group') || compression.startsWith('rle');
}

function readColours(view: ByteView, directory: TiffDirectory, compression: Compression): Colours {
  // Early fax programs leave it out.
  const photometric = directory.number(tags.photometric) ?? (isFax(compression) ? 0 : undefined);
  if (photometric === undefined) throw view.broken('does not declare what its samples mean');
  const colours = coloursByPhotometric.get(photometric);
  if (!colours)
    throw unsupportedTiff(otherPhotometrics.get(photometric) ?? `unknown colours (${photometric})`);
  return colours;
}

/** @returns the bits of every sample */
function readBits(view: ByteView, directory: TiffDirectory, samples: number): number {
  const values = directory.values(tags.bitsPerSample);
  const bits = values && values.count > 0 ? values.at(0) : 1;
  const formats = directory.values(tags.sampleFormat);
  // Any number of samples may be declared. Only those with a description are checked.
  const described = Math.min(samples, Math.max(values?.count ?? 0, formats?.count ?? 0));
  for (let index = 0; index < described; index++) {
    const format = formats && index < formats.count ? otherSampleFormats.get(formats.at(index)) : undefined;
    if (format) throw unsupportedTiff(format);
    if (values && index < values.count && values.at(index) !== bits) {
      throw unsupportedTiff('samples of different sizes');
    }
  }
  if (bits === 0) throw view.broken('declares samples of 0 bits');
  if (bits > MAX_BITS) throw unsupportedTiff(`${bits} bits per channel`);
  return bits;
}

function readOpacity(directory: TiffDirectory, colours: Colours, samples: number) {
  const kinds = directory.values(tags.extraSamples);
  const extra = samples - samplesOfColours[colours];
  for (let index = 0; kinds && index < Math.min(kinds.count, extra); index++) {
    const kind = kinds.at(index);
    if (opacities.includes(kind)) return { sample: samplesOfColours[colours] + index, kind };
  }
  // As Pillow reads it: a fourth sample of RGB without a description is an opacity.
  return !kinds && colours === 'rgb' && extra === 1 ? { sample: 3, kind: 2 } : undefined;
}

/** Only these compressions have it; others ignore the tag, as libtiff does. */
function readPredictor(directory: TiffDirectory, compression: Compression, bits: number): boolean {
  if (compression !== 'lzw' && compression !== 'deflate' && compression !== 'zstd') return false;
  const predictor = directory.number(tags.predictor) ?? 1;
  if (predictor === 1) return false;
  if (predictor !== DIFFERENCES) throw unsupportedTiff(`predictor ${predictor}`);
  if (bits !== 8 && bits !== 16) throw unsupportedTiff(`a predictor and ${bits} bits per channel`);
  return true;
}

function readBlocks(
  view: ByteView,
  directory: TiffDirectory,
  { width, height }: Size,
  compression: Compression,
) {
  // Old-style JPEG: one stream, which the strips only point into.
  const stream = compression === 'old jpeg' ? directory.values(tags.jpegOffset) : undefined;
  const isTiled = !stream && directory.has(tags.tileOffsets);
  const rows = stream ? height : (directory.number(tags.rowsPerStrip) ?? height);
  const block = isTiled
    ? { width: directory.number(tags.tileWidth) ?? 0, height: directory.number(tags.tileHeight) ?? 0 }
    : { width, height: Math.min(rows, height) };
  if (block.width === 0 || block.height === 0) {
    throw view.broken(`declares ${isTiled ? 'tiles' : 'strips'} of ${block.width} × ${block.height} pixels`);
  }
  const across = Math.ceil(width / block.width);
  const down = Math.ceil(height / block.height);
  if (across * down * block.width * block.height > 4 * width * height + MAX_PADDED_PIXELS) {
    throw view.broken(`has tiles of ${block.width} × ${block.height} pixels, too large for its size`);
  }
  const offsets = stream ?? directory.values(isTiled ? tags.tileOffsets : tags.stripOffsets);
  if (!offsets) throw view.broken('does not say where its pixels are');
  const byteCounts = directory.values(
    stream ? tags.jpegBytes : isTiled ? tags.tileByteCounts : tags.stripByteCounts,
  );
  return { ...block, isTiled, across, down, offsets, byteCounts };
}

function readPalette(view: ByteView, directory: TiffDirectory, bits: number): Uint8Array {
  const values = directory.values(tags.colourMap);
  const size = 3 * 2 ** bits;
  if (!values || values.count < size) throw view.broken('has no palette, or one that is too short');
  const numbers = Array.from({ length: size }, (_, index) => values.at(index));
  // Some programs write 8 bits, as libtiff knows.
  const shift = numbers.some((value) => value > 255) ? 8 : 0;
  return Uint8Array.from(numbers, (value) => value >> shift);
}

function readSubsampling(view: ByteView, directory: TiffDirectory, colours: Colours): Size {
  if (colours !== 'ycbcr') return { width: 1, height: 1 };
  const [width = 2, height = 2] = directory.list(tags.subsampling);
  if (![1, 2, 4].includes(width) || ![1, 2, 4].includes(height)) {
    throw view.broken(`declares a YCbCr subsampling of ${width} × ${height}`);
  }
  return { width, height };
}

function coefficients(directory: TiffDirectory, tag: number, fallback: readonly number[]): readonly number[] {
  const found = directory.list(tag);
  const isSound = found.length >= fallback.length && found.every((value) => Number.isFinite(value));
  return isSound ? found : fallback;
}

function bytesOf(view: ByteView, directory: TiffDirectory, tag: number): Uint8Array | undefined {
  const range = directory.range(tag);
  return range && view.bytes.subarray(range.start, range.end);
}

/** The samples that are read: those of the colour, then the opacity. */
function channelsOf({ colours, opacity }: Page): readonly number[] {
  const ofColour = Array.from({ length: samplesOfColours[colours] }, (_, sample) => sample);
  return opacity === undefined ? ofColour : [...ofColour, opacity];
}

/** All strips or tiles that are read must be there, and inside the file. */
function requireData(page: Page): void {
  const { view, blocks, isPlanar, compression } = page;
  const { across, down, offsets, byteCounts } = blocks;
  const planes = isPlanar ? Math.max(...channelsOf(page)) + 1 : 1;
  const needed = across * down * planes;
  if (offsets.count < needed) {
    throw view.truncated(`it has ${offsets.count} strips or tiles, but ${needed} are declared`);
  }
  if (compression !== 'none' && needed > 1 && (byteCounts?.count ?? 0) < needed) {
    throw view.broken('does not say how long its strips or tiles are');
  }
  for (let index = 0; index < offsets.count; index++) {
    const bytes = byteCounts && index < byteCounts.count ? byteCounts.at(index) : 0;
    view.require(offsets.at(index) + bytes);
  }
}

/** Refuses combinations that `decodeTiff` does not read. */
function requireReadable(page: Page): void {
  const { colours, bits, samples, isPlanar, compression, subsampling } = page;
  if (isFax(compression) && (bits !== 1 || (samples > 1 && !isPlanar))) {
    throw unsupportedTiff('fax compression and more than 1 bit per pixel');
  }
  const isSubsampled = subsampling.width * subsampling.height > 1;
  if (compression.endsWith('jpeg')) {
    if (bits !== 8) throw unsupportedTiff(`JPEG compression and ${bits} bits per channel`);
    if (colours === 'palette') throw unsupportedTiff('JPEG compression and a palette');
    if (colours === 'cmyk') throw unsupportedTiff('JPEG compression and CMYK colours');
    if (!isPlanar && samples > samplesOfColours[colours]) {
      throw unsupportedTiff('JPEG compression and extra channels');
    }
    if (compression === 'old jpeg' && isPlanar) throw unsupportedTiff('old-style JPEG compression');
    requireReadableJpeg(page);
  } else if (isSubsampled && (bits !== 8 || samples > 3)) {
    throw unsupportedTiff('subsampled YCbCr colours of other than three samples of 8 bits');
  }
  if (isSubsampled && isPlanar) throw unsupportedTiff('subsampled YCbCr colours in separate planes');
}

/** JPEG is a family of processes. The first block shows which one it is. */
function requireReadableJpeg(page: Page): void {
  const data = blockData(page, 0, 0);
  const frame = readJpegFrame(data);
  if (page.compression === 'old jpeg') {
    // Its tables may be anywhere, and differ by program. It is read where it is a whole JPEG.
    if (!frame || data[0] !== 0xff || data[1] !== 0xd8) throw unsupportedTiff('old-style JPEG compression');
  }
  if (!frame) return;
  if (frame.precision !== 8) throw unsupportedTiff(`JPEG compression of ${frame.precision} bits per channel`);
  if (!frame.isOrdinary) throw unsupportedTiff('lossless or arithmetic JPEG compression');
}

/** Memory for decompressed strips and tiles, in bytes, beside the picture's pixels. */
function workingBytes(page: Page): number {
  const { blocks, compression, isPlanar, isReversed } = page;
  const pixels = blocks.width * blocks.height;
  const planes = isPlanar ? channelsOf(page).length : 1;
  // RGBA, its PNG, the pixels taken from it, and the compressed JPEG.
  if (compression.endsWith('jpeg')) return pixels * (8 + 4 * planes);
  if (compression === 'none' && !isReversed) return 0;
  const subsampled = page.colours === 'ycbcr' && !isPlanar ? pixels * 3 : 0;
  // Deflate and Zstandard write to a buffer of their own.
  return blockBytes(page, blocks.height) * (planes + 1) + subsampled;
}

/** Bytes of a row of a strip or tile; of several rows where they share their colours. */
function rowBytesOf({ blocks, bits, samples, isPlanar, subsampling, compression }: Page): number {
  const { width, height } = subsampling;
  if (width * height > 1 && !compression.endsWith('jpeg')) {
    return Math.ceil(blocks.width / width) * (width * height + 2);
  }
  return Math.ceil((blocks.width * bits * (isPlanar ? 1 : samples)) / 8);
}

/** Bytes of the first rows of a strip or tile. */
function blockBytes(page: Page, rows: number): number {
  return rowBytesOf(page) * Math.ceil(rows / page.subsampling.height);
}

/** The stored bytes of a strip or tile. */
function blockData(page: Page, index: number, neededBytes: number): Uint8Array {
  const { view, blocks, compression } = page;
  const start = blocks.offsets.at(index);
  const declared = blocks.byteCounts && index < blocks.byteCounts.count ? blocks.byteCounts.at(index) : 0;
  // Without compression, the size is known, and some programs declare a wrong one.
  const bytes = compression === 'none' ? neededBytes : declared || view.length - start;
  return view.bytes.subarray(start, start + bytes);
}

/** Samples of a strip or tile: of all channels, or of one. */
interface Samples {
  readonly data: Uint8Array;
  readonly rowBytes: number;
  /** Samples of a pixel. */
  readonly stride: number;
  readonly bits: number;
}

/** Bytes of decompressed blocks, after which garbage is collected. */
const GARBAGE_BYTES = 32 * 1024 ** 2;

/**
 * Decodes the first page, without turning it upright. It does its work in one piece: call it where nothing waits.
 * @param bytes a file whose header `readTiffHeader` has accepted
 * @returns the pixels as a BMP of 32 bits; the opacity is not multiplied into them
 * @throws DecodeError broken
 */
export async function decodeTiff(bytes: Uint8Array): Promise<Uint8Array> {
  const page = readPage(bytes);
  const { width, height, blocks, isPlanar } = page;
  const bitmap = createBitmap(width, height);
  const channels = channelsOf(page);
  const noteGarbage = createGarbageNote(GARBAGE_BYTES);
  const readBlock = createBlockReader(page);
  const paint = createPainter(page);
  const rows = channels.map(() => new Uint8Array(blocks.width));
  for (let block = 0; block < blocks.across * blocks.down; block++) {
    const left = (block % blocks.across) * blocks.width;
    const top = Math.trunc(block / blocks.across) * blocks.height;
    const columnCount = Math.min(blocks.width, width - left);
    const rowCount = Math.min(blocks.height, height - top);
    const planes: Samples[] = [];
    for (const sample of isPlanar ? channels : [0]) {
      planes.push(await readBlock(sample * blocks.across * blocks.down + block, planes.length, rowCount));
    }
    for (let y = 0; y < rowCount; y++) {
      for (const [channel, sample] of channels.entries()) {
        const source = isPlanar ? planes[channel]! : planes[0]!;
        const row = source.data.subarray(y * source.rowBytes, (y + 1) * source.rowBytes);
        const isIndex = page.colours === 'palette' && channel === 0;
        const unpacking = { ...source, first: isPlanar ? 0 : sample, isIndex, page };
        unpack(row, unpacking, rows[channel]!.subarray(0, columnCount));
      }
      const start = ((top + y) * width + left) * 4;
      paint(rows, bitmap.pixels.subarray(start, start + columnCount * 4));
    }
    noteGarbage(blocks.width * blocks.height * page.samples);
  }
  return bitmap.bytes;
}

interface Unpacking extends Samples {
  /** Index of the sample in its pixel. */
  readonly first: number;
  /** It is not spread to 0–255. */
  readonly isIndex: boolean;
  readonly page: Page;
}

/** Takes a channel of a row out of its samples, as 8 bits each. */
function unpack(
  row: Uint8Array,
  { bits, stride, first, isIndex, page }: Unpacking,
  target: Uint8Array,
): void {
  const count = target.length;
  if (bits === 8) {
    for (let x = 0, at = first; x < count; x++, at += stride) target[x] = row[at]!;
    return;
  }
  if (bits === 16) {
    const high = page.isLittleEndian ? 1 : 0;
    for (let x = 0, at = first * 2 + high; x < count; x++, at += stride * 2) target[x] = row[at]!;
    return;
  }
  const mask = (1 << bits) - 1;
  const scale = isIndex ? 1 : 255 / mask;
  for (let x = 0; x < count; x++) {
    const bit = (x * stride + first) * bits;
    const at = bit >> 3;
    const word = (row[at]! << 16) | ((row[at + 1] ?? 0) << 8) | (row[at + 2] ?? 0);
    const value = (word >> (24 - (bit & 7) - bits)) & mask;
    target[x] = bits > 8 ? value >> (bits - 8) : Math.round(value * scale);
  }
}

type ReadBlock = (index: number, plane: number, rows: number) => Promise<Samples>;

/** Reads strips or tiles. What it returns is valid until the same plane is read again. */
function createBlockReader(page: Page): ReadBlock {
  if (page.compression.endsWith('jpeg')) return (index) => readJpegBlock(page, index);
  const { blocks, bits, isPlanar, samples, isReversed, subsampling } = page;
  const stride = isPlanar ? 1 : samples;
  const rowBytes = rowBytesOf(page);
  const buffers: Uint8Array[] = [];
  const isSubsampled = subsampling.width * subsampling.height > 1;
  return async (index, plane, rows) => {
    const neededBytes = blockBytes(page, rows);
    const stored = blockData(page, index, neededBytes);
    const data = isReversed ? reverseBits(stored) : stored;
    buffers[plane] ??= new Uint8Array(page.compression === 'none' ? 0 : blockBytes(page, blocks.height));
    const block = decompressBlock(page, data, buffers[plane]!, rows);
    if (block.length < neededBytes) throw brokenBlock(index);
    if (page.hasDifferences) {
      for (let y = 0; y < rows; y++)
        addDifferences(page, block.subarray(y * rowBytes, (y + 1) * rowBytes), stride);
    }
    return isSubsampled ? spreadColours(page, block, rows) : { data: block, rowBytes, stride, bits };
  };
}

/** @returns what could be decompressed */
function decompressBlock(page: Page, data: Uint8Array, buffer: Uint8Array, rows: number): Uint8Array {
  const { compression, blocks } = page;
  switch (compression) {
    case 'none':
      return data;
    case 'lzw':
      return buffer.subarray(0, decompressLzw(data, buffer));
    case 'packbits':
      return buffer.subarray(0, unpackBits(data, buffer));
    case 'deflate':
      return buffer.subarray(0, inflate(data, buffer));
    case 'zstd':
      return buffer.subarray(0, decompressZstd(data, buffer));
    case 'jpeg':
    case 'old jpeg':
      throw new Error('This is a bug: JPEG blocks are not decompressed as samples.');
    default: {
      const bits = buffer.subarray(0, blockBytes(page, rows)).fill(0);
      return decodeFax(data, bits, { width: blocks.width, rows, coding: compression })
        ? bits
        : new Uint8Array(0);
    }
  }
}

function brokenBlock(index: number): DecodeError {
  return new DecodeError('broken', `the strip or tile ${index} is damaged`);
}

/** Makes samples of differences to the pixel on the left. */
function addDifferences({ bits, isLittleEndian }: Page, row: Uint8Array, stride: number): void {
  if (bits === 8) {
    for (let at = stride; at < row.length; at++) row[at] = row[at]! + row[at - stride]!;
    return;
  }
  const [high, low] = isLittleEndian ? [1, 0] : [0, 1];
  for (let at = stride * 2; at + 1 < row.length; at += 2) {
    const before = at - stride * 2;
    const sum = ((row[at + high]! + row[before + high]!) << 8) + row[at + low]! + row[before + low]!;
    row[at + high] = sum >> 8;
    row[at + low] = sum;
  }
}

/** Gives each pixel of subsampled YCbCr its three samples. */
function spreadColours(page: Page, block: Uint8Array, rows: number): Samples {
  const { subsampling, blocks } = page;
  const groupBytes = subsampling.width * subsampling.height + 2;
  const groupRowBytes = rowBytesOf(page);
  const rowBytes = blocks.width * 3;
  const data = new Uint8Array(rowBytes * rows);
  for (let y = 0, to = 0; y < rows; y++) {
    const groupRow = Math.trunc(y / subsampling.height) * groupRowBytes;
    const lumaRow = (y % subsampling.height) * subsampling.width;
    for (let x = 0; x < blocks.width; x++, to += 3) {
      const group = groupRow + Math.trunc(x / subsampling.width) * groupBytes;
      data[to] = block[group + lumaRow + (x % subsampling.width)]!;
      data[to + 1] = block[group + groupBytes - 2]!;
      data[to + 2] = block[group + groupBytes - 1]!;
    }
  }
  return { data, rowBytes, stride: 3, bits: 8 };
}

/** Decodes a JPEG block, to RGB where it has colours. */
async function readJpegBlock(page: Page, index: number): Promise<Samples> {
  const { colours, blocks, jpegTables, isPlanar, compression } = page;
  const data = blockData(page, index, 0);
  const components = isPlanar ? 1 : samplesOfColours[colours];
  const frame = readJpegFrame(data);
  if (!frame || frame.components !== components) throw brokenBlock(index);
  const whole = compression === 'old jpeg' ? data : completeJpeg(jpegTables, data, colours === 'ycbcr');
  const { width, height } = readBlockHeader(whole, index);
  const lastRows =
    page.height - Math.trunc((index % (blocks.across * blocks.down)) / blocks.across) * blocks.height;
  if (width !== blocks.width || height < Math.min(blocks.height, lastRows) || height > blocks.height) {
    throw brokenBlock(index);
  }
  const stored = new StoredPng(await decodeBuiltin(whole, { declaredPixels: width * height }));
  const rowBytes = width * 4;
  const pixels = new Uint8Array(rowBytes * height);
  for (let y = 0; y < height; y++) stored.readRow(pixels.subarray(y * rowBytes, (y + 1) * rowBytes));
  return { data: pixels, rowBytes, stride: 4, bits: 8 };
}

function readBlockHeader(jpeg: Uint8Array, index: number): PictureHeader {
  try {
    return readJpegHeader(jpeg);
  } catch (cause) {
    throw new DecodeError('broken', `the strip or tile ${index} is not a sound JPEG`, { cause });
  }
}

/** Says whether three components are YCbCr. Without it, decoders guess by the components' names. */
function adobeSegment(isYcbcr: boolean): readonly number[] {
  return [0xff, 0xee, 0, 14, ...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, isYcbcr ? 1 : 0];
}

/** Puts the tables that all blocks share, and what the TIFF says of the colours, into a block. */
function completeJpeg(tables: Uint8Array | undefined, data: Uint8Array, isYcbcr: boolean): Uint8Array {
  const pieces: (Uint8Array | readonly number[])[] = [[0xff, 0xd8], adobeSegment(isYcbcr)];
  for (const { marker, start, end } of jpegSegments(tables ?? new Uint8Array(0))) {
    if (!isRemark(marker)) pieces.push(tables!.subarray(start, end));
  }
  for (const { marker, start, end } of jpegSegments(data)) {
    if (marker === 0xda) pieces.push(data.subarray(start));
    else if (!isRemark(marker)) pieces.push(data.subarray(start, end));
  }
  return new Uint8Array(
    Buffer.concat([...pieces.map((piece) => Uint8Array.from(piece)), Uint8Array.of(0xff, 0xd9)]),
  );
}

/** Application data and comments. */
function isRemark(marker: number): boolean {
  return (marker >= 0xe0 && marker <= 0xef) || marker === 0xfe;
}

/**
 * Makes pixels of a row's channels.
 * @param channels 8 bits each: the colour, then the opacity
 * @param rgba receives as many pixels as it has room for
 */
type Paint = (channels: readonly Uint8Array[], rgba: Uint8Array) => void;

function createPainter(page: Page): Paint {
  const paintColours = createColourPainter(page);
  if (page.opacity === undefined) return paintColours;
  const index = samplesOfColours[page.colours];
  return (channels, rgba) => {
    paintColours(channels, rgba);
    const opacity = channels[index]!;
    for (let at = 0, x = 0; at < rgba.length; at += 4, x++) {
      const alpha = opacity[x]!;
      rgba[at + 3] = alpha;
      if (!page.isPremultiplied || alpha === 0 || alpha === 255) continue;
      for (let to = at; to < at + 3; to++) rgba[to] = Math.min(255, Math.trunc((rgba[to]! * 255) / alpha));
    }
  };
}

function createColourPainter(page: Page): Paint {
  const { colours, compression, palette } = page;
  switch (colours) {
    case 'white is zero':
    case 'black is zero': {
      const inverted = colours === 'white is zero' ? 255 : 0;
      return ([grey], rgba) => {
        for (let at = 0, x = 0; at < rgba.length; at += 4, x++) {
          const value = grey![x]! ^ inverted;
          rgba[at] = rgba[at + 1] = rgba[at + 2] = value;
          rgba[at + 3] = 255;
        }
      };
    }
    case 'palette': {
      const size = palette!.length / 3;
      return ([indices], rgba) => {
        for (let at = 0, x = 0; at < rgba.length; at += 4, x++) {
          const index = indices![x]!;
          rgba[at] = palette![index]!;
          rgba[at + 1] = palette![size + index]!;
          rgba[at + 2] = palette![2 * size + index]!;
          rgba[at + 3] = 255;
        }
      };
    }
    case 'cmyk':
      return ([cyan, magenta, yellow, black], rgba) => {
        for (let at = 0, x = 0; at < rgba.length; at += 4, x++) {
          const light = 255 - black![x]!;
          rgba[at] = light - scaled(cyan![x]!, light);
          rgba[at + 1] = light - scaled(magenta![x]!, light);
          rgba[at + 2] = light - scaled(yellow![x]!, light);
          rgba[at + 3] = 255;
        }
      };
    case 'ycbcr':
      // The JPEG decoder has made RGB of it, unless the planes lie apart.
      return compression.endsWith('jpeg') && !page.isPlanar ? paintRgb : createYcbcrPainter(page);
    case 'rgb':
      return paintRgb;
  }
}

/** A product of shares of 255, with Pillow's rounding. */
function scaled(a: number, b: number): number {
  const product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

const paintRgb: Paint = ([red, green, blue], rgba) => {
  for (let at = 0, x = 0; at < rgba.length; at += 4, x++) {
    rgba[at] = red![x]!;
    rgba[at + 1] = green![x]!;
    rgba[at + 2] = blue![x]!;
    rgba[at + 3] = 255;
  }
};

function createYcbcrPainter({ lumaCoefficients, referenceBlackWhite }: Page): Paint {
  const [ofRed, ofGreen, ofBlue] = lumaCoefficients as [number, number, number];
  const [black, white, neutralBlue, fullBlue, neutralRed, fullRed] = referenceBlackWhite as [
    ...[number, number, number],
    ...[number, number, number],
  ];
  const lumaScale = 255 / (white - black || 255);
  const blueScale = 127 / (fullBlue - neutralBlue || 127);
  const redScale = 127 / (fullRed - neutralRed || 127);
  return ([lumas, blues, reds], rgba) => {
    for (let at = 0, x = 0; at < rgba.length; at += 4, x++) {
      const luma = (lumas![x]! - black) * lumaScale;
      const red = luma + (reds![x]! - neutralRed) * redScale * (2 - 2 * ofRed);
      const blue = luma + (blues![x]! - neutralBlue) * blueScale * (2 - 2 * ofBlue);
      const green = (luma - ofRed * red - ofBlue * blue) / (ofGreen || 1);
      rgba[at] = toByte(red);
      rgba[at + 1] = toByte(green);
      rgba[at + 2] = toByte(blue);
      rgba[at + 3] = 255;
    }
  };
}

function toByte(value: number): number {
  return Math.max(0, Math.min(255, Math.round(value)));
}
