import { createHash } from 'node:crypto';
import { lstat, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceError } from '../../errors.ts';

/** A file of one request. */
export interface StoredFile {
  readonly path: string;
  readonly bytes: number;
}

/** The temporary folder of one request; disposing of it removes it with all that it holds. */
export interface Spool extends AsyncDisposable {
  /**
   * Writes a new file, chunk by chunk: the next one is asked for when the last one is written.
   * @throws ServiceError storage_full; whatever `content` throws
   */
  write(name: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<StoredFile>;
  remove(file: StoredFile): Promise<void>;
}

export interface Spools {
  /** @throws ServiceError storage_full */
  open(): Promise<Spool>;
  /**
   * Removes the folders of processes that were killed.
   * @returns how many there were
   */
  removeStale(): Promise<number>;
}

/** An open file, as far as it is written to. */
export interface SpoolFile {
  /** Writes some of the bytes. @returns how many */
  write(bytes: Uint8Array): Promise<{ readonly bytesWritten: number }>;
  close(): Promise<void>;
}

export interface SpoolOptions {
  /** Default: the system's, which TMPDIR names. */
  readonly directory?: string;
  readonly createFile?: (path: string) => Promise<SpoolFile>;
}

const PREFIX = 'classify-images-video';
/** One machine's process ids mean nothing to another that shares the folder, as containers may. */
const host = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
/** Tells this process from an earlier one of the same id: in a container every one may be process 1. */
const born = Math.floor(performance.timeOrigin).toString(36);
const folderName = new RegExp(`^${PREFIX}-([0-9a-f]{8})-(\\d+)-([0-9a-z]+)-[^-]+$`);

/** Longer than any request lasts: what a vanished machine left in a shared folder is old by then. */
const FOREIGN_FOLDER_MS = 24 * 3600 * 1000;

export function createSpools({
  directory = tmpdir(),
  createFile = (path) => open(path, 'wx', 0o600),
}: SpoolOptions = {}): Spools {
  return {
    async open() {
      const folder = await storing(() =>
        mkdtemp(join(directory, `${PREFIX}-${host}-${process.pid}-${born}-`)),
      );
      return {
        async write(name, content) {
          const path = join(folder, name);
          const file = await storing(() => createFile(path));
          let bytes = 0;
          try {
            for await (const chunk of content) {
              await storing(() => writeAll(file, chunk));
              bytes += chunk.byteLength;
            }
          } finally {
            await storing(() => file.close());
          }
          return { path, bytes };
        },
        remove: ({ path }) => remove(path),
        [Symbol.asyncDispose]: () => remove(folder),
      };
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

/** A disk may take less than it is given. */
async function writeAll(file: SpoolFile, chunk: Uint8Array): Promise<void> {
  for (let rest = chunk; rest.byteLength > 0; ) {
    const { bytesWritten } = await file.write(rest);
    rest = rest.subarray(bytesWritten);
  }
}

/** What cannot be removed now is removed at the next start; no request fails because of it. */
async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
}

async function isStale(name: string, path: string): Promise<boolean> {
  const [, itsHost, pid, itsBirth] = folderName.exec(name) ?? [];
  if (itsHost === undefined) return false;
  const found = await lstat(path).catch(() => undefined);
  // Anybody may make folders in the system's temporary one.
  if (!found?.isDirectory() || found.uid !== (process.getuid?.() ?? found.uid)) return false;
  if (itsHost !== host) return Date.now() - found.mtimeMs > FOREIGN_FOLDER_MS;
  return Number(pid) === process.pid ? itsBirth !== born : !lives(Number(pid));
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

const fullErrnos = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
/** Of a folder that is missing, read-only or not ours: no bug, but the operator's to set right. */
const refusalErrnos = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS']);

async function storing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const errno = errnoOf(error) ?? '';
    if (fullErrnos.has(errno)) {
      throw new ServiceError(
        'storage_full',
        'The disk of the temporary folder is full: there is no room for the video. Free some space, or let TMPDIR name a folder with more of it.',
        {},
        { cause: error },
      );
    }
    if (refusalErrnos.has(errno)) {
      throw new ServiceError(
        'storage_full',
        `The temporary folder cannot be written (${errno}), and a video has to be kept there while it is read. Let TMPDIR name a folder that can.`,
        {},
        { cause: error },
      );
    }
    throw error;
  }
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
