import { createHash } from 'node:crypto';
import { lstat, mkdtemp, open, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, ServiceError } from '../errors.ts';
import { giveBack } from '../garbage.ts';
import { type Lease, overloaded } from './resources.ts';

/** A file of one request. */
export interface StoredFile {
  readonly path: string;
  readonly bytes: number;
}

/** A file that is being written. */
interface SpoolWriter {
  /** Written until now. */
  readonly bytes: number;
  /** @throws ServiceError storage_full, overloaded */
  append(chunk: Uint8Array): Promise<void>;
  /** Closes the file; may be called again. */
  end(): Promise<StoredFile>;
}

/** The temporary folder of one request. Disposing it removes the folder and its files. */
export interface Spool extends AsyncDisposable {
  /** Begins a file. @throws ServiceError storage_full */
  create(name?: string): Promise<SpoolWriter>;
  /**
   * Writes a new file. It asks for the next chunk when the last one is written.
   * @throws ServiceError storage_full; whatever `content` throws
   */
  write(name: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<StoredFile>;
  /** @throws ServiceError storage_full if the file is gone */
  read(file: StoredFile): Promise<Uint8Array>;
  /** The first bytes, or all if the file has fewer. @throws ServiceError storage_full */
  readHead(file: StoredFile, bytes: number): Promise<Uint8Array>;
  remove(file: StoredFile): Promise<void>;
}

/** Space in the temporary folder, which requests must reserve before they write. */
export interface SpoolSpace {
  /** @throws ServiceError overloaded, storage_full */
  take(bytes: number): Promise<void> | void;
  give(bytes: number): void;
}

const unlimited: SpoolSpace = { take: () => undefined, give: () => undefined };

export interface Spools {
  /** @throws ServiceError storage_full */
  open(space?: SpoolSpace): Promise<Spool>;
  /** The space in the temporary folder as the system reports it; undefined if it reports nothing. */
  measure(): Promise<FolderSpace | undefined>;
  /**
   * Removes the folders of processes that were killed.
   * @returns how many there were
   */
  removeStale(): Promise<number>;
}

/** In bytes. */
export interface FolderSpace {
  readonly free: number;
  readonly total: number;
  /** Whether the folder is in memory (tmpfs), so that its files count against the memory limit. */
  readonly isMemory: boolean;
}

/** An open file, for writing. */
export interface SpoolFile {
  /** Writes some or all of the bytes. @returns how many */
  write(bytes: Uint8Array): Promise<{ readonly bytesWritten: number }>;
  close(): Promise<void>;
}

export interface SpoolOptions {
  /** Default: the system's temporary folder (TMPDIR). */
  readonly directory?: string;
  readonly createFile?: (path: string) => Promise<SpoolFile>;
}

const PREFIX = 'classify-images-upload';
/** The type that `statfs` reports for a tmpfs. */
const TMPFS = 0x01021994;
/** Containers may share the folder, and process ids of one host mean nothing on another. */
const HOST_ID = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
/** Distinguishes this process from an earlier one with the same id: in a container, all may have id 1. */
const BORN = Math.floor(performance.timeOrigin).toString(36);
/** Earlier versions stored only videos, under the second name. */
const folderName = new RegExp(`^(?:${PREFIX}|classify-images-video)-([0-9a-f]{8})-(\\d+)-([0-9a-z]+)-[^-]+$`);

/** Longer than any request: folders of another host that are older were left by a process that is gone. */
const FOREIGN_FOLDER_MS = 24 * 3600 * 1000;

export function createSpools({
  directory = tmpdir(),
  createFile = (path) => open(path, 'wx', 0o600),
}: SpoolOptions = {}): Spools {
  return {
    async open(space = unlimited) {
      const folder = await storing(() =>
        mkdtemp(join(directory, `${PREFIX}-${HOST_ID}-${process.pid}-${BORN}-`)),
      );
      let files = 0;
      let stored = 0;
      const give = (bytes: number) => {
        stored -= bytes;
        space.give(bytes);
      };
      const create = async (name = String(files++)): Promise<SpoolWriter> => {
        const path = join(folder, name);
        const file = await storing(() => createFile(path));
        let bytes = 0;
        let closed: Promise<void> | undefined;
        return {
          get bytes() {
            return bytes;
          },
          async append(chunk) {
            await space.take(chunk.byteLength);
            stored += chunk.byteLength;
            bytes += chunk.byteLength;
            await storing(() => writeAll(file, chunk));
          },
          async end() {
            closed ??= storing(() => file.close());
            await closed;
            return { path, bytes };
          },
        };
      };
      return {
        create,
        async write(name, content) {
          const writer = await create(name);
          try {
            for await (const chunk of content) await writer.append(chunk);
          } catch (fault) {
            await writer.end();
            throw fault;
          }
          return await writer.end();
        },
        read: ({ path }) => storing(() => readFile(path)),
        readHead: ({ path }, bytes) =>
          storing(async () => new Uint8Array(await Bun.file(path).slice(0, bytes).arrayBuffer())),
        async remove({ path, bytes }) {
          await remove(path);
          give(bytes);
        },
        async [Symbol.asyncDispose]() {
          await remove(folder);
          give(stored);
        },
      };
    },
    async measure() {
      try {
        const { type, bsize, bavail, blocks } = await statfs(directory);
        return { free: bavail * bsize, total: blocks * bsize, isMemory: type === TMPFS };
      } catch {
        return undefined;
      }
    },
    async removeStale() {
      const names = await readdir(directory).catch(() => []);
      let removed = 0;
      for (const name of names) {
        const path = join(directory, name);
        if (!(await isStale(name, path))) continue;
        await remove(path);
        removed += 1;
      }
      return removed;
    },
  };
}

/** How much of the temporary folder uploads may fill, in bytes. */
interface SpaceLimits {
  /** If the folder is on a disk. */
  readonly onDisk: number;
  /** If the folder is in memory. */
  readonly inMemory: number;
}

/** How much uploads may fill now. A reserve is left to other programs. */
interface SpaceGauge {
  readonly capacity: number;
  /** Measures again, at most once a second. */
  refresh(): Promise<void>;
}

/** Left to other programs: this much of the file system, or a twentieth of it if that is less. */
const RESERVE_BYTES = 256 * 1024 ** 2;
const MEASURED_MS = 1000;

/** @param used bytes of uploads in the folder now */
export function createSpaceGauge(
  spools: Pick<Spools, 'measure'>,
  { onDisk, inMemory }: SpaceLimits,
  used: () => number,
): SpaceGauge {
  let capacity = inMemory;
  let measuredAt = Number.NEGATIVE_INFINITY;
  let measuring: Promise<void> | undefined;
  const measure = async () => {
    const space = await spools.measure();
    if (!space) {
      // If there is too little space, writing fails with storage_full.
      capacity = onDisk;
      return;
    }
    const available = used() + space.free - Math.min(RESERVE_BYTES, space.total / 20);
    capacity = Math.max(0, Math.min(space.isMemory ? inMemory : onDisk, available));
  };
  return {
    get capacity() {
      return capacity;
    },
    refresh() {
      if (performance.now() - measuredAt >= MEASURED_MS) {
        measuredAt = performance.now();
        measuring = measure();
      }
      return measuring ?? Promise.resolve();
    },
  };
}

/** One write may accept only some of the bytes. */
async function writeAll(file: SpoolFile, chunk: Uint8Array): Promise<void> {
  for (let rest = chunk; rest.byteLength > 0; ) {
    const { bytesWritten } = await file.write(rest);
    rest = rest.subarray(bytesWritten);
  }
}

/** No request fails if this fails: the next start tries again. */
async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
}

