import type { Orientation, PictureHeader, Size } from '../../../native/image/picture-header.ts';
import { tooManyPixels } from '../picture-errors.ts';
import { type ByteSource, readSequenceSizes, type UnitBudget } from './av1-sequence.ts';
import {
  FULL_BOX_BYTES,
  propertiesOf,
  readAv1ItemIds,
  readLocations,
  readPrimaryId,
  readProperties,
} from './avif-items.ts';
import { ByteView } from './byte-view.ts';
import { type Box, findBox, readBoxes } from './iso-boxes.ts';

/**
 * Decoding takes some 15 bytes a pixel: planes, RGBA, and the copies on their way out. Cameras that save
 * AVIF make 12 to 24 megapixels.
 */
const MAXIMUM_PIXELS = 50_000_000;
/** Units of all of a picture's streams: three for each of up to a thousand tiles, with a header in one of them. */
const MAXIMUM_UNITS = 250_000;
/** The longest name of a plane's kind in use has 44 characters. */
const MAXIMUM_NAME_BYTES = 256;

/** Reads an AVIF's header: size and orientation of its primary item. */
export function readAvifHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'avif', 'big');
  // Reading all of them notices a file that ends within one.
  const boxes = [...readBoxes(view, 0, view.length)];
  const meta = findBox(boxes, 'meta');
  if (!meta) throw view.broken('has no still picture');
  const children = [...readBoxes(view, meta.start + FULL_BOX_BYTES, meta.end)];
  const properties = readProperties(view, children);
  const own = propertiesOf(view, children, properties, readPrimaryId(view, children));

  const declared = findBox(own, 'ispe');
  if (!declared) throw view.broken('declares no size');
  const size = readSize(view, declared);
  if (size.width === 0 || size.height === 0) {
    throw view.broken(`declares ${size.width} × ${size.height} pixels`);
  }
  // Tiles and alpha planes are decoded as well.
  const sizes = properties.filter(({ type }) => type === 'ispe').map((box) => readSize(view, box));
  const largest = [size, ...sizes].reduce((a, b) => (pixelCount(b) > pixelCount(a) ? b : a));
  if (pixelCount(largest) > MAXIMUM_PIXELS) {
    throw tooManyPixels(largest.width, largest.height, MAXIMUM_PIXELS, 'an AVIF');
  }
  requireDeclaredStreams(view, children, pixelCount(largest));

  const rotation = findBox(own, 'irot');
  const mirror = findBox(own, 'imir');
  return {
    format: 'avif',
    ...size,
    orientation: orientationOf(
      rotation ? view.uint8(rotation.start) & 3 : 0,
      mirror ? view.uint8(mirror.start) & 1 : undefined,
    ),
    alpha: properties.some((box) => isAlpha(view, box)),
    rare: false,
    grey: false,
    coefficientBytes: 0,
  };
}

function readSize(view: ByteView, { start }: Box): Size {
  return {
    width: view.uint32(start + FULL_BOX_BYTES),
    height: view.uint32(start + FULL_BOX_BYTES + 4),
  };
}

function pixelCount({ width, height }: Size): number {
  return width * height;
}

/**
 * The decoder compares the container's size with the stream's only after it has decoded the stream: 64 × 64
 * declared pixels may hold 16,384 × 16,384.
 */
function requireDeclaredStreams(view: ByteView, meta: readonly Box[], declaredPixels: number): void {
  const locations = readLocations(view, meta);
  const budget: UnitBudget = { left: MAXIMUM_UNITS };
  let length = 0;
  for (const id of readAv1ItemIds(view, meta)) {
    const pieces = locations.get(id) ?? [];
    length += pieces.reduce((sum, { start, end }) => sum + end - start, 0);
    // The decoder joins the pieces in memory: a few bytes of table could ask for gigabytes.
    if (length > view.length) throw view.broken('uses parts of itself several times');
    try {
      for (const size of readSequenceSizes(joined(view.bytes, pieces), budget)) {
        if (pixelCount(size) > declaredPixels) {
          throw view.broken(`holds ${size.width} × ${size.height} pixels, more than it declares`);
        }
      }
    } catch (fault) {
      if (fault instanceof RangeError) throw view.broken(`is damaged: ${fault.message}`);
      throw fault;
    }
  }
}

/** Pieces of a file as one stream, which is gone through from its beginning to its end; nothing is copied. */
function joined(bytes: Uint8Array, pieces: readonly Box[]): ByteSource {
  const [only] = pieces;
  if (pieces.length === 1 && only) return bytes.subarray(only.start, only.end);
  let current = 0;
  /** Of the current piece, in the stream. */
  let from = 0;
  return {
    length: pieces.reduce((sum, { start, end }) => sum + end - start, 0),
    at(index) {
      for (let piece = pieces[current]; piece; piece = pieces[current]) {
        const offset = index - from;
        if (offset < piece.end - piece.start) return bytes[piece.start + offset];
        from += piece.end - piece.start;
        current += 1;
      }
      return undefined;
    },
  };
}

function isAlpha(view: ByteView, { type, start, end }: Box): boolean {
  const name = start + FULL_BOX_BYTES;
  return type === 'auxC' && view.ascii(name, Math.min(end - name, MAXIMUM_NAME_BYTES)).includes(':alpha');
}

/** EXIF's number of a rotation by 0, 90, 180 and 270 degrees against the clock … */
const rotated = [1, 8, 3, 6] as const;
/** … and of one that is followed by an exchange of top and bottom, or of left and right. */
const rotatedAndMirrored = [
  [4, 5, 2, 7],
  [2, 7, 4, 5],
] as const;

function orientationOf(quarterTurns: number, mirrorAxis: number | undefined): Orientation {
  const numbers = mirrorAxis === undefined ? rotated : rotatedAndMirrored[mirrorAxis]!;
  return numbers[quarterTurns]!;
}
