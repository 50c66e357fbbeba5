import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import { tooManyScans, unsupportedPicture } from '../picture-errors.ts';
import { type Kernel, loadKernel } from '../resample/resample.ts';
import {
  ByteView,
  ordinaryPicture,
  type PictureHeader,
  readExifOrientation,
  withoutExifPrefix,
} from './picture-header.ts';

const MARKER = 0xff;
const TEM = 0x01;
const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const APP1 = 0xe1;

const BLOCK_SIDE = 8;
const COEFFICIENTS_A_BLOCK = 64;
const COEFFICIENT_BYTES = 2;

/**
 * A progressive picture has about 10 scans, at most some 60. Every scan costs a pass over the whole picture, even if it
 * has few bytes: thousands of empty scans would keep a decoder busy for hours.
 */
const MAX_SCANS = 100;
/**
 * Blocks that a decoder passes in all scans together: 20 passes over the largest pictures, many more over photos. A
 * hundred passes over 100 megapixels would keep it busy for a minute.
 */
const MAX_PASSED_BLOCKS = 100_000_000;
const ACCEPTED_PASSES = 20;
/**
 * A picture has some tens of segments, and at most a restart marker for each 16 × 16 pixels: 390,000 for 100 megapixels.
 * Encoders write one for each row of these squares.
 */
const MAX_MARKERS = 500_000;

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  readonly progressive: boolean;
  readonly huffman: boolean;
  /** 8 × 8 blocks of all components. */
  readonly blocks: number;
  /** 8 × 8 blocks of the largest component. */
  readonly largestBlocks: number;
  /** Pixels that are coded together. */
  readonly coded: Size;
  /** The components' numbers, which scans refer to. */
  readonly ids: readonly number[];
}

interface Scans {
  count: number;
  entropyBytes: number;
  /** 8 × 8 blocks that a decoder passes, at most. */
  passedBlocks: number;
  /** Every scan has all components, so the decoder keeps no coefficients. */
  interleaved: boolean;
  /** Of each component, by its number: the coefficients that a complete scan has, in zigzag order. */
  readonly coefficients: Map<number, Set<number>>;
}

/**
 * Coefficients of a block that a cut progressive picture must have but for the last bit: all of its brightness; of its
 * colours, which are less sharp anyway, the mean and the nine of the lowest frequencies.
 */
const ESSENTIAL_COEFFICIENTS = { brightness: COEFFICIENTS_A_BLOCK, colour: 10 } as const;

/**
 * Reads a JPEG's header, and walks its markers to the end of the picture. Data after that end (further pictures of an
 * MPO, a gain map, a motion photo's video) are ignored. Thumbnails are skipped with their segments.
 *
 * libjpeg fills missing parts with grey and only warns, so a missing end is detected here. Only decoding can detect
 * that bytes in the middle are missing. A cut picture is unproven if it has one scan, because only decoding shows how many
 * of its rows are there; or if it is progressive and has the essential coefficients everywhere.
 */
export function readJpegHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'jpeg', 'big');
  const scans: Scans = {
    count: 0,
    entropyBytes: 0,
    passedBlocks: 0,
    interleaved: true,
    coefficients: new Map(),
  };
  const nextMarker = createMarkerFinder(view);
  let frame: Frame | undefined;
  let orientation: ExifOrientation | undefined;

  let at = nextMarker(0);
  for (; at < view.length && view.bytes[at] !== EOI; at = nextMarker(at)) {
    const marker = view.uint8(at);
    at += 1;
    if (marker === SOI || marker === TEM || isRestart(marker)) continue;
    // Between two scans, a cut segment is a cut picture.
    if (scans.count > 0 && (at + 2 > view.length || at + view.uint16(at) > view.length)) {
      at = view.length;
      break;
    }
    const end = at + view.uint16(at);
    if (end < at + 2) throw view.broken('has a segment without a length');
    view.require(end);
    if (isFrame(marker)) {
      if (frame) throw view.broken('has two frame headers');
      frame = readFrame(view, marker, at + 2);
    } else if (marker === APP1) {
      const exif = withoutExifPrefix(bytes.subarray(at + 2, end));
      if (exif) orientation ??= readExifOrientation(exif);
    } else if (marker === SOS) {
      if (!frame) throw view.broken('has pixel data before its size');
      scans.count += 1;
      if (scans.count > MAX_SCANS) {
        throw view.broken(`has more than ${MAX_SCANS} scans, the most that are accepted`);
      }
      const components = view.uint8(at + 2);
      scans.interleaved &&= components === frame.components;
      scans.passedBlocks += Math.min(frame.blocks, components * frame.largestBlocks);
      const next = nextMarker(end, true);
      if (next < view.length) noteCoefficients(view, at + 2, scans);
      // Includes the scan's last fill byte and the marker's first byte.
      at = next - 1;
      scans.entropyBytes += Math.max(0, at - end);
      continue;
    }
    at = end;
  }
  const isCut = at >= view.length;
  if (!frame || (isCut && scans.count === 0)) {
    throw isCut ? withoutEnd(view) : view.broken('has no frame header');
  }
  if (isCut && !isUsableWithoutEnd(frame, scans)) throw withoutEnd(view);
  requirePixelData(view, frame, scans);
  if (scans.passedBlocks > Math.max(MAX_PASSED_BLOCKS, ACCEPTED_PASSES * frame.blocks)) {
    throw tooManyScans(frame.width, frame.height, scans.count);
  }

  return {
    ...ordinaryPicture,
    format: 'jpeg',
    width: frame.width,
    height: frame.height,
    orientation: orientation ?? 1,
    ...(isCut && { unproven: true }),
    coefficientBytes:
      frame.progressive || !scans.interleaved ? frame.blocks * COEFFICIENTS_A_BLOCK * COEFFICIENT_BYTES : 0,
  };
}

