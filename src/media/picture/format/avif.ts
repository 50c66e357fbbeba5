import type { ExifOrientation, Size } from '../../../../native/geometry.ts';
import { tooManyPixels, unsupportedPicture } from '../picture-errors.ts';
import {
  type Box,
  FULL_BOX_BYTES,
  findBox,
  HeifItems,
  MAX_DEPTH,
  type Piece,
  readBoxes,
} from './heif-items.ts';
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

/** A picture or a tile that is one AV1 stream. */
interface AvifTile {
  readonly size: Size;
  /** The coded picture. */
  readonly pieces: readonly Piece[];
  /** Contents of its av1C box. */
  readonly configuration: Piece;
  /** Properties that choose one of several layers in the stream. */
  readonly layers: readonly Box[];
}

/** The colours of a picture, or its opacity. */
interface AvifPlane {
  readonly size: Size;
  /** Rows and columns of tiles; undefined: the one tile is the plane. */
  readonly grid: { readonly rows: number; readonly columns: number } | undefined;
  /** In rows. */
  readonly tiles: readonly AvifTile[];
  /** Contents of the colr boxes that say how the stream's numbers become colours. */
  readonly colours: readonly Piece[];
}

interface AvifPicture {
  readonly colour: AvifPlane;
  readonly alpha: AvifPlane | undefined;
  /** Colours are already multiplied by the opacity. */
  readonly isPremultiplied: boolean;
  readonly orientation: ExifOrientation;
}

/**
 * Decoding takes some 15 bytes a pixel: planes, RGBA, and copies of them. Cameras that save AVIF make 12 to 24
 * megapixels.
 */
const MAX_PIXELS = 50_000_000;
/** Units of all streams of a picture: three for each of up to a thousand tiles, one of them with a header. */
const MAX_UNITS = 250_000;
/** Memory for the frames of a stream that are larger than what is shown of them. */
const HIDDEN_BYTES_A_PIXEL = 16;

/** Reads an AVIF's header: size and orientation of its primary item, or of the first frame of an animation. */
export function readAvifHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'avif', 'big');
  const picture = readPicture(view);
  const { colour, alpha, orientation } = picture;
  return {
    ...ordinaryPicture,
    format: 'avif',
    ...colour.size,
    orientation,
    alpha: alpha !== undefined,
    coefficientBytes: checkStreams(view, picture) * HIDDEN_BYTES_A_PIXEL,
  };
}

function readPicture(view: ByteView): AvifPicture {
  let movie: Box | undefined;
  let fault = 'has no still picture';
  // What follows the picture may be something else.
  for (const box of readBoxes(view, 0, view.length)) {
    if (box.type === 'moov') movie ??= box;
    if (box.type !== 'meta') continue;
    const meta = [...readBoxes(view, box.start + FULL_BOX_BYTES, box.end)];
    if (findBox(meta, 'pitm')) return readPrimary(view, new HeifItems(view, meta));
    // The meta box of an animation may be about other things.
    fault = 'lacks its pitm box';
  }
  if (!movie) throw view.broken(fault);
  return readFirstFrame(view, movie);
}

function readPrimary(view: ByteView, items: HeifItems): AvifPicture {
  let id = items.primaryId;
  const { properties } = items.find(id);
  if (properties.length === 0) throw view.broken('does not describe its primary picture');
  // A tone-mapped picture (`tmap`) is its first input with a gain map.
  for (let depth = 0; ['iden', 'tmap'].includes(items.find(id).type); depth++) {
    const [base] = items.references(id, 'dimg');
    if (base === undefined) throw view.broken('is derived from a picture that it lacks');
    if (depth > MAX_DEPTH) throw view.broken('is derived from itself');
    id = base;
  }
  const colour = readPlane(view, items, id);
  const alphaIds = findAlpha(view, items, id);
  const rotation = findBox(properties, 'irot');
  const mirror = findBox(properties, 'imir');
  return {
    colour,
    alpha: alphaIds && readAlpha(view, items, alphaIds, colour),
    isPremultiplied: alphaIds !== undefined && items.references(id, 'prem').includes(alphaIds[0]!),
    orientation: orientationOf(
      rotation ? view.uint8(rotation.start) & 3 : 0,
      mirror ? view.uint8(mirror.start) & 1 : undefined,
    ),
  };
}

