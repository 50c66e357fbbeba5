import { type Orientation, orientationOf } from '../../../../native/av/orientation.ts';
import type { ExifOrientation, Rectangle, Size } from '../../../../native/geometry.ts';
import { sideTooLong, tooManyPixels, unsupportedPicture } from '../picture-errors.ts';
import { readAvifHeader } from './avif.ts';
import {
  type Box,
  FULL_BOX_BYTES,
  findBox,
  findTable,
  HeifItems,
  MAX_DEPTH,
  type Piece,
  readBoxes,
} from './heif-items.ts';
import { ByteView, ordinaryPicture, type PictureHeader } from './picture-header.ts';

/**
 * The still picture of a HEIC file (ISO/IEC 23008-12): its primary item, coded as HEVC, whole or in a grid of tiles; of
 * an image sequence without a primary item, the first frame.
 */

/** One picture coded as HEVC. */
export interface HevcTile {
  /** The decoder's configuration: the contents of an hvcC box. */
  readonly configuration: Piece;
  /** The coded picture: NAL units after their lengths. */
  readonly data: readonly Piece[];
}

/** What a file says about its colours. The numbers are those of ISO/IEC 23091-2. */
export interface DeclaredColours {
  readonly primaries: number;
  readonly transfer: number;
  readonly matrix: number;
  readonly fullRange: boolean;
}

/** Tiles that make one plane of a picture: its colours, or its opacity. */
export interface HevcGrid {
  readonly columns: number;
  readonly rows: number;
  readonly tile: Size;
  /** In rows. */
  readonly tiles: readonly HevcTile[];
  /** Of the tiles' pixels, as their configuration says. */
  readonly bytesPerPixel: number;
  readonly colours: DeclaredColours | undefined;
}

/** How a HEIC picture is decoded. */
export interface HeicPicture {
  readonly colour: HevcGrid;
  readonly alpha: HevcGrid | undefined;
  /** The colours are multiplied by the opacity. */
  readonly isPremultiplied: boolean;
  /** The part of the grid that is shown, in the grid's pixels. */
  readonly shown: Rectangle;
  readonly orientation: ExifOrientation;
}

/**
 * Tiles are decoded one by one, so large pictures take little memory. A phone's largest picture has 200 megapixels. The
 * limit for pictures in general holds for the part that is shown.
 */
const MAX_PIXELS = 250_000_000;
/** HEVC's highest levels allow 16,888. */
const MAX_TILE_SIDE = 32_768;

/**
 * Reads the header of a HEIC, or of another HEIF whose picture is coded as AV1: an AVIF with an unusual brand.
 * @throws ServiceError image_unsupported for pictures that are coded in another way
 */
export function readHeicHeader(bytes: Uint8Array): PictureHeader {
  const view = new ByteView(bytes, 'heic', 'big');
  const picture = readPicture(view);
  if (picture === 'av1') return readAvifHeader(bytes);
  const { colour, alpha, shown, orientation } = picture;
  return {
    ...ordinaryPicture,
    format: 'heic',
    width: shown.width,
    height: shown.height,
    orientation,
    alpha: alpha !== undefined,
    coefficientBytes: heldBytes(colour) + (alpha ? heldBytes(alpha) : 0),
  };
}

/** Reads how a HEIC picture is decoded, after its header was read. */
export function readHeicPicture(bytes: Uint8Array): HeicPicture {
  const view = new ByteView(bytes, 'heic', 'big');
  const picture = readPicture(view);
  if (picture === 'av1') throw view.broken('is coded as AV1');
  return picture;
}

/** Frames that the decoder holds. */
const DECODER_FRAMES = 2;
const RGBA_BYTES = 4;

/** A row of several tiles is held as RGBA. */
function heldBytes({ columns, tile, bytesPerPixel }: HevcGrid): number {
  const rgba = columns > 1 ? columns * RGBA_BYTES : 0;
  return pixelCount(tile) * (DECODER_FRAMES * bytesPerPixel + rgba);
}

