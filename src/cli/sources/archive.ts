import { mediumOf } from '../../contract/media-endings.ts';
import { SNIFFED_BYTES } from '../../media/sniff.ts';
import type { StoredContent } from '../files/find-files.ts';

// Own code, because the libraries lose photos: modern-tar drops the last whole members before a fault, node-tar passes
// a cut member off as a whole one, and neither it nor tar-stream, which brings native code of another runtime, notices
// an archive that is cut between two members. The tests compare with modern-tar.

/** A file in a tar archive. */
export interface ArchiveMember {
  /** Its place among all entries of the archive, from 0. */
  readonly place: number;
  /** The archive's name, a slash, and the name in the archive. No two members of an archive have the same name. */
  readonly name: string;
  /** Undefined for a link, and for other entries that are named like pictures without being plain files. */
  readonly content: StoredContent | undefined;
}

/** An archive that is damaged, incomplete or something else. The message is a sentence. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}

interface ArchiveOptions {
  /** Longer members come with their beginning only. */
  readonly maxBytes: number;
  /** Whether a member is read. The others are passed over. */
  readonly isWanted: (place: number) => boolean;
}

const BLOCK_BYTES = 512;
/** Names and attributes. Longer ones are refused, because they are kept in memory. */
const MAX_EXTENSION_BYTES = 1024 * 1024;

/** Values of the field `typeflag`. */
const regular = new Set(['0', '\0', '7']);
const links = new Set(['1', '2']);
const DIRECTORY = '5';
const PAX = 'x';
const GLOBAL_PAX = 'g';
const GNU_NAME = 'L';
const GNU_LINK_NAME = 'K';

/** What an extension says about the next entry. */
interface Extension {
  readonly name?: string;
  readonly size?: number;
}

/**
 * Reads an archive (ustar, pax, GNU) once, from its beginning. One member at a time is in memory.
 * @param name ends with `.tar`, or with `.tar.gz` or `.tgz` if it is compressed
 * @throws ArchiveError after the members before the fault; what reading `chunks` throws
 */
export async function* readArchive(
  name: string,
  chunks: AsyncIterable<Uint8Array>,
  { maxBytes, isWanted }: ArchiveOptions,
): AsyncGenerator<ArchiveMember> {
  const bytes = createCursor(/gz$/i.test(name) ? decompressed(chunks) : chunks);
  const names = new Set<string>();
  let global: Extension = {};
  let extension: Extension = {};
  let place = -1;
  let latest: string | undefined;
  const where = () => (latest === undefined ? '' : ` after ${latest}`);
  try {
    for (;;) {
      const header = await bytes.take(BLOCK_BYTES);
      if (header.length === 0) {
        throw new ArchiveError(`The tar file ends${where()} without its end mark: it is not complete.`);
      }
      if (header.length < BLOCK_BYTES) throw new ArchiveError(`The tar file is cut off${where()}.`);
      if (isZero(header)) break;
      const { type, ...entry } = readHeader(header, where());
      const payload = (limit: number) => readPayload(bytes, { size: entry.size, limit, where });
      if (type === PAX || type === GLOBAL_PAX || type === GNU_NAME || type === GNU_LINK_NAME) {
        if (entry.size > MAX_EXTENSION_BYTES) {
          throw new ArchiveError(`The tar file is damaged${where()}: a name has ${entry.size} bytes.`);
        }
        const text = await payload(MAX_EXTENSION_BYTES);
        if (type === PAX) extension = { ...extension, ...readPax(text, where()) };
        if (type === GLOBAL_PAX) global = { ...global, ...readPax(text, where()) };
        if (type === GNU_NAME) extension = { ...extension, name: textOf(text) };
        continue;
      }
      place += 1;
      const { name: itsName, size } = { ...entry, ...global, ...extension };
      extension = {};
      const stored = links.has(type) || type === DIRECTORY ? 0 : size;
      const isFile = regular.has(type) && !itsName.endsWith('/');
      const isPlainlyOther = type === DIRECTORY || mediumOf(itsName) === undefined;
      if ((!isFile && isPlainlyOther) || isHidden(itsName)) {
        await readPayload(bytes, { size: stored, limit: 0, where });
        continue;
      }
      const member = uniqueName(`${name}/${withoutRoot(itsName)}`, names);
      const isRead = isWanted(place);
      const wanted = !isRead ? 0 : size <= maxBytes ? size : SNIFFED_BYTES;
      const content = await readPayload(bytes, { size: stored, limit: wanted, where });
      latest = member;
      if (!isRead) continue;
      yield { place, name: member, content: isFile ? { size, read: async () => content } : undefined };
    }
    // What follows the end mark is padding. Another archive behind it would be lost in silence.
    for (;;) {
      const rest = await bytes.take(BLOCK_BYTES);
      if (rest.length === 0) return;
      if (!isZero(rest)) throw new ArchiveError(`The tar file has more${where()}, behind its end mark.`);
    }
  } finally {
    await bytes.close();
  }
}

interface PayloadOptions {
  readonly size: number;
  /** The most bytes that are kept. */
  readonly limit: number;
  readonly where: () => string;
}

