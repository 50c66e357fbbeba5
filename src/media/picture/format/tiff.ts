import { tooManyPixels, unsupportedPicture } from '../picture-errors.ts';
import { ByteView, ordinaryPicture, type PictureHeader, toOrientation } from './picture-header.ts';

/** The decoder's own limit on a picture's uncompressed bytes. */
const MAX_DECODED_BYTES = 256 * 1024 ** 2;
/** Strips and tiles: a 100-megapixel picture in tiles of 16 × 16 has 400,000. */
const MAX_VALUES = 500_000;
/** The most that a classic directory can have; real ones have up to a hundred. */
const MAX_ENTRIES = 65_535;

const tags = {
  newSubfileType: 254,
  width: 256,
  height: 257,
  bitsPerSample: 258,
  photometric: 262,
  stripOffsets: 273,
  orientation: 274,
  samplesPerPixel: 277,
  stripByteCounts: 279,
  tileOffsets: 324,
  tileByteCounts: 325,
  subDirectories: 330,
  extraSamples: 338,
  dngVersion: 50706,
} as const;

const REDUCED_RESOLUTION = 1;
const WHITE_IS_ZERO = 0;
const BLACK_IS_ZERO = 1;
/** Photometric interpretations of raw sensor values. */
const COLOUR_FILTER_ARRAY = 32803;
const LINEAR_RAW = 34892;

/** The value types of sizes and offsets: BYTE, SHORT, LONG, LONG8. */
const bytesByType: ReadonlyMap<number, number> = new Map([
  [1, 1],
  [3, 2],
  [4, 4],
  [16, 8],
]);

/** Reads the header of a TIFF's first page, classic or BigTIFF. Refuses raw pictures of cameras, which are TIFFs too. */
export function readTiffHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'tiff', bytes[0] === 0x49 ? 'little' : 'big');
  const directory = readDirectory(view);
  const first = (tag: number) => {
    const values = directory.get(tag);
    return values && values.count > 0 ? readValue(view, values, 0) : undefined;
  };

  const photometric = first(tags.photometric);
  const reduced = ((first(tags.newSubfileType) ?? 0) & REDUCED_RESOLUTION) !== 0;
  if (
    directory.has(tags.dngVersion) ||
    photometric === COLOUR_FILTER_ARRAY ||
    photometric === LINEAR_RAW ||
    // The first page is a thumbnail, and the picture is in a sub-directory: NEF, ARW and others.
    (reduced && directory.has(tags.subDirectories))
  ) {
    throw unsupportedPicture('a camera’s raw picture');
  }

  const width = first(tags.width) ?? 0;
  const height = first(tags.height) ?? 0;
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const samples = first(tags.samplesPerPixel) ?? 1;
  const bitsPerPixel = samples * (first(tags.bitsPerSample) ?? 1);
  if (bitsPerPixel === 0) throw view.broken('declares 0 bits per pixel');
  const maximumPixels = Math.trunc((MAX_DECODED_BYTES * 8) / bitsPerPixel);
  if (width * height > maximumPixels) {
    throw tooManyPixels(width, height, maximumPixels, `a TIFF of ${bitsPerPixel} bits per pixel`);
  }
  requireData(view, directory.get(tags.stripOffsets), directory.get(tags.stripByteCounts));
  requireData(view, directory.get(tags.tileOffsets), directory.get(tags.tileByteCounts));

  return {
    ...ordinaryPicture,
    format: 'tiff',
    width,
    height,
    orientation: toOrientation(first(tags.orientation) ?? 1),
    alpha: hasOpacity(view, directory.get(tags.extraSamples)),
    grey: photometric === WHITE_IS_ZERO || photometric === BLACK_IS_ZERO,
  };
}

/** The place of a tag's whole numbers. They are read on use. */
interface Values {
  readonly count: number;
  readonly at: number;
  readonly bytesEach: number;
}

/** The first directory's values by tag. */
function readDirectory(view: ByteView): ReadonlyMap<number, Values> {
  const big = view.uint16(2) === 43;
  const offset = big ? view.uint64(8) : view.uint32(4);
  const entryCount = big ? view.uint64(offset) : view.uint16(offset);
  if (entryCount > MAX_ENTRIES) throw view.broken(`has a directory of ${entryCount} tags`);
  const entryBytes = big ? 20 : 12;
  const entriesOffset = offset + (big ? 8 : 2);
  view.require(entriesOffset + entryCount * entryBytes);

  const wanted: ReadonlySet<number> = new Set(Object.values(tags));
  const directory = new Map<number, Values>();
  for (let index = 0; index < entryCount; index++) {
    const entry = entriesOffset + index * entryBytes;
    const tag = view.uint16(entry);
    const bytesEach = bytesByType.get(view.uint16(entry + 2));
    if (!wanted.has(tag) || bytesEach === undefined || directory.has(tag)) continue;
    const count = big ? view.uint64(entry + 4) : view.uint32(entry + 4);
    if (count > MAX_VALUES) throw view.broken(`has a tag ${tag} of ${count} values`);
    const inline = entry + (big ? 12 : 8);
    const fits = count * bytesEach <= (big ? 8 : 4);
    const at = fits ? inline : big ? view.uint64(inline) : view.uint32(inline);
    view.require(at + count * bytesEach);
    directory.set(tag, { count, at, bytesEach });
  }
  return directory;
}

function readValue(view: ByteView, values: Values, index: number): number {
  const at = values.at + index * values.bytesEach;
  if (values.bytesEach === 1) return view.uint8(at);
  if (values.bytesEach === 2) return view.uint16(at);
  return values.bytesEach === 4 ? view.uint32(at) : view.uint64(at);
}

function hasOpacity(view: ByteView, kinds: Values | undefined): boolean {
  if (!kinds) return false;
  for (let index = 0; index < kinds.count; index++) {
    const kind = readValue(view, kinds, index);
    if (kind === 1 || kind === 2) return true;
  }
  return false;
}

function requireData(view: ByteView, offsets: Values | undefined, byteCounts: Values | undefined): void {
  if (!offsets) return;
  for (let index = 0; index < offsets.count; index++) {
    const bytes = byteCounts && index < byteCounts.count ? readValue(view, byteCounts, index) : 0;
    view.require(readValue(view, offsets, index) + bytes);
  }
}