function readPicture(view: ByteView): HeicPicture | 'av1' {
  let movie: Box | undefined;
  // What comes after the picture may not be boxes: Samsung appends a video.
  for (const box of readBoxes(view, 0, view.length)) {
    if (box.type === 'mini') throw unsupportedPicture('a HEIF picture in the low-overhead form');
    if (box.type === 'moov') movie ??= box;
    if (box.type !== 'meta') continue;
    const meta = [...readBoxes(view, box.start + FULL_BOX_BYTES, box.end)];
    if (findBox(meta, 'pitm')) return readPrimary(view, new HeifItems(view, meta));
  }
  if (!movie) throw view.broken('has no still picture');
  return readFirstFrame(view, movie);
}

/** The ways in which items can be coded that are refused, as part of a sentence. */
const otherCodings: Readonly<Record<string, string>> = {
  avc1: 'coded as H.264',
  evc1: 'coded as EVC',
  hvt1: 'made of parts of an HEVC stream',
  iovl: 'made of several pictures on top of each other',
  j2k1: 'coded as JPEG 2000',
  jpeg: 'coded as JPEG',
  lhv1: 'coded as layered HEVC',
  mime: 'of another kind',
  mski: 'of a mask',
  tili: 'made of low-overhead tiles',
  unci: 'without compression',
  vvc1: 'coded as VVC',
};

function otherCoding(type: string): Error {
  const name = /^[\w ]{4}$/.test(type) ? `coded as "${type}"` : 'of an unknown coding';
  return unsupportedPicture(`a HEIF picture ${otherCodings[type] ?? name}`);
}

/** A step that changes what is shown: cuts, turns or mirrors. */
type Transformation =
  | { readonly kind: 'cut'; readonly part: (shown: Size) => Rectangle }
  | { readonly kind: 'turn'; readonly quartersAnticlockwise: number }
  | { readonly kind: 'mirror'; readonly axis: 'left-right' | 'top-bottom' };

function readPrimary(view: ByteView, items: HeifItems): HeicPicture | 'av1' {
  const transformations: Transformation[] = [];
  let id = items.primaryId;
  // The base of a derived picture is transformed before the derived one.
  for (let depth = 0; ; depth++) {
    const { type, properties } = items.find(id);
    transformations.unshift(...readTransformations(view, properties));
    // A tone-mapped picture (`tmap`) is its first input with a gain map.
    if (type !== 'iden' && type !== 'tmap') break;
    requireReadable(items, id);
    const [base] = items.references(id, 'dimg');
    if (base === undefined) throw view.broken('is derived from a picture that it lacks');
    if (depth > MAX_DEPTH) throw view.broken('is derived from itself');
    id = base;
  }
  const colour = readGrid(view, items, id);
  if (colour === 'av1') return 'av1';
  const alphaItem = findAlpha(view, items, [items.primaryId, id]);
  const alpha = alphaItem === undefined ? undefined : readGrid(view, items, alphaItem);
  const whole = gridSize(view, items, id);
  const isSameSize = alpha && alpha !== 'av1' && isSame(whole, gridSize(view, items, alphaItem!));
  return {
    colour,
    alpha: isSameSize ? alpha : undefined,
    isPremultiplied:
      alphaItem !== undefined &&
      [items.primaryId, id].some((each) => items.references(each, 'prem').includes(alphaItem)),
    ...show(view, whole, transformations),
  };
}

/** The item that is a picture's opacity. */
function findAlpha(view: ByteView, items: HeifItems, ids: readonly number[]): number | undefined {
  for (const id of ids) {
    for (const { id: auxiliary, properties } of items.referringTo(id, 'auxl')) {
      const kind = findBox(properties, 'auxC');
      if (kind && alphaKinds.some((name) => isText(view, kind, name))) return auxiliary;
    }
  }
  return undefined;
}

const alphaKinds = ['urn:mpeg:mpegB:cicp:systems:auxiliary:alpha', 'urn:mpeg:hevc:2015:auxid:1'];

function isText(view: ByteView, { start, end }: Box, text: string): boolean {
  const from = start + FULL_BOX_BYTES;
  return end - from > text.length && view.ascii(from, text.length + 1) === `${text}\0`;
}

/** Properties that may be essential: what they say is followed here, or changes no pixel. */
const knownProperties: ReadonlySet<string> = new Set(
  'hvcC ispe colr pixi pasp irot imir clap auxC lsel oinf clli mdcv cclv amve'.split(' '),
);

