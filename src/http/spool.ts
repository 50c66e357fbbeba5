import { createHash } from 'node:crypto';
import { lstat, mkdtemp, open, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, ServiceError } from '../errors.ts';

/** A file of one request. */
export interface StoredFile {
  readonly path: string;
  readonly bytes: number;
}

/** A file that is being written. */
export interface SpoolWriter {
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
   * @param check called before each chunk is written, with the file's length after it; a fault ends the writing
   * @throws ServiceError storage_full; what `content` and `check` throw
   */
  write(
    name: string,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    check?: (bytes: number) => void,
  ): Promise<StoredFile>;
  /** @throws ServiceError storage_full if the file is gone */
  read(file: StoredFile): Promise<Uint8Array>;
  /** The first bytes, or all if the file has fewer. @throws ServiceError storage_full */
  readHead(file: StoredFile, bytes: number): Promise<Uint8Array>;
  remove(file: StoredFile): Promise<void>;
}

/** Space in the temporary folder, which requests must reserve before they write. */
interface SpoolSpace {
  /** @throws ServiceError overloaded, storage_full */
  take(bytes: number): Promise<void> | void;
  give(bytes: number): void;
}

const unlimited: SpoolSpace = { take: () => undefined, give: () => undefined };

interface Spools {
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
        async write(name, content, check) {
          const writer = await create(name);
          try {
            for await (const chunk of content) {
              check?.(writer.bytes + chunk.byteLength);
              await writer.append(chunk);
            }
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
  'The disk of the temporary folder is full: there is no room for the video. Free some space, or set TMPDIR to a folder with more space.';

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