/** Of a picture or tile: its opacity, depth and the like. */
const MAX_AUXILIARIES = 16;
/** Tiles that have an opacity each. Finding each takes time of its own. */
const MAX_ALPHA_TILES = 64;

/**
 * Finds the opacity of a picture.
 * @returns one item; or one for each tile; undefined: it is opaque
 */
function findAlpha(view: ByteView, items: HeifItems, id: number): readonly number[] | undefined {
  const alphaOf = (each: number): number | undefined =>
    items
      .referringTo(each, 'auxl')
      .take(MAX_AUXILIARIES)
      .find(({ properties }) => properties.some((box) => isAlpha(view, box)))?.id;
  const own = alphaOf(id);
  if (own !== undefined) return [own];
  const found: number[] = [];
  const tiles = items.references(id, 'dimg');
  if (tiles.length > MAX_ALPHA_TILES) return undefined;
  for (const tile of tiles) {
    const alpha = alphaOf(tile);
    if (alpha === undefined) return undefined;
    found.push(alpha);
  }
  return found.length > 0 ? found : undefined;
}

/** The kinds of auxiliary pictures that are an opacity end so. The longest name in use has 44 characters. */
const MAX_NAME_BYTES = 256;

function isAlpha(view: ByteView, { type, start, end }: Box): boolean {
  if (type !== 'auxC' && type !== 'auxi') return false;
  const name = start + FULL_BOX_BYTES;
  const text = view.ascii(name, Math.min(end - name, MAX_NAME_BYTES)).split('\0')[0]!;
  return text.endsWith(':alpha') || text === 'urn:mpeg:hevc:2015:auxid:1';
}

/** @param ids one item, or one for each tile of the colours */
function readAlpha(
  view: ByteView,
  items: HeifItems,
  ids: readonly number[],
  colour: AvifPlane,
): AvifPlane | undefined {
  const [first] = ids;
  // Only tiles have opacities of their own.
  const plane =
    colour.grid && ids.length === colour.tiles.length && items.find(first!).type === 'av01'
      ? {
          ...colour,
          tiles: ids.map((id, index) => readTile(view, items, id, colour.tiles[index]!.size)),
          colours: [],
        }
      : readPlane(view, items, first!, colour.size);
  return plane.size.width === colour.size.width && plane.size.height === colour.size.height
    ? plane
    : undefined;
}

/** The decoder asks for tiles of at least 64 × 64 pixels. Each takes time of its own. */
const MAX_TILES = 1024;
/** A grid item has a few numbers. */
const MAX_GRID_BYTES = 12;

/** @param fallback the size of an item that declares none */
function readPlane(view: ByteView, items: HeifItems, id: number, fallback?: Size): AvifPlane {
  const { type, properties } = items.find(id);
  const colours = properties.filter((box) => box.type === 'colr' && view.fourCc(box.start) === 'nclx');
  if (type !== 'grid') {
    const tile = readTile(view, items, id, fallback);
    return { size: tile.size, grid: undefined, tiles: [tile], colours };
  }
  const payload = new ByteView(joinPieces(view.bytes, items.piecesOf(id), MAX_GRID_BYTES), 'avif', 'big');
  const isLong = (payload.uint8(1) & 1) !== 0;
  const [width, height] = isLong
    ? [payload.uint32(4), payload.uint32(8)]
    : [payload.uint16(4), payload.uint16(6)];
  const size = requireSize(view, { width, height });
  const grid = { rows: payload.uint8(2) + 1, columns: payload.uint8(3) + 1 };
  const ids = items.references(id, 'dimg');
  if (ids.length !== grid.rows * grid.columns) {
    throw view.broken(`has ${ids.length} tiles where ${grid.columns} × ${grid.rows} are declared`);
  }
  if (ids.length > MAX_TILES) throw view.broken(`has more than ${MAX_TILES} tiles`);
  const tiles = ids.map((each) => readTile(view, items, each));
  const [{ size: tile, configuration }] = tiles as [AvifTile];
  const covered = { width: grid.columns * tile.width, height: grid.rows * tile.height };
  // Tiles that cannot be seen would only cost time.
  if (
    covered.width < width ||
    covered.height < height ||
    covered.width - tile.width >= width ||
    covered.height - tile.height >= height
  ) {
    throw view.broken(`has tiles for ${covered.width} × ${covered.height} of ${width} × ${height} pixels`);
  }
  if (tiles.some(({ size: own }) => own.width !== tile.width || own.height !== tile.height)) {
    throw view.broken('has tiles of several sizes');
  }
  return {
    size,
    grid,
    tiles: tiles.map((each) => ({ ...each, configuration })),
    colours: colours.length > 0 ? colours : coloursOfFirst(view, items, ids),
  };
}