/** @throws ServiceError image_unsupported */
function requireReadable(items: HeifItems, id: number): void {
  const { isProtected, properties } = items.find(id);
  if (isProtected) throw unsupportedPicture('an encrypted HEIC picture');
  const unknown = properties.find(({ essential, type }) => essential && !knownProperties.has(type));
  if (unknown) throw unsupportedPicture(`a HEIC picture with the property "${unknown.type}"`);
}

/** The size of a coded or tiled item before its transformations. */
function gridSize(view: ByteView, items: HeifItems, id: number): Size {
  const { type } = items.find(id);
  return type === 'grid' ? readGridItem(view, items, id).size : declaredSize(view, items, id);
}

function declaredSize(view: ByteView, items: HeifItems, id: number): Size {
  const box = findBox(items.find(id).properties, 'ispe');
  if (!box) throw view.broken('declares no size');
  const at = box.start + FULL_BOX_BYTES;
  const size = { width: view.uint32(at), height: view.uint32(at + 4) };
  const { width, height } = size;
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  return size;
}

/** A grid item has a few numbers. */
const MAX_GRID_BYTES = 12;

function readGridItem(view: ByteView, items: HeifItems, id: number) {
  const bytes = joined(view.bytes, items.piecesOf(id), MAX_GRID_BYTES);
  const grid = new ByteView(bytes, 'heic', 'big');
  const isLong = (grid.uint8(1) & 1) !== 0;
  const [width, height] = isLong ? [grid.uint32(4), grid.uint32(8)] : [grid.uint16(4), grid.uint16(6)];
  return { rows: grid.uint8(2) + 1, columns: grid.uint8(3) + 1, size: { width, height } };
}

/** The largest pictures of phones have some 800. Each takes time of its own. */
const MAX_TILES = 4096;

/** @returns 'av1' if the picture is coded so */
function readGrid(view: ByteView, items: HeifItems, id: number): HevcGrid | 'av1' {
  const { type, properties } = items.find(id);
  if (type === 'av01') return 'av1';
  if (type !== 'grid' && type !== 'hvc1') throw otherCoding(type);
  requireReadable(items, id);
  const { columns, rows, size, ids } =
    type === 'grid'
      ? { ...readGridItem(view, items, id), ids: items.references(id, 'dimg') }
      : { columns: 1, rows: 1, size: declaredSize(view, items, id), ids: [id] };
  if (ids.length !== columns * rows) {
    throw view.broken(`has ${ids.length} tiles where ${columns} × ${rows} are declared`);
  }
  if (ids.length > MAX_TILES) throw view.broken(`has more than ${MAX_TILES} tiles`);
  const [first] = ids as [number];
  const coding = items.find(first).type;
  if (coding === 'av01') return 'av1';
  if (coding !== 'hvc1') throw otherCoding(coding);
  const tile = declaredSize(view, items, first);
  requireCoverage(view, { columns, rows, tile, size });
  const budget = { left: view.length };
  const tiles = ids.map((each) => {
    const item = items.find(each);
    if (item.type !== coding) throw unsupportedPicture('a HEIF picture with tiles of several codings');
    if (each !== id) {
      requireReadable(items, each);
      if (!isSame(declaredSize(view, items, each), tile)) throw view.broken('has tiles of several sizes');
      if (readTransformations(view, item.properties).length > 0) {
        throw unsupportedPicture('a HEIC picture with tiles that are turned or cut');
      }
    }
    return readTile(view, items, each, budget);
  });
  return {
    columns,
    rows,
    tile,
    tiles,
    bytesPerPixel: Math.max(...tiles.map(({ configuration }) => readBytesPerPixel(view, configuration))),
    colours: readColours(view, properties) ?? readColours(view, items.find(first).properties),
  };
}

function requireCoverage(
  view: ByteView,
  { columns, rows, tile, size }: Pick<HevcGrid, 'columns' | 'rows' | 'tile'> & { readonly size: Size },
): void {
  const { width, height } = size;
  if (width === 0 || height === 0) throw view.broken(`declares ${width} × ${height} pixels`);
  if (Math.max(tile.width, tile.height) > MAX_TILE_SIDE) {
    throw sideTooLong(tile.width, tile.height, MAX_TILE_SIDE);
  }
  const covered = { width: columns * tile.width, height: rows * tile.height };
  if (pixelCount(covered) > MAX_PIXELS) {
    throw tooManyPixels(covered.width, covered.height, MAX_PIXELS, 'a HEIC');
  }
  if (covered.width < width || covered.height < height) {
    throw view.broken(`has tiles for ${covered.width} × ${covered.height} of ${width} × ${height} pixels`);
  }
  // Tiles that cannot be seen would only cost time.
  if (covered.width - tile.width >= width || covered.height - tile.height >= height) {
    throw view.broken('has tiles outside of the picture');
  }
}

