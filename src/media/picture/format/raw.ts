import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import { ServiceError } from '../../../errors.ts';
import { unsupportedPicture } from '../picture-errors.ts';
import { JPEG_START, readJpegFrame, readJpegHeader } from './jpeg.ts';
import { ByteView, latin1, type PictureHeader, toOrientation } from './picture-header.ts';
import { type ByteRange, firstDirectory, isBigTiff, TiffDirectory } from './tiff-directory.ts';

/**
 * Raw pictures of cameras. Their sensor values are not developed: the largest JPEG that the camera has put beside them
 * is shown, turned as the raw picture is. Most raw formats are TIFFs with tags of their own.
 */

const tags = {
  newSubfileType: 254,
  compression: 259,
  photometric: 262,
  make: 271,
  stripOffsets: 273,
  orientation: 274,
  stripByteCounts: 279,
  subDirectories: 330,
  jpegOffset: 513,
  jpegBytes: 514,
  exif: 34665,
  makerNote: 37500,
  dngVersion: 50706,
  /** Of Panasonic: the bytes of a JPEG. */
  panasonicJpeg: 0x2e,
  olympusCameraSettings: 0x2020,
  olympusPreviewOffset: 0x101,
  olympusPreviewBytes: 0x102,
} as const;

const REDUCED_RESOLUTION = 1;
/** Photometric interpretations of sensor values: a colour filter array, and what was made of one. */
const rawPhotometrics: readonly number[] = [32803, 34892];
const jpegCompressions: readonly number[] = [6, 7];

/** Formats by the beginning of the camera's maker, in capitals. */
const formatsByMake: readonly (readonly [make: string, format: string])[] = [
  ['NIKON', 'NEF'],
  ['SONY', 'ARW'],
  ['CANON', 'CR2'],
  ['PENTAX', 'PEF'],
  ['RICOH', 'PEF'],
  ['SAMSUNG', 'SRW'],
];

/** Files have up to five. Directories may form a ring. */
const MAX_DIRECTORIES = 16;
/** A directory of a camera has up to a hundred tags. */
const MAX_ENTRIES = 1000;
/** How many previews are walked through. A damaged file may have many that cover all of it. */
const MAX_PREVIEWS = 3;
/** The thumbnail of EXIF has 160 × 120 pixels: too few for the model, which sees a square of 224 or more. */
const MIN_PREVIEW_SIDE = 160;

/** What a raw file says of itself. */
interface RawFile {
  /** Its usual file name ending, in capitals; empty if unknown. */
  readonly name: string;
  readonly orientation: ExifOrientation | undefined;
  /** Where its JPEGs may be. */
  readonly places: readonly ByteRange[];
}

/** Whether a TIFF is a camera's raw picture. The first page of most of these is only a thumbnail. */
export function isRawTiff(bytes: Uint8Array): boolean {
  const directories = readDirectories(viewOf(bytes));
  const [first] = directories;
  if (!first) return false;
  const subfile = numberOf(first, tags.newSubfileType);
  const isReduced = subfile !== NONE && (subfile & REDUCED_RESOLUTION) !== 0;
  return (
    first.has(tags.dngVersion) ||
    (isReduced && first.has(tags.subDirectories)) ||
    directories.some(hasSensorValues)
  );
}

function hasSensorValues(directory: TiffDirectory): boolean {
  return rawPhotometrics.includes(numberOf(directory, tags.photometric));
}

/**
 * Reads the header of the largest preview of a raw picture.
 * @throws ServiceError image_unsupported if it has none that is large enough; image_broken if one is cut off
 */
export function readRawHeader(bytes: Uint8Array): PictureHeader {
  const view = viewOf(bytes);
  const { name, orientation, places } = describe(view);
  const what = `a camera’s raw picture${name && ` (${name})`}`;
  const previews = findPreviews(view, places);
  let largest: Size | undefined;
  let cut: PictureHeader | undefined;
  for (const { range, size } of previews.slice(0, MAX_PREVIEWS)) {
    largest ??= size;
    if (Math.min(size.width, size.height) < MIN_PREVIEW_SIDE) break;
    const header = readPreview(bytes.subarray(range.start, range.end));
    if (!header) continue;
    // Programs turn a raw picture by changing its own tag only.
    const turned = orientation ?? header.orientation;
    const whole = { ...header, format: 'raw', orientation: turned, preview: range } as const;
    if (!header.unproven) return whole;
    cut ??= whole;
  }
  if (cut) return cut;
  const cutOff = places.find(({ end }) => end > bytes.length);
  if (cutOff) view.require(cutOff.end);
  if (!largest) throw unsupportedPicture(`${what} without a JPEG preview`);
  if (Math.min(largest.width, largest.height) >= MIN_PREVIEW_SIDE) throw view.broken('has a damaged preview');
  throw unsupportedPicture(`${what} with only a thumbnail of ${largest.width} × ${largest.height} pixels`);
}