/** Bits of a coefficient that may be missing. */
const MISSING_BITS = 1;

/** @param at offset of a scan's header, behind its length: the number of components, two bytes for each, the range, bits */
function noteCoefficients(view: ByteView, at: number, { coefficients }: Scans): void {
  const components = view.uint8(at);
  const [first, last] = [view.uint8(at + 1 + components * 2), view.uint8(at + 2 + components * 2)];
  const missingBits = view.uint8(at + 3 + components * 2) & 0xf;
  if (missingBits > MISSING_BITS) return;
  for (let index = 0; index < components; index++) {
    const id = view.uint8(at + 1 + index * 2);
    const known = coefficients.get(id) ?? new Set();
    for (let each = first; each <= Math.min(last, COEFFICIENTS_A_BLOCK - 1); each++) known.add(each);
    coefficients.set(id, known);
  }
}

function isUsableWithoutEnd(
  { progressive, ids }: Frame,
  { count, interleaved, coefficients }: Scans,
): boolean {
  if (!progressive) return count === 1 && interleaved;
  const { brightness, colour } = ESSENTIAL_COEFFICIENTS;
  return ids.every((id, index) => {
    const known = coefficients.get(id);
    return Array.from({ length: index === 0 ? brightness : colour }).every((_, each) => known?.has(each));
  });
}

/** What is known about the end of a cut JPEG. */
export interface JpegCut {
  /** Every row has its essential coefficients; finer details are missing. */
  readonly progressive: boolean;
  /** Pixels that are coded together. */
  readonly coded: Size;
  /** The decoder's colour for what is missing: [red, green, blue] are the same. */
  readonly fill: number;
  /**
   * Where the decoder must stop: before zeros, which it would read as pixels, and before a segment that is cut off, which
   * it would read as damage.
   */
  readonly end: number;
}

/** The middle of the range; of four inks, the product of two. */
const MIDDLE = 128;
const INK_MIDDLE = 64;

/** Pixel data may end in a few. */
const MIN_ZEROS = 64;

/** Without the zeros in which a file ends that got its full length before its contents, as downloads do. */
function withoutZeros(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return bytes.length - end < MIN_ZEROS ? bytes : bytes.subarray(0, end);
}

/** @param bytes a JPEG that `readJpegHeader` accepts as unproven */
export function readJpegCut(bytes: Uint8Array): JpegCut {
  const view = new ByteView(withoutZeros(bytes), 'jpeg', 'big');
  const nextMarker = createMarkerFinder(view);
  let frame: Frame | undefined;
  let end = view.length;
  for (let at = nextMarker(0); at < view.length; ) {
    const start = at - 1;
    const marker = view.uint8(at);
    at += 1;
    if (marker !== SOI && marker !== TEM && !isRestart(marker)) {
      if (at + 2 > view.length || at + view.uint16(at) > view.length) {
        end = start;
        break;
      }
      if (isFrame(marker)) frame = readFrame(view, marker, at + 2);
      at += view.uint16(at);
    }
    at = nextMarker(at, marker === SOS);
  }
  if (!frame) throw view.broken('has no frame header');
  const { progressive, coded, components } = frame;
  return { progressive, coded, fill: components === 4 ? INK_MIDDLE : MIDDLE, end };
}