function coloursOfFirst(view: ByteView, items: HeifItems, [first]: readonly number[]): readonly Piece[] {
  const { properties } = items.find(first!);
  return properties.filter((box) => box.type === 'colr' && view.fourCc(box.start) === 'nclx');
}

const LAYER_PROPERTIES: readonly string[] = ['a1op', 'lsel', 'a1lx'];
/** An av1C box has 4 bytes, and perhaps some units of the stream. */
const MAX_CONFIGURATION_BYTES = 64 * 1024;

function readTile(view: ByteView, items: HeifItems, id: number, fallback?: Size): AvifTile {
  const { type, properties, isProtected } = items.find(id);
  if (isProtected) throw unsupportedPicture('an encrypted AVIF picture');
  if (type !== 'av01') throw unsupportedPicture('an AVIF picture that is not coded as AV1');
  const declared = findBox(properties, 'ispe');
  const size = declared ? readSize(view, declared.start + FULL_BOX_BYTES) : fallback;
  if (!size) throw view.broken('declares no size');
  return {
    size: requireSize(view, size),
    pieces: items.piecesOf(id),
    configuration: requireConfiguration(view, findBox(properties, 'av1C')),
    layers: properties.filter((property) => LAYER_PROPERTIES.includes(property.type)),
  };
}

function requireConfiguration(view: ByteView, box: Box | undefined): Piece {
  if (!box) throw view.broken('lacks the configuration of its decoder');
  const length = box.end - box.start;
  if (length < 4 || length > MAX_CONFIGURATION_BYTES) {
    throw view.broken('has a damaged configuration of its decoder');
  }
  return box;
}

function readSize(view: ByteView, at: number): Size {
  return { width: view.uint32(at), height: view.uint32(at + 4) };
}

function requireSize(view: ByteView, size: Size): Size {
  const { width, height } = size;
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  if (pixelCount(size) > MAX_PIXELS) throw tooManyPixels(width, height, MAX_PIXELS, 'an AVIF');
  return size;
}

function pixelCount({ width, height }: Size): number {
  return width * height;
}

/** One track of an animation, as its first frame. */
interface Track {
  readonly handler: string;
  readonly isAlpha: boolean;
  readonly plane: AvifPlane;
}

/** An animation has a track, its opacity another. */
const MAX_TRACKS = 16;

function readFirstFrame(view: ByteView, movie: Box): AvifPicture {
  const tracks = readBoxes(view, movie.start, movie.end)
    .filter(({ type }) => type === 'trak')
    .take(MAX_TRACKS)
    .toArray()
    .flatMap((box) => readTrack(view, box) ?? []);
  const colour = tracks.find(({ handler }) => handler === 'pict' || handler === 'vide');
  if (!colour) throw view.broken('has no picture');
  const alpha = tracks.find(
    ({ handler, isAlpha, plane: { size } }) =>
      handler === 'auxv' &&
      isAlpha &&
      size.width === colour.plane.size.width &&
      size.height === colour.plane.size.height,
  );
  return { colour: colour.plane, alpha: alpha?.plane, isPremultiplied: false, orientation: 1 };
}

/** Bytes of a sample entry before its boxes; a picture's size is in it. */
const SAMPLE_ENTRY_BYTES = 78;
const SAMPLE_ENTRY_SIZE = 24;