async function isStale(name: string, path: string): Promise<boolean> {
  const [, itsHost, pid, itsBirth] = folderName.exec(name) ?? [];
  if (itsHost === undefined) return false;
  const found = await lstat(path).catch(() => undefined);
  // Every user may create folders in the system's temporary folder.
  if (!found?.isDirectory() || found.uid !== (process.getuid?.() ?? found.uid)) return false;
  if (itsHost !== HOST_ID) return Date.now() - found.mtimeMs > FOREIGN_FOLDER_MS;
  return Number(pid) === process.pid ? itsBirth !== BORN : !isRunning(Number(pid));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

const fullErrnos = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
/** The folder is missing, read-only or another user's: not a bug, the operator must correct it. */
const refusalErrnos = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS']);

const STORAGE_FULL =
  'The disk of the temporary folder is full: there is no room for the video. Free some space, or set TMPDIR to a folder with more of it.';

/** The error for a request that needs more space than the temporary folder has. */
export function storageFull(): ServiceError {
  return new ServiceError('storage_full', STORAGE_FULL);
}

async function storing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const errno = errnoOf(error) ?? '';
    if (fullErrnos.has(errno)) {
      throw new ServiceError('storage_full', STORAGE_FULL, {}, { cause: error });
    }
    if (refusalErrnos.has(errno)) {
      throw new ServiceError(
        'storage_full',
        `The temporary folder cannot be written (${errno}), and uploads are stored there while they are read. Set TMPDIR to a folder that can be written.`,
        {},
        { cause: error },
      );
    }
    throw error;
  }
}