/**
 * Goes from marker to marker.
 * @throws ServiceError image_broken if there are too many for a picture
 */
function createMarkerFinder(view: ByteView) {
  const { bytes } = view;
  const findEscape = createEscapeFinder(bytes);
  let count = 0;
  /**
   * Finds the offset of the next marker's code, at least the file's length if there is none. Skips stray bytes and fill
   * bytes before it, as libjpeg does.
   * @param inScan whether the data are entropy-coded: restart markers are part of such data
   */
  return (from: number, inScan = false): number => {
    for (let at = from; ; ) {
      at = findEscape(at);
      const code = bytes[at + 1];
      if (at === -1 || code === undefined) return view.length;
      count += 1;
      if (count > MAX_MARKERS) {
        throw view.broken(`has more than ${MAX_MARKERS} markers and fill bytes`);
      }
      if (code !== MARKER && !(inScan && isRestart(code))) return at + 1;
      at += code === MARKER ? 1 : 2;
    }
  };
}

/** Finds the next 0xff that is not followed by 0, at or after an offset. @returns -1 if there is none */
export type FindEscape = (from: number) => number;

/** The part of a file that the kernel searches at a time stays in the processor's cache. */
const WINDOW_BYTES = 32 * 1024;
const PAGE_BYTES = 64 * 1024;

/**
 * Searches with the kernel, 16 bytes at a time: a tenth of a nanosecond a byte, for any data. The file is copied into
 * the kernel's memory part by part.
 */
export function createKernelFinder({ memory, findEscape }: Kernel): (bytes: Uint8Array) => FindEscape {
  memory.grow(Math.ceil((2 * WINDOW_BYTES - memory.buffer.byteLength) / PAGE_BYTES));
  /** Whose part the memory contains: all searches share it. */
  let holder: object | undefined;
  return (bytes) => {
    const part = { start: 0, length: 0 };
    const hold = (start: number) => {
      const taken = bytes.subarray(start, start + WINDOW_BYTES);
      new Uint8Array(memory.buffer).set(taken);
      holder = part;
      part.start = start;
      part.length = taken.length;
    };
    return (from) => {
      // The last byte of a part has its follower in the next one.
      for (let at = from; at + 1 < bytes.length; at = part.start + part.length - 1) {
        const isHeld = holder === part && at >= part.start && at + 1 < part.start + part.length;
        if (!isHeld) hold(at);
        const last = part.length - 1;
        const found = findEscape(at - part.start, last);
        if (found < last) return part.start + found;
      }
      return -1;
    };
  };
}

/** For machines without the kernel, four bytes at a time: a nanosecond a byte, for any data. */
export function findByWords(bytes: Uint8Array): FindEscape {
  const head = (4 - (bytes.byteOffset % 4)) % 4;
  const words =
    bytes.length <= head
      ? new Int32Array()
      : new Int32Array(bytes.buffer, bytes.byteOffset + head, (bytes.length - head) >> 2);
  const isEscape = (at: number) => bytes[at] === MARKER && bytes[at + 1] !== 0;
  return (from) => {
    let at = from;
    for (; at < bytes.length && (at - head) % 4 !== 0; at++) if (isEscape(at)) return at;
    let index = (at - head) >> 2;
    let word = words[index] ?? 0;
    // Words are little-endian on all supported processors.
    for (; index + 1 < words.length; index++) {
      const next = words[index + 1]!;
      const inverted = ~word;
      const followers = (word >>> 8) | (next << 24);
      // The highest bit of each byte is set: of bytes that are 0xff, and of bytes before one that is not 0.
      const markers = ~(((inverted & 0x7f7f7f7f) + 0x7f7f7f7f) | 0 | inverted | 0x7f7f7f7f);
      const followed = ((followers & 0x7f7f7f7f) + 0x7f7f7f7f) | 0 | followers;
      if ((markers & followed & 0x80808080) !== 0) break;
      word = next;
    }
    at = Math.max(at, index * 4 + head);
    for (; at < bytes.length; at++) if (isEscape(at)) return at;
    return -1;
  };
}

const kernel = await loadKernel();
const createEscapeFinder = kernel ? createKernelFinder(kernel) : findByWords;

function isRestart(marker: number): boolean {
  return marker >= 0xd0 && marker <= 0xd7;
}