/** @returns undefined for a track that is not AV1 */
function readTrack(view: ByteView, track: Box): Track | undefined {
  const children = (box: Box | undefined, skip = 0) =>
    box ? [...readBoxes(view, box.start + skip, box.end)] : [];
  const media = children(findBox(children(track), 'mdia'));
  const handler = findBox(media, 'hdlr');
  const table = children(findBox(children(findBox(media, 'minf')), 'stbl'));
  const entry = findBox(children(findBox(table, 'stsd'), FULL_BOX_BYTES + 4), 'av01');
  const lengths = findBox(table, 'stsz');
  const shortOffsets = findBox(table, 'stco');
  const offsets = shortOffsets ?? findBox(table, 'co64');
  if (!handler || !entry || !lengths || !offsets) return undefined;
  const properties = children(entry, SAMPLE_ENTRY_BYTES);
  // All frames have the same length, or a table has each.
  const length =
    view.uint32(lengths.start + FULL_BOX_BYTES) || view.uint32(lengths.start + FULL_BOX_BYTES + 8);
  const offsetAt = offsets.start + FULL_BOX_BYTES + 4;
  const start = shortOffsets ? view.uint32(offsetAt) : view.uint64(offsetAt);
  view.require(start + length);
  const [width, height] = [
    view.uint16(entry.start + SAMPLE_ENTRY_SIZE),
    view.uint16(entry.start + SAMPLE_ENTRY_SIZE + 2),
  ];
  const size = requireSize(view, { width, height });
  return {
    handler: view.fourCc(handler.start + FULL_BOX_BYTES + 4),
    isAlpha: properties.some((box) => isAlpha(view, box)),
    plane: {
      size,
      grid: undefined,
      tiles: [
        {
          size,
          pieces: [{ start, end: start + length }],
          configuration: requireConfiguration(view, findBox(properties, 'av1C')),
          layers: [],
        },
      ],
      colours: properties.filter((box) => box.type === 'colr' && view.fourCc(box.start) === 'nclx'),
    },
  };
}

/**
 * Refuses streams whose frames are too large. The decoder compares their sizes with the declared ones only after it has
 * decoded them: 64 × 64 declared pixels may contain 16,384 × 16,384.
 * @returns pixels of the largest frame beyond the declared ones: it may be a layer that is not shown
 */
function checkStreams(view: ByteView, { colour, alpha }: AvifPicture): number {
  const budget: UnitBudget = { left: MAX_UNITS };
  const lengths = { left: view.length };
  let hiddenPixels = 0;
  const shared = new Set<string>();
  for (const plane of alpha ? [colour, alpha] : [colour]) {
    for (const { size, pieces } of plane.tiles) {
      // Tiles that look the same may share their data.
      const key = keyOf(pieces);
      if (shared.has(key)) continue;
      shared.add(key);
      lengths.left -= lengthOf(pieces);
      // The pieces are joined in memory: a few bytes of table could request gigabytes.
      if (lengths.left < 0) throw view.broken('uses parts of itself several times');
      const declaredPixels = Math.max(pixelCount(size), pixelCount(plane.size));
      try {
        for (const coded of readSequenceSizes(joined(view.bytes, pieces), budget)) {
          requireSize(view, coded);
          hiddenPixels = Math.max(hiddenPixels, pixelCount(coded) - declaredPixels);
        }
      } catch (fault) {
        if (fault instanceof RangeError) throw view.broken(`is damaged: ${fault.message}`);
        throw fault;
      }
    }
  }
  return hiddenPixels;
}

function keyOf(pieces: readonly Piece[]): string {
  return pieces.map(({ start, end }) => `${start}-${end}`).join();
}

