import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import { tooManyPixels } from '../picture-errors.ts';
import { type Box, FULL_BOX_BYTES, findBox, findTable, readBoxes, readItemId } from './heif-items.ts';
import { ByteView, ordinaryPicture, type PictureHeader } from './picture-header.ts';

const SEQUENCE_HEADER = 1;
/** Units of a one-picture stream: a handful, or one for each of up to 4,096 tiles. */
const MAX_UNITS_OF_ONE_SEQUENCE = 10_000;
/** A sequence header is read bit by bit, which takes as long as skipping this number of units. */
const UNITS_A_HEADER = 50;
/** The specification's longest variable-length number. */
const MAX_LEADING_ZEROS = 32;

/** Bytes by ascending offsets. A `Uint8Array` is one. */
interface ByteSource {
  readonly length: number;
  /** Undefined beyond the end. */
  at(index: number): number | undefined;
}

/** The work left for all streams of a picture, in skipped units. */
interface UnitBudget {
  left: number;
}

/** Sequence levels above this one carry a tier bit. */
const LAST_LEVEL_WITHOUT_TIER = 7;

/**
 * Reads the sizes that an AV1 stream's sequence headers allow its frames to have (AV1 specification, 5.5). A decoder
 * allocates memory for these and ignores the container's size.
 * @param budget reduced by the work done
 * @throws RangeError if the stream ends within a header, or has too many units
 */
export function* readSequenceSizes(
  stream: ByteSource,
  budget: UnitBudget = { left: MAX_UNITS_OF_ONE_SEQUENCE },
): Generator<Size> {
  for (let at = 0; at < stream.length; ) {
    budget.left -= 1;
    if (budget.left < 0) throw new RangeError('its AV1 stream has too many units');
    // A forbidden bit, 4 bits of type, a flag for an extension byte, a flag for a size, a reserved bit.
    const header = readByte(stream, at);
    const type = (header >> 3) & 0xf;
    const sizeAt = at + (header & 4 ? 2 : 1);
    const { value: length, end: start } =
      header & 2 ? readLeb128(stream, sizeAt) : { value: undefined, end: sizeAt };
    if (type === SEQUENCE_HEADER) {
      budget.left -= UNITS_A_HEADER;
      yield readSequenceSize(new BitReader(stream, start));
    }
    at = length === undefined ? stream.length : start + length;
  }
}

function readSequenceSize(bits: BitReader): Size {
  bits.skip(4); // profile, still picture
  const reduced = bits.read(1) === 1;
  if (reduced) bits.skip(5);
  else skipOperatingPoints(bits);
  const widthBits = bits.read(4) + 1;
  const heightBits = bits.read(4) + 1;
  return { width: bits.read(widthBits) + 1, height: bits.read(heightBits) + 1 };
}

function skipOperatingPoints(bits: BitReader): void {
  const timed = bits.read(1) === 1;
  if (timed) {
    bits.skip(64); // ticks and scale
    if (bits.read(1) === 1) skipUnsignedVariableLength(bits);
  }
  const modelled = timed && bits.read(1) === 1;
  const delayBits = modelled ? bits.read(5) + 1 : 0;
  if (modelled) bits.skip(42); // ticks, lengths of two times
  const delayed = bits.read(1) === 1;
  for (let left = bits.read(5) + 1; left > 0; left--) {
    bits.skip(12);
    if (bits.read(5) > LAST_LEVEL_WITHOUT_TIER) bits.skip(1);
    if (modelled && bits.read(1) === 1) bits.skip(2 * delayBits + 1);
    if (delayed && bits.read(1) === 1) bits.skip(4);
  }
}

function skipUnsignedVariableLength(bits: BitReader): void {
  let zeros = 0;
  while (bits.read(1) === 0) {
    zeros += 1;
    if (zeros > MAX_LEADING_ZEROS) throw new RangeError('its AV1 stream has a number that is too long');
  }
  bits.skip(zeros);
}

/** Seven bits a byte, the lowest first. The highest bit of a byte is set if another follows. */
function readLeb128(stream: ByteSource, at: number): { value: number; end: number } {
  let value = 0;
  let end = at;
  for (let more = true; more && end - at < 8; end++) {
    const byte = readByte(stream, end);
    value += (byte & 0x7f) * 2 ** (7 * (end - at));
    more = byte >= 0x80;
  }
  return { value, end };
}