/** @param budget bytes of the file that items may still be made of */
function readTile(view: ByteView, items: HeifItems, id: number, budget: { left: number }): HevcTile {
  const configuration = findBox(items.find(id).properties, 'hvcC');
  if (!configuration) throw view.broken('lacks the configuration of its decoder');
  const data = items.piecesOf(id);
  const length = data.reduce((sum, { start, end }) => sum + end - start, 0);
  if (length === 0) throw view.broken('has a tile without data');
  budget.left -= length;
  // The pieces are joined in memory: a few bytes of table could request gigabytes.
  if (budget.left < 0) throw view.broken('uses parts of itself several times');
  return { configuration, data };
}

/** Samples for each pixel, by the number of the chroma format: 4:0:0, 4:2:0, 4:2:2, 4:4:4. */
const SAMPLES = [1, 1.5, 2, 3] as const;
const BIT_DEPTHS: readonly number[] = [8, 9, 10, 12];
const MIN_CONFIGURATION_BYTES = 23;
/** Parameter sets; they have some hundred bytes. */
const MAX_CONFIGURATION_BYTES = 64 * 1024;

/** @throws ServiceError image_unsupported if the decoder does not know such samples */
function readBytesPerPixel(view: ByteView, { start, end }: Piece): number {
  if (end - start < MIN_CONFIGURATION_BYTES || end - start > MAX_CONFIGURATION_BYTES) {
    throw view.broken('has a damaged configuration of its decoder');
  }
  const samples = SAMPLES[view.uint8(start + 16) & 3]!;
  const [luma, chroma] = [view.uint8(start + 17), view.uint8(start + 18)].map((bits) => 8 + (bits & 7));
  if (!BIT_DEPTHS.includes(luma!)) throw unsupportedPicture(`a HEIC picture with ${luma} bits per channel`);
  if (samples > 1 && luma !== chroma) {
    throw unsupportedPicture('a HEIC picture with channels of different precision');
  }
  return samples * (luma === 8 ? 1 : 2);
}

/** Matrices that the decoder's scaler knows, and 2, which is none. */
const MATRICES: readonly number[] = [0, 1, 2, 4, 5, 6, 7, 9];

function readColours(view: ByteView, properties: readonly Box[]): DeclaredColours | undefined {
  for (const { type, start } of properties) {
    if (type !== 'colr' || view.fourCc(start) !== 'nclx') continue;
    const matrix = view.uint16(start + 8);
    if (!MATRICES.includes(matrix)) {
      throw unsupportedPicture(`a HEIC picture in colours of another kind (matrix ${matrix})`);
    }
    return {
      primaries: view.uint16(start + 4),
      transfer: view.uint16(start + 6),
      matrix,
      fullRange: view.uint8(start + 10) >= 0x80,
    };
  }
  return undefined;
}

function readTransformations(view: ByteView, properties: readonly Box[]): readonly Transformation[] {
  return properties.flatMap((property): Transformation[] => {
    switch (property.type) {
      case 'irot': {
        const quartersAnticlockwise = view.uint8(property.start) & 3;
        return quartersAnticlockwise === 0 ? [] : [{ kind: 'turn', quartersAnticlockwise }];
      }
      case 'imir':
        return [{ kind: 'mirror', axis: view.uint8(property.start) & 1 ? 'left-right' : 'top-bottom' }];
      case 'clap':
        return [{ kind: 'cut', part: readCut(view, property) }];
      default:
        return [];
    }
  });
}