/** SOF0 to SOF15, without the three codes in this range that mean something else. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
}

function readFrame(view: ByteView, marker: number, at: number): Frame {
  const process = marker & 0xf;
  if (![0, 1, 2, 9, 10].includes(process)) throw unsupportedPicture('a lossless or hierarchical JPEG');
  const precision = view.uint8(at);
  if (precision !== 8) throw unsupportedPicture(`a JPEG of ${precision} bits a channel`);
  const height = view.uint16(at + 1);
  const width = view.uint16(at + 3);
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  const components = view.uint8(at + 5);
  const sampling = Array.from({ length: components }, (_, index) => {
    const factors = view.uint8(at + 7 + index * 3);
    return { horizontal: factors >> 4, vertical: factors & 0xf };
  });
  if (sampling.some(({ horizontal, vertical }) => horizontal === 0 || vertical === 0)) {
    throw view.broken('declares a component without samples');
  }
  const horizontalMaximum = Math.max(...sampling.map(({ horizontal }) => horizontal));
  const verticalMaximum = Math.max(...sampling.map(({ vertical }) => vertical));
  const blocksEach = sampling.map(
    ({ horizontal, vertical }) =>
      Math.ceil((width * horizontal) / horizontalMaximum / BLOCK_SIDE) *
      Math.ceil((height * vertical) / verticalMaximum / BLOCK_SIDE),
  );
  return {
    width,
    height,
    components,
    progressive: process % 8 === 2,
    huffman: process < 8,
    blocks: blocksEach.reduce((sum, count) => sum + count, 0),
    largestBlocks: Math.max(...blocksEach),
    // A component alone is coded block by block.
    coded: {
      width: BLOCK_SIDE * (components === 1 ? 1 : horizontalMaximum),
      height: BLOCK_SIDE * (components === 1 ? 1 : verticalMaximum),
    },
    ids: Array.from({ length: components }, (_, index) => view.uint8(at + 6 + index * 3)),
  };
}

/**
 * A Huffman code has at least one bit. A sequential block has at least two codes, a progressive one has a code in its
 * first scan. A picture with less data is truncated.
 */
function requirePixelData(view: ByteView, frame: Frame, scans: Scans): void {
  const minimumBits = frame.blocks * (frame.progressive ? 1 : 2);
  if (scans.entropyBytes === 0 || (frame.huffman && scans.entropyBytes * 8 < minimumBits)) {
    throw view.truncated(
      `${frame.width} × ${frame.height} pixels are declared, but only ${scans.entropyBytes} bytes hold pixels`,
    );
  }
}

function withoutEnd(view: ByteView) {
  return view.truncated('it ends before its end-of-image marker');
}

/** How a JPEG begins: a marker, and the first byte of the next one. */
export const JPEG_START = '\xff\xd8\xff';

interface Segment {
  readonly marker: number;
  /** Offset of the marker's first byte. */
  readonly start: number;
  readonly end: number;
}

/** The first segments of a JPEG, or of a JPEG's tables, until its first scan. Damage ends them. */
export function* jpegSegments(jpeg: Uint8Array): Generator<Segment> {
  let start = 2;
  for (let count = 0; count < MAX_FIRST_SEGMENTS && start + 4 <= jpeg.length; count++) {
    if (jpeg[start] !== MARKER) return;
    const marker = jpeg[start + 1]!;
    if (marker === MARKER) {
      start += 1;
      continue;
    }
    if (marker === EOI) return;
    const end = start + 2 + ((jpeg[start + 2]! << 8) | jpeg[start + 3]!);
    if (end < start + 4) return;
    yield { marker, start, end };
    if (marker === SOS) return;
    start = end;
  }
}

/** A colour profile takes up to 255 segments. */
const MAX_FIRST_SEGMENTS = 1000;

/** What the frame header of a JPEG declares, unchecked; undefined if there is none before the pixels. */
export function readJpegFrame(jpeg: Uint8Array) {
  for (const { marker, start } of jpegSegments(jpeg)) {
    if (!isFrame(marker) || start + 10 > jpeg.length) continue;
    const view = new DataView(jpeg.buffer, jpeg.byteOffset + start, 10);
    return {
      /** Baseline, extended or progressive with Huffman codes: neither lossless nor arithmetic. */
      isOrdinary: marker <= 0xc2,
      precision: view.getUint8(4),
      height: view.getUint16(5),
      width: view.getUint16(7),
      components: view.getUint8(9),
    };
  }
  return undefined;
}