function readByte(stream: ByteSource, at: number): number {
  const byte = stream.at(at);
  if (byte === undefined) throw new RangeError('its AV1 stream ends within a header');
  return byte;
}

/** Reads numbers of any number of bits, the highest first. */
class BitReader {
  readonly #bytes: ByteSource;
  #bit: number;

  constructor(bytes: ByteSource, at: number) {
    this.#bytes = bytes;
    this.#bit = at * 8;
  }

  read(bits: number): number {
    let value = 0;
    for (let left = bits; left > 0; left--) {
      const byte = readByte(this.#bytes, Math.trunc(this.#bit / 8));
      value = value * 2 + ((byte >> (7 - (this.#bit % 8))) & 1);
      this.#bit += 1;
    }
    return value;
  }

  skip(bits: number): void {
    this.#bit += bits;
  }
}

/** Items and pieces of items in one table: a picture of a thousand tiles has a thousand of each. */
const MAX_PIECES = 100_000;

/** The number of the item that is the picture. Other items are its alpha plane, tiles and metadata. */
function readPrimaryId(view: ByteView, meta: readonly Box[]): number {
  const box = findTable(view, meta, 'pitm');
  return readItemId(view, box.start + FULL_BOX_BYTES, view.uint8(box.start) > 0);
}

/** All properties of all items. */
function readProperties(view: ByteView, meta: readonly Box[]): readonly Box[] {
  const properties = findBox(meta, 'iprp');
  const container = properties && findBox(readBoxes(view, properties.start, properties.end), 'ipco');
  if (!container) throw view.broken('describes no picture');
  return [...readBoxes(view, container.start, container.end)];
}

/**
 * The properties that the association box gives to one item.
 * @param all properties of all items
 */
function propertiesOf(
  view: ByteView,
  meta: readonly Box[],
  all: readonly Box[],
  itemId: number,
): readonly Box[] {
  const properties = findBox(meta, 'iprp')!;
  const box = findTable(view, readBoxes(view, properties.start, properties.end), 'ipma');
  const longIds = view.uint8(box.start) > 0;
  const longIndices = (view.uint8(box.start + 3) & 1) !== 0;
  let at = box.start + FULL_BOX_BYTES + 4;
  for (let left = view.uint32(at - 4); left > 0 && at < box.end; left--) {
    const id = readItemId(view, at, longIds);
    at += longIds ? 4 : 2;
    const count = view.uint8(at);
    at += 1;
    const stride = longIndices ? 2 : 1;
    if (id === itemId) {
      return Array.from({ length: count }, (_, index) => {
        const entry = at + index * stride;
        // The highest bit marks an essential property.
        const number = longIndices ? view.uint16(entry) & 0x7fff : view.uint8(entry) & 0x7f;
        return all[number - 1];
      }).filter((property) => property !== undefined);
    }
    at += count * stride;
  }
  throw view.broken('does not describe its primary picture');
}

/** Reads the numbers of all items that are coded as AV1. */
function readAv1ItemIds(view: ByteView, meta: readonly Box[]): ReadonlySet<number> {
  const ids = new Set<number>();
  const box = findTable(view, meta, 'iinf');
  const entries = box.start + FULL_BOX_BYTES + (view.uint8(box.start) > 0 ? 4 : 2);
  for (const { type, start } of readBoxes(view, entries, box.end)) {
    if (type !== 'infe') continue;
    const longId = view.uint8(start) > 2;
    const id = start + FULL_BOX_BYTES;
    // The number, 16 bits of protection, then the type.
    if (view.fourCc(id + (longId ? 6 : 4)) === 'av01') ids.add(readItemId(view, id, longId));
  }
  return ids;
}

/**
 * Reads the item location box: the places of each item's data in the file.
 * @returns the pieces of each item in order, by item number
 */
function readLocations(view: ByteView, meta: readonly Box[]): ReadonlyMap<number, readonly Box[]> {
  const box = findTable(view, meta, 'iloc');
  const version = view.uint8(box.start);
  let at = box.start + FULL_BOX_BYTES;
  const number = (bytes: number): number => {
    at += bytes;
    if (bytes === 0) return 0;
    if (bytes === 2) return view.uint16(at - 2);
    if (bytes === 4) return view.uint32(at - 4);
    if (bytes === 8) return view.uint64(at - 8);
    throw view.broken('has numbers of an unsupported size');
  };
  const sizes = number(2);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 12, (sizes >> 8) & 0xf, (sizes >> 4) & 0xf];
  const indexBytes = version > 0 ? sizes & 0xf : 0;

  const inMeta = findBox(meta, 'idat');
  const locations = new Map<number, readonly Box[]>();
  let count = 0;
  // A piece may need 0 bytes of the table, so the table's size does not limit their number.
  const countPiece = () => {
    count += 1;
    if (count > MAX_PIECES) throw view.broken(`has more than ${MAX_PIECES} pieces of data`);
  };
  for (let left = number(version > 1 ? 4 : 2); left > 0 && at < box.end; left--) {
    countPiece();
    const id = number(version > 1 ? 4 : 2);
    const withinMeta = version > 0 && (number(2) & 0xf) === 1;
    at += 2; // data reference
    const base = number(baseBytes) + (withinMeta ? (inMeta?.start ?? 0) : 0);
    const pieces: Box[] = [];
    for (let extents = number(2); extents > 0 && at < box.end; extents--) {
      countPiece();
      at += indexBytes;
      const start = base + number(offsetBytes);
      const length = number(lengthBytes);
      view.require(start + length);
      // A length of 0 means the whole file.
      pieces.push({ type: 'data', start, end: length === 0 ? view.length : start + length });
    }
    locations.set(id, pieces);
  }
  return locations;
}

/**
 * Decoding takes some 15 bytes a pixel: planes, RGBA, and copies of them. Cameras that save AVIF make 12 to 24
 * megapixels.
 */
const MAX_PIXELS = 50_000_000;
/** Units of all streams of a picture: three for each of up to a thousand tiles, one of them with a header. */
const MAX_UNITS = 250_000;
/** The longest name of a kind of plane in use has 44 characters. */
const MAX_NAME_BYTES = 256;

/** Reads an AVIF's header: size and orientation of its primary item. */
export function readAvifHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'avif', 'big');
  // Reading all of them detects a truncated file.
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
  if (pixelCount(largest) > MAX_PIXELS) {
    throw tooManyPixels(largest.width, largest.height, MAX_PIXELS, 'an AVIF');
  }
  requireDeclaredStreams(view, children, pixelCount(largest));

  const rotation = findBox(own, 'irot');
  const mirror = findBox(own, 'imir');
  return {
    ...ordinaryPicture,
    format: 'avif',
    ...size,
    orientation: orientationOf(
      rotation ? view.uint8(rotation.start) & 3 : 0,
      mirror ? view.uint8(mirror.start) & 1 : undefined,
    ),
    alpha: properties.some((box) => isAlpha(view, box)),
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
 * Refuses streams whose frames are larger than the container declares. The decoder compares the sizes only after it
 * has decoded the stream: 64 × 64 declared pixels may contain 16,384 × 16,384.
 */
function requireDeclaredStreams(view: ByteView, meta: readonly Box[], declaredPixels: number): void {
  const locations = readLocations(view, meta);
  const budget: UnitBudget = { left: MAX_UNITS };
  let length = 0;
  for (const id of readAv1ItemIds(view, meta)) {
    const pieces = locations.get(id) ?? [];
    length += pieces.reduce((sum, { start, end }) => sum + end - start, 0);
    // The decoder joins the pieces in memory: a few bytes of table could request gigabytes.
    if (length > view.length) throw view.broken('uses parts of itself several times');
    try {
      for (const size of readSequenceSizes(joined(view.bytes, pieces), budget)) {
        if (pixelCount(size) > declaredPixels) {
          throw view.broken(`contains ${size.width} × ${size.height} pixels, more than it declares`);
        }
      }
    } catch (fault) {
      if (fault instanceof RangeError) throw view.broken(`is damaged: ${fault.message}`);
      throw fault;
    }
  }
}

/** Joins pieces of a file to one stream without copying. The stream must be read from beginning to end. */
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
  return type === 'auxC' && view.ascii(name, Math.min(end - name, MAX_NAME_BYTES)).includes(':alpha');
}

/** EXIF's numbers for rotations by 0, 90, 180 and 270 degrees anticlockwise … */
const rotated = [1, 8, 3, 6] as const;
/** … and for these, followed by swapping top and bottom, or left and right. */
const rotatedAndMirrored = [
  [4, 5, 2, 7],
  [2, 7, 4, 5],
] as const;

function orientationOf(quarterTurns: number, mirrorAxis: number | undefined): ExifOrientation {
  const numbers = mirrorAxis === undefined ? rotated : rotatedAndMirrored[mirrorAxis]!;
  return numbers[quarterTurns]!;
}
