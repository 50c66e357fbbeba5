import type { ByteView } from './picture-header.ts';

/** Strips and tiles: a 100-megapixel picture in tiles of 16 × 16 has 400,000. */
const MAX_VALUES = 500_000;
/** The most that a classic directory can have; real ones have up to a hundred. */
const MAX_ENTRIES = 65_535;

/** Bytes of a value by its type. */
const bytesByType: ReadonlyMap<number, number> = new Map([
  [1, 1], // BYTE
  [2, 1], // ASCII
  [3, 2], // SHORT
  [4, 4], // LONG
  [5, 8], // RATIONAL
  [7, 1], // UNDEFINED
  [13, 4], // IFD
  [16, 8], // LONG8
  [18, 8], // IFD8
]);
const RATIONAL = 5;

interface Entry {
  readonly type: number;
  readonly count: number;
  readonly at: number;
}

/** Where a tag's bytes are in the file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

interface DirectoryLayout {
  readonly isBig?: boolean;
  readonly base?: number;
  readonly maxEntries?: number;
}

/** A tag's numbers. They are read on use. */
export interface TagValues {
  readonly count: number;
  at(index: number): number;
}

/**
 * A directory of a TIFF or of a camera's raw picture: values by their tag. A tag's values are checked when they are
 * asked for, so a damaged tag that is not needed does no harm.
 */
export class TiffDirectory {
  readonly #view: ByteView;
  readonly #entries: ReadonlyMap<number, Entry>;
  /** Offset of the next directory; 0: this is the last one. */
  readonly next: number;

  /**
   * @param offset of the directory
   * @param layout `isBig`: BigTIFF; `base`: where the offsets of values count from; `maxEntries`: of a sound file
   * @throws ServiceError image_broken
   */
  constructor(view: ByteView, offset: number, layout: DirectoryLayout = {}) {
    const { isBig = false, base = 0, maxEntries = MAX_ENTRIES } = layout;
    const entryCount = isBig ? view.uint64(offset) : view.uint16(offset);
    if (entryCount > maxEntries) throw view.broken(`has a directory of ${entryCount} tags`);
    const entryBytes = isBig ? 20 : 12;
    const first = offset + (isBig ? 8 : 2);
    const end = first + entryCount * entryBytes;
    view.require(end);
    const entries = new Map<number, Entry>();
    for (let entry = first; entry < end; entry += entryBytes) {
      const tag = view.uint16(entry);
      const type = view.uint16(entry + 2);
      const bytesEach = bytesByType.get(type);
      if (bytesEach === undefined || entries.has(tag)) continue;
      const count = isBig ? view.uint64(entry + 4) : view.uint32(entry + 4);
      const inline = entry + (isBig ? 12 : 8);
      const fits = count * bytesEach <= (isBig ? 8 : 4);
      const at = fits ? inline : base + (isBig ? view.uint64(inline) : view.uint32(inline));
      entries.set(tag, { type, count, at });
    }
    this.#view = view;
    this.#entries = entries;
    const nextBytes = isBig ? 8 : 4;
    const hasNext = end + nextBytes <= view.length;
    this.next = hasNext ? (isBig ? view.uint64(end) : view.uint32(end)) : 0;
  }

  has(tag: number): boolean {
    return this.#entries.has(tag);
  }

  /** The first of a tag's numbers. */
  number(tag: number): number | undefined {
    const values = this.values(tag);
    return values && values.count > 0 ? values.at(0) : undefined;
  }

  /** @throws ServiceError image_broken if they are too many, or lie outside the file */
  values(tag: number): TagValues | undefined {
    const entry = this.#entries.get(tag);
    if (!entry) return undefined;
    const { type, count, at } = entry;
    const view = this.#view;
    if (count > MAX_VALUES) throw view.broken(`has a tag ${tag} of ${count} values`);
    const bytesEach = bytesByType.get(type)!;
    view.require(at + count * bytesEach);
    return { count, at: (index) => readValue(view, type, at + index * bytesEach) };
  }

  /** The numbers of a tag with few of them. */
  list(tag: number, limit = 16): readonly number[] {
    const values = this.values(tag);
    return values
      ? Array.from({ length: Math.min(values.count, limit) }, (_, index) => values.at(index))
      : [];
  }

  /** Where the bytes of a tag are; undefined if there is no such tag, or if they lie outside the file. */
  range(tag: number): ByteRange | undefined {
    const entry = this.#entries.get(tag);
    if (!entry) return undefined;
    const end = entry.at + entry.count * bytesByType.get(entry.type)!;
    return end <= this.#view.length ? { start: entry.at, end } : undefined;
  }

  /** The beginning of a tag's text, without the zero byte behind it. */
  text(tag: number, limit = 64): string {
    const range = this.range(tag);
    if (!range) return '';
    return this.#view.ascii(range.start, Math.min(limit, range.end - range.start)).split('\0')[0]!;
  }
}

/** Where the first directory of a TIFF is, classic or big. */
export function firstDirectory(view: ByteView): number {
  return isBigTiff(view) ? view.uint64(8) : view.uint32(4);
}

export function isBigTiff(view: ByteView): boolean {
  return view.uint16(2) === 43;
}

function readValue(view: ByteView, type: number, at: number): number {
  if (type === RATIONAL) return view.uint32(at) / view.uint32(at + 4);
  const bytesEach = bytesByType.get(type);
  if (bytesEach === 1) return view.uint8(at);
  if (bytesEach === 2) return view.uint16(at);
  return bytesEach === 4 ? view.uint32(at) : view.uint64(at);
}