/** Reads a payload with its padding. @returns its beginning */
async function readPayload(bytes: Cursor, { size, limit, where }: PayloadOptions): Promise<Uint8Array> {
  const kept = await bytes.take(Math.min(size, limit));
  const padding = (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
  const rest = size - kept.length + padding;
  if ((await bytes.skip(rest)) < rest) throw new ArchiveError(`The tar file is cut off${where()}.`);
  return kept;
}

interface Cursor {
  /** @returns the next bytes; fewer at the end */
  take(bytes: number): Promise<Uint8Array>;
  /** @returns how many were passed over; fewer at the end */
  skip(bytes: number): Promise<number>;
  close(): Promise<void>;
}

function createCursor(chunks: AsyncIterable<Uint8Array>): Cursor {
  const iterator = chunks[Symbol.asyncIterator]();
  let chunk: Uint8Array = new Uint8Array();
  let at = 0;
  /** @returns up to `bytes` bytes of the current chunk; none at the end */
  const next = async (bytes: number): Promise<Uint8Array> => {
    while (at === chunk.length) {
      const { done, value } = await iterator.next();
      if (done) return new Uint8Array();
      chunk = value;
      at = 0;
    }
    const piece = chunk.subarray(at, at + bytes);
    at += piece.length;
    return piece;
  };
  return {
    async take(bytes) {
      const first = bytes > 0 ? await next(bytes) : new Uint8Array();
      // A copy, because a part of a chunk would keep the whole in memory.
      if (first.length === bytes) return bytes === BLOCK_BYTES ? first : Uint8Array.from(first);
      // The size is what the archive declares, so memory is taken for what is there.
      const pieces = [first];
      let length = first.length;
      for (let piece = first; length < bytes && piece.length > 0; length += piece.length) {
        piece = await next(bytes - length);
        pieces.push(piece);
      }
      return Buffer.concat(pieces);
    },
    async skip(bytes) {
      let skipped = 0;
      while (skipped < bytes) {
        const piece = await next(bytes - skipped);
        if (piece.length === 0) break;
        skipped += piece.length;
      }
      return skipped;
    },
    async close() {
      await iterator.return?.();
    },
  };
}

/** @throws ArchiveError if the content is not gzip, or is cut off; what reading `chunks` throws */
async function* decompressed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  let sourceFault: { readonly thrown: unknown } | undefined;
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(Uint8Array.from(value));
      } catch (thrown) {
        sourceFault = { thrown };
        controller.error(thrown);
      }
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  try {
    yield* source.pipeThrough(new DecompressionStream('gzip'));
  } catch (fault) {
    if (sourceFault) throw sourceFault.thrown;
    const said = fault instanceof Error ? fault.message : String(fault);
    throw new ArchiveError(`The file cannot be decompressed as gzip to its end: ${said}`, { cause: fault });
  }
}

function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

const latin1 = new TextDecoder('latin1');
const utf8 = new TextDecoder();

/** The bytes up to the first zero. */
function textOf(field: Uint8Array): string {
  const end = field.indexOf(0);
  return utf8.decode(end === -1 ? field : field.subarray(0, end));
}

/** https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06 */
function readHeader(
  block: Uint8Array,
  where: string,
): { readonly name: string; readonly size: number; readonly type: string } {
  const stored = octalOf(block.subarray(148, 156));
  let sum = 0;
  for (let at = 0; at < BLOCK_BYTES; at++) sum += at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
  const size = sizeOf(block.subarray(124, 136));
  if (stored !== sum || size === undefined) {
    throw new ArchiveError(
      where === '' ? 'This is not a tar file.' : `The tar file is damaged${where}: no valid header follows.`,
    );
  }
  const isPosix = latin1.decode(block.subarray(257, 263)) === 'ustar\0';
  const prefix = isPosix ? textOf(block.subarray(345, 500)) : '';
  const name = textOf(block.subarray(0, 100));
  const type = String.fromCharCode(block[156] ?? 0);
  return { name: prefix === '' ? name : `${prefix}/${name}`, size, type };
}

function octalOf(field: Uint8Array): number | undefined {
  const text = latin1.decode(field).replaceAll('\0', ' ').trim();
  if (text === '') return 0;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** In octal digits, or, by GNU, as a big-endian number after a set bit. */
function sizeOf(field: Uint8Array): number | undefined {
  if (field[0] !== 0x80) return octalOf(field);
  const size = Number(Buffer.from(field.subarray(4, 12)).readBigUInt64BE());
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Records are `LENGTH KEY=VALUE\n`; the length counts the whole record, in bytes. */
function readPax(payload: Uint8Array, where: string): Extension {
  let extension: Extension = {};
  for (let start = 0; start < payload.length; ) {
    const [, digits = '', key, value = ''] =
      /^(\d{1,7}) ([^=]+)=([\s\S]*)\n$/.exec(recordAt(payload, start)) ?? [];
    const size = Number(value);
    if (key === undefined || (key === 'size' && !(Number.isSafeInteger(size) && size >= 0))) {
      throw new ArchiveError(`The tar file is damaged${where}: its attributes cannot be read.`);
    }
    if (key === 'path') extension = { ...extension, name: value };
    if (key === 'size') extension = { ...extension, size };
    start += Number(digits);
  }
  return extension;
}

function recordAt(payload: Uint8Array, start: number): string {
  const length = Number.parseInt(latin1.decode(payload.subarray(start, start + 8)), 10);
  return length > 0 ? utf8.decode(payload.subarray(start, start + length)) : '';
}

function withoutRoot(name: string): string {
  return name.replace(/^(?:\.?\/)+/, '');
}

/** As in folders: a part of the path begins with a dot, such as the files that macOS adds. */
function isHidden(name: string): boolean {
  return withoutRoot(name)
    .split('/')
    .some((part) => part.startsWith('.') && part !== '.' && part !== '..');
}

/** An archive may have several members of one name. Each has an answer: the second one is called `name#2`. */
function uniqueName(name: string, names: Set<string>): string {
  let unique = name;
  for (let number = 2; names.has(unique); number++) unique = `${name}#${number}`;
  names.add(unique);
  return unique;
}
