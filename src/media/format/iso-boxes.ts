import type { ByteView } from './byte-view.ts';

/** A box of an ISO base media file; its contents lie from `start` to `end`. */
export interface Box {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

const HEADER_BYTES = 8;
const LONG_HEADER_BYTES = 16;
/** In one place; a still picture has a dozen. */
const MAXIMUM_BOXES = 10_000;
/** Tables of items: a picture of a thousand tiles has some 20 KB of them. */
const MAXIMUM_TABLE_BYTES = 1024 ** 2;

/**
 * The boxes that lie one behind the other between two offsets.
 * @throws ServiceError image_broken where the file ends within one
 */
export function* readBoxes(view: ByteView, from: number, to: number): Generator<Box> {
  let count = 0;
  for (let at = from; at + HEADER_BYTES <= to; ) {
    count += 1;
    if (count > MAXIMUM_BOXES) throw view.broken(`has more than ${MAXIMUM_BOXES} boxes in one place`);
    const shortSize = view.uint32(at);
    // 1: the size follows in 64 bits; 0: up to the end.
    const size = shortSize === 1 ? view.uint64(at + HEADER_BYTES) : shortSize || to - at;
    const headerBytes = shortSize === 1 ? LONG_HEADER_BYTES : HEADER_BYTES;
    if (size < headerBytes) throw view.broken('has a box smaller than its header');
    view.require(at + size);
    yield { type: view.fourCc(at + 4), start: at + headerBytes, end: at + size };
    at += size;
  }
}

export function findBox(boxes: Iterable<Box>, type: string): Box | undefined {
  for (const box of boxes) if (box.type === type) return box;
  return undefined;
}

/** Finds a box whose contents are gone through number by number. */
export function findTable(view: ByteView, boxes: Iterable<Box>, type: string): Box {
  const box = findBox(boxes, type);
  if (!box) throw view.broken(`lacks its ${type} box`);
  if (box.end - box.start > MAXIMUM_TABLE_BYTES) throw view.broken(`has an oversized ${type} box`);
  return box;
}