/** The byte order is that of its first letters; formats that have none are big-endian. */
function viewOf(bytes: Uint8Array): ByteView {
  return new ByteView(bytes, 'raw', latin1(bytes, 0, 2) === 'II' ? 'little' : 'big');
}

interface Preview {
  readonly range: ByteRange;
  readonly size: Size;
}

/** The JPEGs at these places, the largest first. Sensor values may be a JPEG too, but a lossless one. */
function findPreviews(view: ByteView, places: readonly ByteRange[]): readonly Preview[] {
  const byStart = new Map<number, Preview>();
  for (const range of places) {
    if (range.end > view.length || latin1(view.bytes, range.start, 3) !== JPEG_START) continue;
    const frame = readJpegFrame(view.bytes.subarray(range.start, range.end));
    if (frame?.isOrdinary) byStart.set(range.start, { range, size: frame });
  }
  const area = ({ size }: Preview) => size.width * size.height;
  return [...byStart.values()].sort((one, other) => area(other) - area(one));
}

/** @returns undefined if it is damaged */
function readPreview(jpeg: Uint8Array): PictureHeader | undefined {
  try {
    return readJpegHeader(jpeg);
  } catch (fault) {
    if (fault instanceof ServiceError) return undefined;
    throw fault;
  }
}

function describe(view: ByteView): RawFile {
  const start = latin1(view.bytes, 0, 16);
  if (start.startsWith('FUJIFILM')) return describeRaf(view);
  if (start.slice(4, 8) === 'ftyp') return describeCr3(view);
  const directories = readDirectories(view);
  const [first] = directories;
  const orientation = first?.has(tags.orientation)
    ? toOrientation(numberOf(first, tags.orientation))
    : undefined;
  const places = [...directories.flatMap(placesOf), ...(first ? olympusPlaces(view, first) : [])];
  return { name: nameOf(start, first), orientation, places };
}

function nameOf(start: string, first: TiffDirectory | undefined): string {
  if (start.startsWith('IIU\0')) return 'RW2';
  if (/^(?:IIR[OS]|MMOR)/.test(start)) return 'ORF';
  if (start.slice(8, 10) === 'CR') return 'CR2';
  if (first?.has(tags.dngVersion)) return 'DNG';
  const make = first?.text(tags.make).toUpperCase() ?? '';
  return formatsByMake.find(([beginning]) => make.startsWith(beginning))?.[1] ?? '';
}

/** The first directories of the file: those that follow one another, each before its sub-directories. */
function readDirectories(view: ByteView): readonly TiffDirectory[] {
  const isBig = soundly(() => isBigTiff(view)) ?? false;
  const directories: TiffDirectory[] = [];
  const seen = new Set<number>();
  const read = (offset: number): TiffDirectory | undefined => {
    if (offset === 0 || seen.has(offset) || directories.length === MAX_DIRECTORIES) return undefined;
    seen.add(offset);
    const directory = soundly(() => new TiffDirectory(view, offset, { isBig, maxEntries: MAX_ENTRIES }));
    if (directory) directories.push(directory);
    return directory;
  };
  const offset = soundly(() => firstDirectory(view)) ?? 0;
  for (let directory = read(offset); directory; directory = read(directory.next)) {
    for (const pointer of soundly(() => directory.list(tags.subDirectories)) ?? []) read(pointer);
  }
  return directories;
}

/** Damage outside the preview does not matter. */
function soundly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (fault) {
    if (fault instanceof ServiceError) return undefined;
    throw fault;
  }
}

const NONE = -1;

/** A tag's number; NONE if it is missing or damaged. */
function numberOf(directory: TiffDirectory, tag: number): number {
  return soundly(() => directory.number(tag)) ?? NONE;
}

/** Where a directory says that a JPEG is. */
function placesOf(directory: TiffDirectory): readonly ByteRange[] {
  const places: ByteRange[] = [];
  const add = (start: number, length: number) => {
    if (start > 0 && length > 0) places.push({ start, end: start + length });
  };
  add(numberOf(directory, tags.jpegOffset), numberOf(directory, tags.jpegBytes));
  const strips = soundly(() => directory.list(tags.stripOffsets));
  if (
    strips?.length === 1 &&
    jpegCompressions.includes(numberOf(directory, tags.compression)) &&
    !hasSensorValues(directory)
  ) {
    add(strips[0]!, numberOf(directory, tags.stripByteCounts));
  }
  const panasonic = directory.range(tags.panasonicJpeg);
  if (panasonic) places.push(panasonic);
  return places;
}

/** Beginnings of the maker's notes of Olympus, and where their first directory is. */
const olympusNotes: readonly (readonly [beginning: string, directory: number])[] = [
  ['OLYMPUS\0', 12],
  ['OM SYSTEM\0', 16],
];