function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Joins pieces of a file to one stream without copying. The stream must be read from beginning to end. */
function joined(bytes: Uint8Array, pieces: readonly Piece[]): ByteSource {
  const [only] = pieces;
  if (pieces.length === 1 && only) return bytes.subarray(only.start, only.end);
  let current = 0;
  /** Of the current piece, in the stream. */
  let from = 0;
  return {
    length: lengthOf(pieces),
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

/** @param maximum more bytes are left out */
function joinPieces(
  bytes: Uint8Array,
  pieces: readonly Piece[],
  maximum = Number.POSITIVE_INFINITY,
): Uint8Array {
  const length = Math.min(maximum, lengthOf(pieces));
  const whole = new Uint8Array(length);
  let at = 0;
  for (const { start, end } of pieces) {
    const piece = bytes.subarray(start, Math.min(end, start + length - at));
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
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

/**
 * Writes a plain AVIF of the same picture, with all that a strict decoder asks for and nothing else: no gain maps,
 * thumbnails, metadata or animation, no turning and cutting. Browsers ask for less than @napi-rs/image does: they show
 * pictures without `pixi`, with an odd `clap`, and animations.
 * @param bytes an AVIF that `readAvifHeader` accepts
 */
export function plainAvif(bytes: Uint8Array): Uint8Array {
  const view = new ByteView(bytes, 'avif', 'big');
  const { colour, alpha, isPremultiplied } = readPicture(view);
  const writer = new AvifWriter(view);
  const colourId = writer.addPlane(colour, []);
  if (alpha) {
    const kind = concat(uint(0, 4), text(`${ALPHA_KIND}\0`));
    const alphaId = writer.addPlane(alpha, [{ type: 'auxC', essential: false, contents: kind }]);
    writer.refer('auxl', alphaId, [colourId]);
    if (isPremultiplied) writer.refer('prem', colourId, [alphaId]);
  }
  return writer.finish(colourId);
}

const ALPHA_KIND = 'urn:mpeg:mpegB:cicp:systems:auxiliary:alpha';
/** The flag of a property that a reader must know. */
const ESSENTIAL_FLAG = 0x8000;
/** Item numbers have 16 bits. */
const MAX_ITEMS = 0xffff;

interface WrittenProperty {
  readonly type: string;
  readonly essential: boolean;
  readonly contents: Uint8Array;
}

/** Writes items one after another, and the tables that describe them. */
class AvifWriter {
  readonly #view: ByteView;
  readonly #properties: Uint8Array[] = [];
  /** Numbers of properties from 1 on, by their bytes: tiles have the same ones. */
  readonly #propertyNumbers = new Map<string, number>();
  readonly #infos: Uint8Array[] = [];
  readonly #associations: Uint8Array[] = [];
  readonly #references: Uint8Array[] = [];
  readonly #locations: { readonly offset: number; readonly length: number }[] = [];
  readonly #data: Uint8Array[] = [];
  #dataBytes = 0;
  /** Places of streams that several items share. */
  readonly #shared = new Map<string, { readonly offset: number; readonly length: number }>();

  constructor(view: ByteView) {
    this.#view = view;
  }

  /** @returns the number of its item */
  addPlane({ size, grid, tiles, colours }: AvifPlane, more: readonly WrittenProperty[]): number {
    const [{ configuration }] = tiles as [AvifTile];
    const described: readonly WrittenProperty[] = [
      { type: 'pixi', essential: false, contents: this.#channels(configuration) },
      ...colours.map((box) => ({ type: 'colr', essential: false, contents: this.#copy([box]) })),
      ...more,
    ];
    if (!grid) return this.#addTile(tiles[0]!, described);
    const ids = tiles.map((tile) => this.#addTile(tile, described));
    const payload = concat(
      [0, 1, grid.rows - 1, grid.columns - 1],
      uint(size.width, 4),
      uint(size.height, 4),
    );
    const id = this.#addItem('grid', this.#store(payload), [sizeProperty(size), ...described]);
    this.refer('dimg', id, ids);
    return id;
  }

  #addTile({ size, pieces, configuration, layers }: AvifTile, described: readonly WrittenProperty[]): number {
    const key = keyOf(pieces);
    const place = this.#shared.get(key) ?? this.#store(this.#copy(pieces));
    this.#shared.set(key, place);
    return this.#addItem('av01', place, [
      sizeProperty(size),
      { type: 'av1C', essential: true, contents: this.#copy([configuration]) },
      ...described,
      // The order of layers is advice, the choice of one is not.
      ...layers.map((box) => ({
        type: box.type,
        essential: box.type !== 'a1lx',
        contents: this.#copy([box]),
      })),
    ]);
  }

  #addItem(
    type: string,
    place: { readonly offset: number; readonly length: number },
    properties: readonly WrittenProperty[],
  ): number {
    const id = this.#infos.length + 1;
    if (id > MAX_ITEMS) throw this.#view.broken('has too many tiles');
    this.#locations.push(place);
    // Version 2, then the number, no protection, the type and an empty name.
    this.#infos.push(writeBox('infe', [2, 0, 0, 0], uint(id, 2), [0, 0], text(type), [0]));
    const numbers = properties.map(
      (property) => this.#numberOf(property) | (property.essential ? ESSENTIAL_FLAG : 0),
    );
    this.#associations.push(
      concat(uint(id, 2), [numbers.length], ...numbers.map((number) => uint(number, 2))),
    );
    return id;
  }

  refer(type: string, from: number, to: readonly number[]): void {
    this.#references.push(writeBox(type, uint(from, 2), uint(to.length, 2), ...to.map((id) => uint(id, 2))));
  }

  finish(primaryId: number): Uint8Array {
    const fileType = writeBox('ftyp', text('avif'), uint(0, 4), text('avif'), text('mif1'), text('miaf'));
    const metaWith = (dataOffset: number) => this.#meta(primaryId, dataOffset);
    const data = concat(...this.#data);
    // The offsets have the same length whatever they are.
    const dataOffset = fileType.length + metaWith(0).length + 8;
    return concat(fileType, metaWith(dataOffset), writeBox('mdat', data));
  }

  #meta(primaryId: number, dataOffset: number): Uint8Array {
    const count = this.#infos.length;
    const locations = this.#locations.map(({ offset, length }, index) =>
      // The number, this file, one piece.
      concat(uint(index + 1, 2), [0, 0, 0, 1], uint(dataOffset + offset, 4), uint(length, 4)),
    );
    return writeBox(
      'meta',
      uint(0, 4),
      writeBox('hdlr', uint(0, 8), text('pict'), uint(0, 12), [0]),
      writeBox('pitm', uint(0, 4), uint(primaryId, 2)),
      writeBox('iloc', uint(0, 4), [0x44, 0], uint(count, 2), ...locations),
      writeBox('iinf', uint(0, 4), uint(count, 2), ...this.#infos),
      ...(this.#references.length > 0 ? [writeBox('iref', uint(0, 4), ...this.#references)] : []),
      writeBox(
        'iprp',
        writeBox('ipco', ...this.#properties),
        // The flag says that numbers of properties have 15 bits.
        writeBox('ipma', uint(1, 4), uint(count, 4), ...this.#associations),
      ),
    );
  }

  #store(data: Uint8Array): { readonly offset: number; readonly length: number } {
    const place = { offset: this.#dataBytes, length: data.length };
    this.#data.push(data);
    this.#dataBytes += data.length;
    return place;
  }

  #copy(pieces: readonly Piece[]): Uint8Array {
    return joinPieces(this.#view.bytes, pieces);
  }

  #numberOf({ type, contents }: WrittenProperty): number {
    const box = writeBox(type, contents);
    const key = Buffer.from(box).toString('latin1');
    const known = this.#propertyNumbers.get(key);
    if (known !== undefined) return known;
    this.#properties.push(box);
    this.#propertyNumbers.set(key, this.#properties.length);
    return this.#properties.length;
  }

  /** The contents of a pixi box: the bits of each channel, as the decoder's configuration says. */
  #channels({ start }: Piece): Uint8Array {
    const flags = this.#view.uint8(start + 2);
    const [isDeep, isTwelve, isGrey] = [0x40, 0x20, 0x10].map((flag) => (flags & flag) !== 0);
    const bits = isDeep ? (isTwelve ? 12 : 10) : 8;
    return concat(uint(0, 4), isGrey ? [1, bits] : [3, bits, bits, bits]);
  }
}

function sizeProperty({ width, height }: Size): WrittenProperty {
  return { type: 'ispe', essential: false, contents: concat(uint(0, 4), uint(width, 4), uint(height, 4)) };
}

type Bytes = Uint8Array | readonly number[];

function writeBox(type: string, ...contents: readonly Bytes[]): Uint8Array {
  const body = concat(...contents);
  return concat(uint(HEADER_BYTES + body.length, 4), text(type), body);
}

const HEADER_BYTES = 8;

function concat(...pieces: readonly Bytes[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** A number of up to 32 bits, the highest byte first; zeros before it if there are more bytes. */
function uint(value: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => {
    const shift = 8 * (bytes - 1 - index);
    return shift < 32 ? (value >>> shift) & 0xff : 0;
  });
}

function text(characters: string): Uint8Array {
  return new TextEncoder().encode(characters);
}