/** A complete part. Its bytes are in memory or in the temporary folder. */
export interface IncomingPart extends AsyncDisposable {
  readonly byteLength: number;
  /** The first bytes, enough to recognise the format. Call it before `read`. @throws ServiceError storage_full */
  head(): Promise<Uint8Array> | Uint8Array;
  /** All bytes. Call it once; the caller owns them. @throws ServiceError storage_full */
  read(): Promise<Uint8Array> | Uint8Array;
  /** Gives back the memory or the space, after `read` or if the bytes are not needed. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where a part is stored until it is complete. */
export interface PartRoom {
  readonly lease: Lease;
  /** The request's temporary folder, created at the first use. */
  readonly spool: () => Promise<Spool>;
  /** Called if the temporary folder cannot be used. */
  readonly onStorageFault: (fault: ServiceError) => void;
}

/** Memory for the parts of all requests, in bytes. */
export interface PartMemory {
  readonly used: number;
  readonly capacity: number;
}

/** More than any format needs to be recognised. */
const HEAD_BYTES = 4096;
/** A part that has been arriving for longer counts as slow. */
const SLOW_MS = 2000;
/** If more than this share of the memory is used, slow parts move to the temporary folder. */
const FAST_SHARE = 0.5;

/**
 * Receives a whole part. It stays in memory if there is room. Otherwise, or if it is slow while memory fills up, it goes
 * to the temporary folder.
 * @returns undefined as soon as there are more than `maxBytes`: the rest of `content` is unread
 * @throws ServiceError overloaded; whatever `content` throws
 */
export async function receivePart(
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
  memory: PartMemory,
  room: PartRoom,
): Promise<IncomingPart | undefined> {
  const { lease } = room;
  const beganAt = performance.now();
  const gathered = createGathered();
  const drop = () => {
    lease.give('partBytes', gathered.byteLength);
    gathered.clear();
  };
  const isSlow = () => performance.now() - beganAt >= SLOW_MS && memory.used > FAST_SHARE * memory.capacity;
  let mayBeStored = true;
  try {
    for (;;) {
      const { done, value: chunk } = await content.next();
      if (done) return inMemory(gathered, lease);
      if (gathered.byteLength + chunk.byteLength > maxBytes) {
        drop();
        return undefined;
      }
      const fits = !(mayBeStored && isSlow()) && lease.tryTake('partBytes', chunk.byteLength);
      if (!fits) {
        const stored = mayBeStored ? await createFile(room) : undefined;
        if (stored) {
          const first = gathered.byteLength === 0 ? [] : [gathered.take()];
          lease.give('partBytes', first[0]?.byteLength ?? 0);
          return await inFile(stored, [...first, chunk], content, maxBytes);
        }
        mayBeStored = false;
        lease.take('partBytes', chunk.byteLength);
      }
      gathered.push(chunk);
    }
  } catch (fault) {
    drop();
    if (!(fault instanceof ServiceError) || fault.code !== 'storage_full') throw fault;
    room.onStorageFault(fault);
    throw overloaded('There is no room for another upload');
  }
}

function inMemory(gathered: Gathered, lease: Lease): IncomingPart {
  const { byteLength } = gathered;
  let isHeld = true;
  return {
    byteLength,
    head: () => gathered.head(HEAD_BYTES),
    read: () => gathered.take(),
    async [Symbol.asyncDispose]() {
      if (!isHeld) return;
      isHeld = false;
      lease.give('partBytes', byteLength);
    },
  };
}

interface NewFile {
  readonly spool: Spool;
  readonly writer: SpoolWriter;
}

/** @returns undefined if the temporary folder cannot be used */
async function createFile({ spool: openSpool, onStorageFault }: PartRoom): Promise<NewFile | undefined> {
  try {
    const spool = await openSpool();
    return { spool, writer: await spool.create() };
  } catch (fault) {
    if (!(fault instanceof ServiceError) || fault.code !== 'storage_full') throw fault;
    onStorageFault(fault);
    return undefined;
  }
}

async function inFile(
  { spool, writer }: NewFile,
  first: readonly Uint8Array[],
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
): Promise<IncomingPart | undefined> {
  const append = async (chunk: Uint8Array) => {
    await writer.append(chunk);
    giveBack(chunk);
  };
  let file: StoredFile;
  try {
    for (const chunk of first) await append(chunk);
    for (;;) {
      const { done, value: chunk } = await content.next();
      if (done) break;
      if (writer.bytes + chunk.byteLength > maxBytes) {
        await spool.remove(await writer.end());
        return undefined;
      }
      await append(chunk);
    }
    file = await writer.end();
  } catch (fault) {
    await spool.remove(await writer.end());
    throw fault;
  }
  return {
    byteLength: file.bytes,
    head: () => spool.readHead(file, HEAD_BYTES),
    read: () => spool.read(file),
    [Symbol.asyncDispose]: () => spool.remove(file),
  };
}

/** The chunks of one part. */
interface Gathered {
  readonly byteLength: number;
  push(chunk: Uint8Array): void;
  /** A copy of the first bytes. */
  head(bytes: number): Uint8Array;
  /** All chunks, joined in a new buffer. */
  take(): Uint8Array;
  clear(): void;
}

/** The objects around a smaller chunk may need more memory than its bytes. */
const LARGE_CHUNK = 16 * 1024;

/**
 * Collects chunks in hardly more memory than their bytes. It copies a chunk that is a small part of its buffer, and
 * joins small chunks: a client that sends byte by byte would otherwise fill a hundred times its bytes. Each byte is
 * copied some ten times at most, as the pieces double. Chunks are used up: their memory is freed if they fill their
 * buffers, because no other chunk can be in those.
 */
export function createGathered(): Gathered {
  let chunks: Uint8Array[] = [];
  let byteLength = 0;
  const join = (pieces: readonly Uint8Array[]): Uint8Array => {
    const whole = new Uint8Array(pieces.reduce((sum, { byteLength: bytes }) => sum + bytes, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.byteLength;
      giveBack(piece);
    }
    return whole;
  };
  return {
    get byteLength() {
      return byteLength;
    },
    push(chunk) {
      if (chunk.byteLength === 0) return;
      byteLength += chunk.byteLength;
      chunks.push(2 * chunk.byteLength < chunk.buffer.byteLength ? chunk.slice() : chunk);
      for (;;) {
        const last = chunks.at(-1)?.byteLength ?? 0;
        const before = chunks.at(-2)?.byteLength;
        if (before === undefined || last < before || last + before > LARGE_CHUNK) return;
        chunks.push(join(chunks.splice(-2)));
      }
    },
    head(bytes) {
      const first: Uint8Array[] = [];
      let length = 0;
      for (const chunk of chunks) {
        if (length >= bytes) break;
        first.push(chunk.subarray(0, bytes - length));
        length += chunk.byteLength;
      }
      return Buffer.concat(first);
    },
    take() {
      const whole = join(chunks);
      chunks = [];
      byteLength = 0;
      return whole;
    },
    clear() {
      for (const chunk of chunks) giveBack(chunk);
      chunks = [];
      byteLength = 0;
    },
  };
}
