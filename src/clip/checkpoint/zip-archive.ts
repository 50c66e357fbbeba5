import { type ByteRange, CheckpointError, type CheckpointFile, quote } from './checkpoint.ts';

// Record layouts: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7 to 4.5.3. All numbers are little-endian.
const LOCAL_HEADER = { signature: 0x04034b50, byteLength: 30 };
const DIRECTORY_ENTRY = { signature: 0x02014b50, byteLength: 46 };
const DIRECTORY_END = { signature: 0x06054b50, byteLength: 22 };
const ZIP64_END = { signature: 0x06064b50, byteLength: 56 };
const ZIP64_LOCATOR = { signature: 0x07064b50, byteLength: 20 };
const ZIP64_EXTRA_FIELD = 0x0001;
const IN_ZIP64_FIELD = 0xffffffff;
const MAX_COMMENT_BYTES = 0xffff;
const ENCRYPTED_FLAG = 0x0001;
const STORED = 0;

/** Room for 200,000 entries of about 70 bytes; a training checkpoint has a few thousand. */
const MAX_DIRECTORY_BYTES = 16 * 1024 ** 2;

interface ZipEntry {
  readonly localHeaderOffset: number;
  readonly byteLength: number;
  readonly encrypted: boolean;
  readonly compressionMethod: number;
}

/** The directory of a zip archive whose entries are stored uncompressed, as PyTorch writes them. */
export class ZipArchive {
  readonly #file: CheckpointFile;
  readonly #entries: ReadonlyMap<string, ZipEntry>;

  /** @throws CheckpointError if the directory is missing, damaged or too large */
  constructor(file: CheckpointFile) {
    this.#file = file;
    this.#entries = readEntries(file);
  }

  get names(): Iterable<string> {
    return this.#entries.keys();
  }

