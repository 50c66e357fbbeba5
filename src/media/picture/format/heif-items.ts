import type { ByteView } from './picture-header.ts';

/**
 * The boxes of ISO base media files (ISO/IEC 14496-12), and the items in them (ISO/IEC 23008-12): HEIC and AVIF are made
 * of these. Every bound here is independent of what the bytes declare.
 */

/** A part of a file. */
export interface Piece {
  readonly start: number;
  readonly end: number;
}

/** A box of an ISO base media file. Its contents are from `start` to `end`. */
export interface Box extends Piece {
  readonly type: string;
}

const HEADER_BYTES = 8;
const LONG_HEADER_BYTES = 16;
/** In one container; a still picture has a dozen. */
const MAX_BOXES = 10_000;
/** Tables of items: a picture of a thousand tiles has some 20 KB of them. */
const MAX_TABLE_BYTES = 1024 ** 2;

/** A FullBox begins with a byte of version and 3 of flags. */
export const FULL_BOX_BYTES = 4;

/**
 * Reads the consecutive boxes between two offsets.
 * @throws ServiceError image_broken if the file ends within one
 */
export function* readBoxes(view: ByteView, from: number, to: number): Generator<Box> {
  let count = 0;
  for (let at = from; at + HEADER_BYTES <= to; ) {
    count += 1;
    if (count > MAX_BOXES) throw view.broken(`has more than ${MAX_BOXES} boxes in one place`);
    const shortSize = view.uint32(at);
    // 1: a size of 64 bits follows; 0: the box extends to the end.
    const size = shortSize === 1 ? view.uint64(at + HEADER_BYTES) : shortSize || to - at;
    const headerBytes = shortSize === 1 ? LONG_HEADER_BYTES : HEADER_BYTES;
    if (size < headerBytes) throw view.broken('has a box smaller than its header');
    view.require(at + size);
    yield { type: view.fourCc(at + 4), start: at + headerBytes, end: at + size };
    at += size;
  }
}

export function findBox<Found extends Box>(boxes: Iterable<Found>, type: string): Found | undefined {
  for (const box of boxes) if (box.type === type) return box;
  return undefined;
}

/** Finds a box whose contents are read number by number. */
export function findTable(view: ByteView, boxes: Iterable<Box>, type: string): Box {
  const box = findBox(boxes, type);
  if (!box) throw view.broken(`lacks its ${type} box`);
  if (box.end - box.start > MAX_TABLE_BYTES) throw view.broken(`has an oversized ${type} box`);
  return box;
}

/** Item numbers have 16 bits, or 32 in later versions of a box. */
export function readItemId(view: ByteView, at: number, long: boolean): number {
  return long ? view.uint32(at) : view.uint16(at);
}

interface Property extends Box {
  /** A reader that does not know this property must not show the item. */
  readonly essential: boolean;
}

interface HeifItem {
  readonly id: number;
  /** Four characters: how it is coded (`hvc1`, `av01`), or how it is derived from others (`grid`). */
  readonly type: string;
  /** Its data are encrypted. */
  readonly isProtected: boolean;
  /** In the order in which they apply. */
  readonly properties: readonly Property[];
}

/** Items and pieces of items: a picture of a thousand tiles has a thousand of each. */
const MAX_PIECES = 100_000;
/** Data of items within the data of items, and pictures derived from pictures. */
export const MAX_DEPTH = 8;

/** The items of a file. */
export class HeifItems {
  readonly primaryId: number;
  readonly #view: ByteView;
  readonly #items: ReadonlyMap<number, Omit<HeifItem, 'properties'>>;
  readonly #properties: (id: number) => readonly Property[];
  readonly #references: ReadonlyMap<string, readonly number[]>;
  readonly #locations: ReadonlyMap<number, Location>;
  readonly #itemData: Piece | undefined;
  #piecesLeft = MAX_PIECES;

  /** @param meta the boxes in the file's meta box, of which one is `pitm` */
  constructor(view: ByteView, meta: readonly Box[]) {
    this.#view = view;
    const primary = findTable(view, meta, 'pitm');
    this.primaryId = readItemId(view, primary.start + FULL_BOX_BYTES, view.uint8(primary.start) > 0);
    this.#items = readItems(view, meta);
    this.#properties = readAssociations(view, meta);
    this.#references = readReferences(view, meta);
    this.#locations = readLocations(view, meta);
    this.#itemData = findBox(meta, 'idat');
  }

