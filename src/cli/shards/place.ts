import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { errnoOf } from '../../errors.ts';
import { claimFile, folderFault, replaceFile } from '../output/claim.ts';
import { isStorageUrl, parseStorageUrl, type Storage, storageUrl } from '../storage/storage.ts';
import { reasonOf, UsageError } from '../usage-error.ts';

/** A file that is read in pieces. */
export interface PlacedFile {
  /** In bytes. */
  readonly size: number;
  /** @returns exactly the bytes from `start` up to, but without, `end` */
  slice(start: number, end: number): Promise<Uint8Array>;
}

export type Append = (content: string | Uint8Array) => Promise<void>;

/** A folder of this computer, or a beginning of keys in object storage, that outputs go to and are read from. */
export interface Place {
  /** For messages. */
  pathOf(name: string): string;
  /** @returns the names of the files in it, in order; none if the folder does not exist */
  names(): Promise<readonly string[]>;
  /** @returns undefined if it does not exist */
  find(name: string): Promise<PlacedFile | undefined>;
  /** Writes a file that is visible when it is complete, and replaces what was there. */
  write(name: string, write: (append: Append) => Promise<void>): Promise<void>;
  remove(name: string): Promise<void>;
  /** undefined in object storage */
  readonly folder: string | undefined;
}

/**
 * Splits a path into the place and the name.
 * @returns an empty name for a folder: whatever does not end like a part
 */
export function splitPath(path: string): { readonly parent: string; readonly name: string } {
  const isFile = /\.(?:jsonl|ndjson|json|parquet)$/i.test(path);
  if (!isStorageUrl(path)) {
    return isFile ? { parent: dirname(path), name: basename(path) } : { parent: path, name: '' };
  }
  const { bucket, key } = parseStorageUrl(path);
  const end = isFile ? key.lastIndexOf('/') + 1 : key.length;
  const folder = key.slice(0, end);
  const slash = folder === '' || folder.endsWith('/') ? '' : '/';
  return { parent: storageUrl({ bucket, key: `${folder}${slash}` }), name: key.slice(end) };
}

export function openPlace(parent: string, openStorage: () => Storage): Place {
  return isStorageUrl(parent) ? openStoragePlace(parent, openStorage()) : openFolder(parent);
}

function openFolder(folder: string): Place {
  const orUsageError = async <T>(name: string, verb: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (fault) {
      if (errnoOf(fault) === undefined) throw fault;
      throw new UsageError(`${join(folder, name)} cannot be ${verb}, because ${reasonOf(fault)}.`);
    }
  };
  return {
    folder,
    pathOf: (name) => join(folder, name),
    async names() {
      const entries = await orUsageError('', 'read', () =>
        readdir(folder).catch((fault: unknown) => {
          if (errnoOf(fault) !== 'ENOENT') throw fault;
          return [];
        }),
      );
      return entries.toSorted();
    },
    async find(name) {
      const path = join(folder, name);
      const found = await lstat(path).catch((fault: unknown) => {
        if (errnoOf(fault) !== 'ENOENT') throw fault;
      });
      if (found === undefined) return undefined;
      if (!found.isFile()) throw new UsageError(`${path} is not a file.`);
      const file = Bun.file(path);
      return { size: found.size, slice: (start, end) => file.slice(start, end).bytes() };
    },
    async write(name, write) {
      try {
        await mkdir(folder, { recursive: true });
      } catch (fault) {
        throw folderFault(folder, fault);
      }
      await orUsageError(name, 'written', async () => {
        // The same name each time: what a killed run has left is used again.
        const part = join(folder, `_${name}.part`);
        const { file } = await claimFile(part);
        try {
          await file.truncate(0);
          await writeBuffered(file, write);
          await file.sync();
          await rename(part, join(folder, name));
        } catch (fault) {
          await rm(part, { force: true });
          throw fault;
        } finally {
          await file.close();
        }
      });
    },
    async remove(name) {
      await rm(join(folder, name), { force: true });
    },
  };
}

function openStoragePlace(parent: string, storage: Storage): Place {
  const { bucket, key: prefix } = parseStorageUrl(parent);
  const objectOf = (name: string) => ({ bucket, key: `${prefix}${name}` });
  return {
    folder: undefined,
    pathOf: (name) => storageUrl(objectOf(name)),
    async names() {
      const names: string[] = [];
      for await (const { key } of storage.list({ bucket, key: prefix })) names.push(key.slice(prefix.length));
      return names;
    },
    async find(name) {
      const found = await storage.find(objectOf(name));
      return found && { size: found.size, slice: (start, end) => storage.read(objectOf(name), start, end) };
    },
    async write(name, write) {
      // A file first, so that an upload that fails can begin again, whatever its length.
      const path = join(tmpdir(), `classify-${crypto.randomUUID()}.part`);
      const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
      try {
        await writeBuffered(file, write);
        await storage.write(objectOf(name), Bun.file(path));
      } catch (fault) {
        if (errnoOf(fault) === undefined) throw fault;
        throw new UsageError(`${path} cannot be written, because ${reasonOf(fault)}.`);
      } finally {
        await file.close();
        await rm(path, { force: true });
      }
    },
    async remove(name) {
      await storage.remove(objectOf(name));
    },
  };
}

const BUFFERED_BYTES = 1024 * 1024;

/** Lines are short: each with a write of its own would take longer than what they say. */
async function writeBuffered(file: FileHandle, write: (append: Append) => Promise<void>): Promise<void> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  const flush = async () => {
    const content = Buffer.concat(pieces);
    pieces = [];
    length = 0;
    if (content.length > 0) await file.appendFile(content);
  };
  await write(async (content) => {
    const bytes = typeof content === 'string' ? Buffer.from(content) : Uint8Array.from(content);
    pieces.push(bytes);
    length += bytes.length;
    if (length >= BUFFERED_BYTES) await flush();
  });
  await flush();
}

/** A small file as text. @returns undefined if it does not exist */
export async function readText(place: Place, name: string): Promise<string | undefined> {
  const file = await place.find(name);
  return file && new TextDecoder().decode(await file.slice(0, file.size));
}

export async function writeText(place: Place, name: string, text: string): Promise<void> {
  if (place.folder === undefined) return await place.write(name, (append) => append(text));
  await mkdir(place.folder, { recursive: true });
  await replaceFile(join(place.folder, name), text);
}

const READ_BYTES = 4 * 1024 * 1024;

/**
 * The lines of a file, without their line feeds. An incomplete last one is a line, too.
 * @yields many lines at a time: to wait for each of them costs more than to read it
 */
export async function* linesOf(file: PlacedFile): AsyncGenerator<readonly string[]> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let rest = '';
  for (let start = 0; start < file.size; start += READ_BYTES) {
    const bytes = await file.slice(start, Math.min(start + READ_BYTES, file.size));
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield lines;
  }
  if (rest !== '') yield [rest];
}