  /**
   * The place of an entry's content in the file.
   * @returns undefined if there is no entry of that name
   * @throws CheckpointError if the content is compressed, encrypted or outside the file
   */
  find(name: string): ByteRange | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    if (entry.encrypted || entry.compressionMethod !== STORED) {
      const how = entry.encrypted ? 'encrypted' : 'compressed';
      throw new CheckpointError(
        `its zip entry ${quote(name)} is ${how}; PyTorch stores entries uncompressed. ` +
          'Unpack the archive and pack it again with "zip -0", or save it again with PyTorch',
      );
    }
    if (entry.localHeaderOffset + LOCAL_HEADER.byteLength > this.#file.byteLength) throw cutShort(name);
    const header = view(
      this.#file.readRange({ byteOffset: entry.localHeaderOffset, byteLength: LOCAL_HEADER.byteLength }),
    );
    if (header.getUint32(0, true) !== LOCAL_HEADER.signature) {
      throw new CheckpointError(
        `its zip directory has a wrong position for the entry ${quote(name)}; the file is damaged`,
      );
    }
    // Only the local header has the lengths of its name and padding. The entry's size may be missing in it.
    const prefixBytes = LOCAL_HEADER.byteLength + header.getUint16(26, true) + header.getUint16(28, true);
    const byteOffset = entry.localHeaderOffset + prefixBytes;
    if (byteOffset + entry.byteLength > this.#file.byteLength) throw cutShort(name);
    return { byteOffset, byteLength: entry.byteLength };
  }
}

function cutShort(name: string): CheckpointError {
  return new CheckpointError(
    `its zip entry ${quote(name)} reaches beyond the end of the file, which is cut short`,
  );
}

function damaged(what: string): CheckpointError {
  return new CheckpointError(`its zip directory is damaged: ${what}`);
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A 64-bit number that must be a position or a count in a file of this size. */
function bounded(value: bigint, limit: number, what: string): number {
  if (value > BigInt(limit)) throw damaged(`${what} ${value} is beyond ${limit}`);
  return Number(value);
}

function readEntries(file: CheckpointFile): ReadonlyMap<string, ZipEntry> {
  const directory = findDirectory(file);
  if (directory.byteLength > MAX_DIRECTORY_BYTES) {
    throw damaged(`it claims ${directory.byteLength} bytes; at most ${MAX_DIRECTORY_BYTES} are supported`);
  }
  const bytes = file.readRange(directory);
  const entries = new Map<string, ZipEntry>();
  let position = 0;
  while (position < bytes.byteLength) {
    const rest = view(bytes.subarray(position));
    if (rest.byteLength < DIRECTORY_ENTRY.byteLength) throw damaged('its last entry is incomplete');
    if (rest.getUint32(0, true) !== DIRECTORY_ENTRY.signature)
      throw damaged(`no entry at its byte ${position}`);
    const nameLength = rest.getUint16(28, true);
    const extraLength = rest.getUint16(30, true);
    const extraStart = DIRECTORY_ENTRY.byteLength + nameLength;
    const entryLength = extraStart + extraLength + rest.getUint16(32, true);
    if (entryLength > rest.byteLength) throw damaged('its last entry is incomplete');
    const nameStart = position + DIRECTORY_ENTRY.byteLength;
    const name = new TextDecoder().decode(bytes.subarray(nameStart, nameStart + nameLength));
    if (entries.has(name)) throw damaged(`it names ${quote(name)} twice`);
    const extra = view(bytes.subarray(position + extraStart, position + extraStart + extraLength));
    entries.set(name, readEntry(rest, extra, file.byteLength));
    position += entryLength;
  }
  if (entries.size !== directory.entryCount) {
    throw damaged(`it holds ${entries.size} entries instead of ${directory.entryCount}`);
  }
  return entries;
}

function readEntry(entry: DataView, extra: DataView, fileBytes: number): ZipEntry {
  const large = zip64Values(extra);
  // The 64-bit field has only the numbers that did not fit, in this order (4.5.3).
  const wide = (offset: number, what: string): number => {
    const value = entry.getUint32(offset, true);
    return value === IN_ZIP64_FIELD ? bounded(large.shift() ?? BigInt(value), fileBytes, what) : value;
  };
  const byteLength = wide(24, 'the size');
  const compressedByteLength = wide(20, 'the size');
  const localHeaderOffset = wide(42, 'the position');
  const compressionMethod = entry.getUint16(10, true);
  if (compressionMethod === STORED && compressedByteLength !== byteLength) {
    throw damaged(`an uncompressed entry has two sizes, ${compressedByteLength} and ${byteLength} bytes`);
  }
  const encrypted = (entry.getUint16(8, true) & ENCRYPTED_FLAG) !== 0;
  return { localHeaderOffset, byteLength, encrypted, compressionMethod };
}

function zip64Values(extra: DataView): bigint[] {
  const values: bigint[] = [];
  let position = 0;
  while (position + 4 <= extra.byteLength) {
    const end = position + 4 + extra.getUint16(position + 2, true);
    if (extra.getUint16(position, true) === ZIP64_EXTRA_FIELD) {
      const last = Math.min(end, extra.byteLength) - 8;
      for (let at = position + 4; at <= last; at += 8) values.push(extra.getBigUint64(at, true));
      return values;
    }
    position = end;
  }
  return values;
}

function findDirectory(file: CheckpointFile): ByteRange & { readonly entryCount: number } {
  const tailBytes = Math.min(
    file.byteLength,
    ZIP64_LOCATOR.byteLength + DIRECTORY_END.byteLength + MAX_COMMENT_BYTES,
  );
  const tailStart = file.byteLength - tailBytes;
  const tail = view(file.readRange({ byteOffset: tailStart, byteLength: tailBytes }));
  for (let at = tailBytes - DIRECTORY_END.byteLength; at >= 0; at--) {
    if (tail.getUint32(at, true) !== DIRECTORY_END.signature) continue;
    // A comment may contain the signature by chance. The right record's comment ends with the file.
    if (at + DIRECTORY_END.byteLength + tail.getUint16(at + 20, true) !== tailBytes) continue;
    const locatorAt = at - ZIP64_LOCATOR.byteLength;
    const zip64 = locatorAt >= 0 && tail.getUint32(locatorAt, true) === ZIP64_LOCATOR.signature;
    const directory = zip64
      ? readZip64End(file, tail.getBigUint64(locatorAt + 8, true))
      : {
          entryCount: tail.getUint16(at + 10, true),
          byteLength: tail.getUint32(at + 12, true),
          byteOffset: tail.getUint32(at + 16, true),
        };
    if (directory.byteOffset + directory.byteLength > tailStart + at) {
      throw damaged('it reaches beyond the end of the file');
    }
    return directory;
  }
  throw new CheckpointError(
    `it begins as a zip archive but has no zip directory at its end: the file of ${file.byteLength} bytes is ` +
      'cut short, as after an interrupted download',
  );
}

function readZip64End(file: CheckpointFile, offset: bigint): ByteRange & { readonly entryCount: number } {
  const byteOffset = bounded(offset, file.byteLength - ZIP64_END.byteLength, 'its position');
  const record = view(file.readRange({ byteOffset, byteLength: ZIP64_END.byteLength }));
  if (record.getUint32(0, true) !== ZIP64_END.signature) throw damaged('its 64-bit record is missing');
  return {
    entryCount: bounded(record.getBigUint64(32, true), file.byteLength, 'the number of entries'),
    byteLength: bounded(record.getBigUint64(40, true), file.byteLength, 'its length'),
    byteOffset: bounded(record.getBigUint64(48, true), file.byteLength, 'its position'),
  };
}