  /** @throws ServiceError image_broken if there is no such item */
  find(id: number): HeifItem {
    const item = this.#items.get(id);
    if (!item) throw this.#view.broken(`lacks its item ${id}`);
    return { ...item, properties: this.#properties(id) };
  }

  /** Items that refer to this one: its thumbnails (`thmb`), its depth and opacity (`auxl`). */
  *referringTo(id: number, type: string): Generator<HeifItem> {
    for (const item of this.#items.keys()) {
      if (this.references(item, type).includes(id)) yield this.find(item);
    }
  }

  /** Items that an item refers to, in order: its tiles (`dimg`). */
  references(id: number, type: string): readonly number[] {
    return this.#references.get(referenceKey(type, id)) ?? [];
  }

  /**
   * The places of an item's data in the file, in order.
   * @throws ServiceError image_broken
   */
  piecesOf(id: number, depth = 0): readonly Piece[] {
    const view = this.#view;
    const location = this.#locations.get(id);
    if (!location) throw view.broken(`does not say where the data of its item ${id} are`);
    const { method, base, extents, isElsewhere } = location;
    if (isElsewhere) throw view.broken('stores data in another file');
    if (depth > MAX_DEPTH) throw view.broken('has items that are made of each other');
    this.#piecesLeft -= extents.length;
    if (this.#piecesLeft < 0) throw view.broken(`has more than ${MAX_PIECES} pieces of data`);
    switch (method) {
      case 'file':
        return extents.map((extent) => within(view, { start: 0, end: view.length }, base, extent));
      case 'idat': {
        const data = this.#itemData;
        if (!data) throw view.broken('lacks its idat box');
        return extents.map((extent) => within(view, data, base, extent));
      }
      case 'item':
        return extents.flatMap((extent) => {
          const sources = this.references(id, 'iloc');
          const source = sources[Math.max(0, extent.index - 1)];
          if (source === undefined) throw view.broken('lacks an item that contains another');
          return this.#cut(this.piecesOf(source, depth + 1), base + extent.offset, extent.length);
        });
    }
  }

  /** @param length 0: up to the end */
  #cut(pieces: readonly Piece[], offset: number, length: number): readonly Piece[] {
    const end = length === 0 ? Number.POSITIVE_INFINITY : offset + length;
    const cut: Piece[] = [];
    let at = 0;
    for (const piece of pieces) {
      const from = Math.max(0, offset - at);
      const to = Math.min(piece.end - piece.start, end - at);
      if (from < to) cut.push({ start: piece.start + from, end: piece.start + to });
      at += piece.end - piece.start;
    }
    if (length !== 0 && at < end) throw this.#view.truncated(`an item has ${at} bytes, not ${end}`);
    return cut;
  }
}

/** @param extent a length of 0: up to the end */
function within(view: ByteView, whole: Piece, base: number, { offset, length }: Extent): Piece {
  const start = whole.start + base + offset;
  const end = length === 0 ? whole.end : start + length;
  view.require(end);
  if (end > whole.end || start > end) throw view.broken('has data beyond the end of a box');
  return { start, end };
}

function readItems(view: ByteView, meta: readonly Box[]): ReadonlyMap<number, Omit<HeifItem, 'properties'>> {
  const items = new Map<number, Omit<HeifItem, 'properties'>>();
  const box = findTable(view, meta, 'iinf');
  const entries = box.start + FULL_BOX_BYTES + (view.uint8(box.start) > 0 ? 4 : 2);
  for (const { type, start } of readBoxes(view, entries, box.end)) {
    // Older versions have no types.
    if (type !== 'infe' || view.uint8(start) < 2) continue;
    const long = view.uint8(start) > 2;
    const id = readItemId(view, start + FULL_BOX_BYTES, long);
    const protection = start + FULL_BOX_BYTES + (long ? 4 : 2);
    if (items.has(id)) continue;
    items.set(id, {
      id,
      type: view.fourCc(protection + 2),
      isProtected: view.uint16(protection) !== 0,
    });
  }
  return items;
}

/** @returns a function that reads the properties of an item: most are never asked for */
function readAssociations(view: ByteView, meta: readonly Box[]): (id: number) => readonly Property[] {
  const properties = findBox(meta, 'iprp');
  const children = properties ? [...readBoxes(view, properties.start, properties.end)] : [];
  const container = findBox(children, 'ipco');
  if (!container) throw view.broken('describes no picture');
  const all = [...readBoxes(view, container.start, container.end)];

  /** Where the list of an item's properties begins, after its length. */
  const lists = new Map<number, { readonly start: number; readonly count: number }>();
  const box = findTable(view, children, 'ipma');
  const longIds = view.uint8(box.start) > 0;
  const indexBytes = view.uint8(box.start + 3) & 1 ? 2 : 1;
  let at = box.start + FULL_BOX_BYTES + 4;
  for (let left = view.uint32(at - 4); left > 0 && at < box.end; left--) {
    const id = readItemId(view, at, longIds);
    const start = at + (longIds ? 5 : 3);
    const count = view.uint8(start - 1);
    at = start + count * indexBytes;
    if (!lists.has(id)) lists.set(id, { start, count });
  }

  return (id) => {
    const { start, count } = lists.get(id) ?? { start: 0, count: 0 };
    return Array.from({ length: count }, (_, index) => {
      const entry = start + index * indexBytes;
      // The highest bit marks an essential property.
      const [flag, number] =
        indexBytes === 2
          ? [view.uint8(entry), view.uint16(entry) & 0x7fff]
          : [view.uint8(entry), view.uint8(entry) & 0x7f];
      const property = all[number - 1];
      return property && { ...property, essential: flag >= 0x80 };
    }).filter((property) => property !== undefined);
  };
}

function referenceKey(type: string, from: number): string {
  return `${type} ${from}`;
}

function readReferences(view: ByteView, meta: readonly Box[]): ReadonlyMap<string, readonly number[]> {
  const references = new Map<string, readonly number[]>();
  if (!findBox(meta, 'iref')) return references;
  const box = findTable(view, meta, 'iref');
  const long = view.uint8(box.start) > 0;
  const idBytes = long ? 4 : 2;
  for (const { type, start, end } of readBoxes(view, box.start + FULL_BOX_BYTES, box.end)) {
    const key = referenceKey(type, readItemId(view, start, long));
    const count = view.uint16(start + idBytes);
    const first = start + idBytes + 2;
    if (first + count * idBytes > end) throw view.broken('has a list of items that is longer than its box');
    const ids = Array.from({ length: count }, (_, index) => readItemId(view, first + index * idBytes, long));
    if (!references.has(key)) references.set(key, ids);
  }
  return references;
}

interface Extent {
  /** Which of the items that contain it; 0 and 1 are the first. */
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

interface Location {
  /** What its offsets count from: the file, the data in the meta box, or other items' data. */
  readonly method: 'file' | 'idat' | 'item';
  readonly isElsewhere: boolean;
  readonly base: number;
  readonly extents: readonly Extent[];
}

const METHODS = ['file', 'idat', 'item'] as const;

/** Reads the item location box, by item number. */
function readLocations(view: ByteView, meta: readonly Box[]): ReadonlyMap<number, Location> {
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

  const locations = new Map<number, Location>();
  let count = 0;
  // A piece may need 0 bytes of the table, so the table's size does not limit their number.
  const countPiece = () => {
    count += 1;
    if (count > MAX_PIECES) throw view.broken(`has more than ${MAX_PIECES} pieces of data`);
  };
  for (let left = number(version > 1 ? 4 : 2); left > 0 && at < box.end; left--) {
    countPiece();
    const id = number(version > 1 ? 4 : 2);
    const method = METHODS[version > 0 ? number(2) & 0xf : 0];
    if (!method) throw view.broken('has data in a place of an unknown kind');
    const isElsewhere = number(2) !== 0;
    const base = number(baseBytes);
    const extents: Extent[] = [];
    for (let more = number(2); more > 0 && at < box.end; more--) {
      countPiece();
      extents.push({ index: number(indexBytes), offset: number(offsetBytes), length: number(lengthBytes) });
    }
    if (!locations.has(id)) locations.set(id, { method, isElsewhere, base, extents });
  }
  return locations;
}
