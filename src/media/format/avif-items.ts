import type { ByteView } from './byte-view.ts';
import { type Box, findBox, findTable, readBoxes } from './iso-boxes.ts';

/** Items and pieces of items in one table: a picture of a thousand tiles has as many of each. */
const MAXIMUM_PIECES = 100_000;

/** A FullBox begins with a byte of version and 3 of flags. */
export const FULL_BOX_BYTES = 4;

/** Item numbers have 16 bits, or 32 in a box's later versions. */
function readItemId(view: ByteView, at: number, long: boolean): number {
  return long ? view.uint32(at) : view.uint16(at);
}

/** The item that is the picture; others are its alpha plane, its tiles, its metadata. */
export function readPrimaryId(view: ByteView, meta: readonly Box[]): number {
  const box = findTable(view, meta, 'pitm');
  return readItemId(view, box.start + FULL_BOX_BYTES, view.uint8(box.start) > 0);
}

/** All properties of all items. */
export function readProperties(view: ByteView, meta: readonly Box[]): readonly Box[] {
  const properties = findBox(meta, 'iprp');
  const container = properties && findBox(readBoxes(view, properties.start, properties.end), 'ipco');
  if (!container) throw view.broken('describes no picture');
  return [...readBoxes(view, container.start, container.end)];
}

/**
 * The properties that the association box gives to one item.
 * @param all properties of all items
 */
export function propertiesOf(
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
        // The highest bit says that the property is essential.
        const number = longIndices ? view.uint16(entry) & 0x7fff : view.uint8(entry) & 0x7f;
        return all[number - 1];
      }).filter((property) => property !== undefined);
    }
    at += count * stride;
  }
  throw view.broken('does not describe its primary picture');
}

/** Numbers of the items that are coded as AV1. */
export function readAv1ItemIds(view: ByteView, meta: readonly Box[]): ReadonlySet<number> {
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
 * Reads the item location box: where in the file each item's data lies.
 * @returns by item number its pieces, which belong together in this order
 */
export function readLocations(view: ByteView, meta: readonly Box[]): ReadonlyMap<number, readonly Box[]> {
  const box = findTable(view, meta, 'iloc');
  const version = view.uint8(box.start);
  let at = box.start + FULL_BOX_BYTES;
  const number = (bytes: number): number => {
    at += bytes;
    if (bytes === 0) return 0;
    if (bytes === 2) return view.uint16(at - 2);
    if (bytes === 4) return view.uint32(at - 4);
    if (bytes === 8) return view.uint64(at - 8);
    throw view.broken('has numbers of an unknown size');
  };
  const sizes = number(2);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 12, (sizes >> 8) & 0xf, (sizes >> 4) & 0xf];
  const indexBytes = version > 0 ? sizes & 0xf : 0;

  const inMeta = findBox(meta, 'idat');
  const locations = new Map<number, readonly Box[]>();
  let count = 0;
  // A piece may take no bytes of the table: its size says nothing about how many there are.
  const takeNote = () => {
    count += 1;
    if (count > MAXIMUM_PIECES) throw view.broken(`has more than ${MAXIMUM_PIECES} pieces of data`);
  };
  for (let left = number(version > 1 ? 4 : 2); left > 0 && at < box.end; left--) {
    takeNote();
    const id = number(version > 1 ? 4 : 2);
    const withinMeta = version > 0 && (number(2) & 0xf) === 1;
    at += 2; // data reference
    const base = number(baseBytes) + (withinMeta ? (inMeta?.start ?? 0) : 0);
    const pieces: Box[] = [];
    for (let extents = number(2); extents > 0 && at < box.end; extents--) {
      takeNote();
      at += indexBytes;
      const start = base + number(offsetBytes);
      const length = number(lengthBytes);
      view.require(start + length);
      // A length of 0 stands for everything.
      pieces.push({ type: 'data', start, end: length === 0 ? view.length : start + length });
    }
    locations.set(id, pieces);
  }
  return locations;
}