/** A clean aperture: four fractions, of which the last two move its centre from the picture's. */
function readCut(view: ByteView, { start }: Box): (shown: Size) => Rectangle {
  const fraction = (index: number) => {
    const [numerator, denominator] = [view.int32(start + index * 8), view.int32(start + index * 8 + 4)];
    if (denominator <= 0) throw view.broken('has a cut of no size');
    return numerator / denominator;
  };
  const [width, height, right, down] = [0, 1, 2, 3].map(fraction) as [number, number, number, number];
  return (shown) => {
    const across = cutAxis(shown.width, width, right);
    const downwards = cutAxis(shown.height, height, down);
    if (across.length <= 0 || downwards.length <= 0) throw view.broken('has a cut outside of the picture');
    return { left: across.from, top: downwards.from, width: across.length, height: downwards.length };
  };
}

function cutAxis(whole: number, length: number, moved: number): { from: number; length: number } {
  const exact = moved + (whole - length) / 2;
  const from = Math.max(0, Math.floor(exact));
  return { from, length: Math.min(whole, Math.floor(exact) + Math.round(length)) - from };
}

/**
 * What is shown of a grid. A pixel (x, y) of the shown picture is the grid's (x, y) within `part`; if `isTurned`, its
 * (y, x); then counted from the other end where the axis is `isMirrored`.
 */
interface Shown {
  readonly part: Rectangle;
  readonly isTurned: boolean;
  readonly isMirrored: { readonly left: boolean; readonly top: boolean };
}

/** EXIF's numbers, by `isTurned`, `isMirrored.top` and `isMirrored.left`. */
const orientations = [1, 2, 4, 3, 5, 8, 6, 7] as const;

function show(
  view: ByteView,
  whole: Size,
  transformations: readonly Transformation[],
): Pick<HeicPicture, 'shown' | 'orientation'> {
  const start: Shown = {
    part: { left: 0, top: 0, ...whole },
    isTurned: false,
    isMirrored: { left: false, top: false },
  };
  const { part, isTurned, isMirrored } = transformations.reduce(transform, start);
  // The cuts of hostile files may have any numbers.
  if (!(part.width >= 1 && part.height >= 1)) throw view.broken('has a cut outside of the picture');
  return {
    shown: part,
    orientation: orientations[(isTurned ? 4 : 0) + (isMirrored.top ? 2 : 0) + (isMirrored.left ? 1 : 0)]!,
  };
}

function transform(before: Shown, step: Transformation): Shown {
  switch (step.kind) {
    case 'cut':
      return { ...before, part: cut(before, step.part) };
    case 'mirror':
      return mirror(before, step.axis);
    case 'turn': {
      let shown = before;
      for (let left = step.quartersAnticlockwise; left > 0; left--) {
        // A quarter is a mirroring at the diagonal after one from left to right.
        const mirrored = mirror(shown, 'left-right');
        shown = { ...mirrored, isTurned: !mirrored.isTurned };
      }
      return shown;
    }
  }
}

function mirror(shown: Shown, axis: 'left-right' | 'top-bottom'): Shown {
  const { left, top } = shown.isMirrored;
  // The axis as the grid has it.
  return (axis === 'left-right') === shown.isTurned
    ? { ...shown, isMirrored: { left, top: !top } }
    : { ...shown, isMirrored: { left: !left, top } };
}

function cut({ part, isTurned, isMirrored }: Shown, partOf: (shown: Size) => Rectangle): Rectangle {
  const turned = ({ left, top, width, height }: Rectangle): Rectangle =>
    isTurned ? { left: top, top: left, width: height, height: width } : { left, top, width, height };
  const inside = turned(partOf(turned(part)));
  return {
    ...inside,
    left: part.left + (isMirrored.left ? part.width - inside.left - inside.width : inside.left),
    top: part.top + (isMirrored.top ? part.height - inside.top - inside.height : inside.top),
  };
}

/** A sequence has a track of pictures, and perhaps one of thumbnails. */
const MAX_TRACKS = 16;

/** The first frame of an image sequence's first track of pictures. */
function readFirstFrame(view: ByteView, movie: Box): HeicPicture | 'av1' {
  const inside = (box: Box, ...path: readonly string[]): Box | undefined =>
    path.reduce<Box | undefined>(
      (parent, type) => parent && findBox(readBoxes(view, parent.start, parent.end), type),
      box,
    );
  let tracks = 0;
  for (const track of readBoxes(view, movie.start, movie.end)) {
    if (track.type !== 'trak') continue;
    tracks += 1;
    if (tracks > MAX_TRACKS) break;
    const handler = inside(track, 'mdia', 'hdlr');
    if (!handler || view.fourCc(handler.start + 8) !== 'pict') continue;
    const tables = inside(track, 'mdia', 'minf', 'stbl');
    const header = inside(track, 'tkhd');
    if (!tables || !header) continue;
    return readFrame(view, [...readBoxes(view, tables.start, tables.end)], turnOf(view, header));
  }
  throw view.broken('has no still picture');
}