/** Olympus names the preview's place in its own directories, whose offsets count from the beginning of the notes. */
function olympusPlaces(view: ByteView, first: TiffDirectory): readonly ByteRange[] {
  const place = soundly(() => {
    const exif = first.number(tags.exif);
    const note = exif && directoryOf(view, exif).range(tags.makerNote);
    if (!note) return undefined;
    const kind = olympusNotes.find(([text]) => latin1(view.bytes, note.start, text.length) === text);
    if (!kind) return undefined;
    const base = note.start;
    const settings = directoryOf(view, base + kind[1], base).number(tags.olympusCameraSettings);
    if (settings === undefined) return undefined;
    const directory = directoryOf(view, base + settings, base);
    const start = base + (directory.number(tags.olympusPreviewOffset) ?? 0);
    return { start, end: start + (directory.number(tags.olympusPreviewBytes) ?? 0) };
  });
  return place ? [place] : [];
}

function directoryOf(view: ByteView, offset: number, base = 0): TiffDirectory {
  return new TiffDirectory(view, offset, { base, maxEntries: MAX_ENTRIES });
}

const RAF_JPEG_OFFSET = 84;

/** Fujifilm: the JPEG has the orientation. */
function describeRaf(view: ByteView): RawFile {
  const start = view.uint32(RAF_JPEG_OFFSET);
  const length = view.uint32(RAF_JPEG_OFFSET + 4);
  return { name: 'RAF', orientation: undefined, places: [{ start, end: start + length }] };
}

interface Box {
  readonly type: string;
  /** Of its content. */
  readonly start: number;
  readonly end: number;
}

/** Boxes in one place of a CR3; cameras write up to ten. */
const MAX_BOXES = 100;
const UUID_BYTES = 16;
const canonNotes = '\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48';
const canonPreview = '\xea\xf4\x2b\x5e\x1c\x98\x4b\x88\xb9\xfb\xb7\xdc\x40\x6e\x4d\x16';

/** The boxes of the ISO base media file format in a place. A `uuid` box is named by its id. */
function boxesIn(view: ByteView, start: number, end: number): readonly Box[] {
  const boxes: Box[] = [];
  for (let at = start; at + 8 <= end && boxes.length < MAX_BOXES; ) {
    const short = view.uint32(at);
    const headerBytes = short === 1 ? 16 : 8;
    const length = short === 1 ? view.uint64(at + 8) : short === 0 ? end - at : short;
    const boxEnd = at + length;
    if (length < headerBytes || boxEnd > end) break;
    const type = view.fourCc(at + 4);
    const content = at + headerBytes;
    boxes.push(
      type === 'uuid' && content + UUID_BYTES <= boxEnd
        ? { type: view.ascii(content, UUID_BYTES), start: content + UUID_BYTES, end: boxEnd }
        : { type, start: content, end: boxEnd },
    );
    at = boxEnd;
  }
  return boxes;
}

/** Canon: a JPEG of the full size is the only sample of the first track, a smaller one is in a box of its own. */
function describeCr3(view: ByteView): RawFile {
  const inside = (box: Box | undefined, ...types: readonly string[]): Box | undefined =>
    types.reduce<Box | undefined>(
      (parent, type) =>
        parent && boxesIn(view, parent.start, parent.end).find((child) => child.type === type),
      box,
    );
  const top: Box = { type: '', start: 0, end: view.length };
  const places: ByteRange[] = [];

  const table = inside(top, 'moov', 'trak', 'mdia', 'minf', 'stbl');
  const [sizes, offsets] = [inside(table, 'stsz'), inside(table, 'co64')];
  const full = soundly(() => {
    if (!sizes || !offsets) return undefined;
    // Version and flags, then one size for all, or a list.
    const bytes = view.uint32(sizes.start + 4) || view.uint32(sizes.start + 12);
    const start = view.uint64(offsets.start + 8);
    return { start, end: start + bytes };
  });
  if (full) places.push(full);

  const preview = inside(top, canonPreview);
  const box = preview && inside({ ...preview, start: preview.start + 8 }, 'PRVW');
  // Version, flags, width and height before the length.
  const bytes = box && soundly(() => view.uint32(box.start + 12));
  if (box && bytes) places.push({ start: box.start + 16, end: box.start + 16 + bytes });

  const notes = inside(top, 'moov', canonNotes, 'CMT1');
  return { name: 'CR3', orientation: notes && orientationOf(view, notes), places };
}

/** The notes are a TIFF of their own. */
function orientationOf(view: ByteView, { start, end }: Box): ExifOrientation | undefined {
  const notes = viewOf(view.bytes.subarray(start, end));
  const orientation = soundly(() => directoryOf(notes, firstDirectory(notes)).number(tags.orientation));
  return orientation === undefined ? undefined : toOrientation(orientation);
}