/** Where the sample description of pictures has their size, and its own boxes. */
const SAMPLE_SIZE_OFFSET = 24;
const SAMPLE_BOXES_OFFSET = 78;

function readFrame(view: ByteView, tables: readonly Box[], turn: Orientation): HeicPicture | 'av1' {
  const descriptions = findTable(view, tables, 'stsd');
  const [description] = readBoxes(view, descriptions.start + FULL_BOX_BYTES + 4, descriptions.end);
  if (!description) throw view.broken('has no still picture');
  if (description.type === 'av01') return 'av1';
  if (description.type !== 'hvc1' && description.type !== 'hev1') throw otherCoding(description.type);
  const properties = [...readBoxes(view, description.start + SAMPLE_BOXES_OFFSET, description.end)];
  const configuration = findBox(properties, 'hvcC');
  if (!configuration) throw view.broken('lacks the configuration of its decoder');
  const tile = {
    width: view.uint16(description.start + SAMPLE_SIZE_OFFSET),
    height: view.uint16(description.start + SAMPLE_SIZE_OFFSET + 2),
  };
  requireCoverage(view, { columns: 1, rows: 1, tile, size: tile });
  const colour: HevcGrid = {
    columns: 1,
    rows: 1,
    tile,
    tiles: [{ configuration, data: [firstSample(view, tables)] }],
    bytesPerPixel: readBytesPerPixel(view, configuration),
    colours: readColours(view, properties),
  };
  const transformations: readonly Transformation[] = [
    ...readTransformations(
      view,
      properties.filter(({ type }) => type === 'clap'),
    ),
    ...(turn.mirrored ? [{ kind: 'mirror', axis: 'left-right' } as const] : []),
    { kind: 'turn', quartersAnticlockwise: (4 - turn.turns) % 4 },
  ];
  return { colour, alpha: undefined, isPremultiplied: false, ...show(view, tile, transformations) };
}

function firstSample(view: ByteView, tables: readonly Box[]): Piece {
  const sizes = findBox(tables, 'stsz');
  const short = findBox(tables, 'stco');
  const long = findBox(tables, 'co64');
  if (!sizes || !(short ?? long)) throw view.broken('does not say where its first frame is');
  const size = view.uint32(sizes.start + FULL_BOX_BYTES) || view.uint32(sizes.start + FULL_BOX_BYTES + 8);
  const start = short
    ? view.uint32(short.start + FULL_BOX_BYTES + 4)
    : view.uint64(long!.start + FULL_BOX_BYTES + 4);
  view.require(start + size);
  if (size === 0) throw view.broken('has a first frame without data');
  return { start, end: start + size };
}

const MATRIX_BYTES = 36;

function turnOf(view: ByteView, header: Box): Orientation {
  // Times have 64 bits in version 1.
  const at = header.start + FULL_BOX_BYTES + (view.uint8(header.start) === 1 ? 48 : 36);
  view.require(at + MATRIX_BYTES);
  return orientationOf(Buffer.from(view.bytes.subarray(at, at + MATRIX_BYTES)).swap32());
}

/**
 * Joins pieces of a file.
 * @param limit bytes beyond this are left out
 */
export function joined(
  bytes: Uint8Array,
  pieces: readonly Piece[],
  limit = Number.POSITIVE_INFINITY,
): Uint8Array {
  let left = limit;
  const parts: Uint8Array[] = [];
  for (const { start, end } of pieces) {
    const part = bytes.subarray(start, Math.min(end, start + left));
    left -= part.length;
    parts.push(part);
    if (left <= 0) break;
  }
  return parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts));
}

function isSame(a: Size, b: Size): boolean {
  return a.width === b.width && a.height === b.height;
}

function pixelCount({ width, height }: Size): number {
  return width * height;
}
