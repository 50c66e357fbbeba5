import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf } from '../../errors.ts';
import { numberedNames } from '../../file-names.ts';

/** The part of `lstat` that sorting uses. */
export interface FileFacts {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  isFile(): boolean;
  isSymbolicLink(): boolean;
}

/** The file operations of sorting. Tests let each of them fail, and kill the process before and after it. */
export interface FileOperations {
  /** Undefined: the path does not exist. */
  facts(path: string): Promise<FileFacts | undefined>;
  makeFolder(path: string): Promise<void>;
  /** Adds a second name to a file. @throws EEXIST if the name is taken: the only way that never overwrites */
  link(existing: string, name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Copies content, permissions and times. Replaces `to`, but not other names of the same file. */
  copy(from: string, to: string): Promise<void>;
  /** As `copy`. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Adds to the end of a file, and creates it if it is missing. */
  append(path: string, text: string): Promise<void>;
  /** @throws if names in a folder cannot be changed */
  checkWritable(folder: string): Promise<void>;
  /** Removes a folder if it is empty. */
  removeEmpty(folder: string): Promise<void>;
  /** Resolves when a file, or a folder's list of names, would survive a power cut. */
  sync(path: string): Promise<void>;
}

export const fileOperations: FileOperations = {
  async facts(path) {
    try {
      return await fs.lstat(path, { bigint: true });
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  },
  async makeFolder(path) {
    await fs.mkdir(path, { recursive: true });
  },
  link: fs.link,
  rename: fs.rename,
  unlink: fs.unlink,
  async copy(from, to) {
    await fs.rm(to, { force: true });
    // Shares the blocks if the file system can.
    await fs.copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    const { atimeMs, mtimeMs } = await fs.stat(from);
    // Not `utimes`: it would follow a link that has replaced the file meanwhile.
    await fs.lutimes(to, atimeMs / 1000, mtimeMs / 1000);
  },
  async write(path, bytes) {
    await fs.rm(path, { force: true });
    await fs.writeFile(path, bytes, { flag: 'wx' });
  },
  append: (path, text) => fs.appendFile(path, text),
  checkWritable: (folder) => fs.access(folder, constants.W_OK),
  async removeEmpty(folder) {
    await fs.rmdir(folder).catch((fault: unknown) => {
      if (errnoOf(fault) === undefined) throw fault;
    });
  },
  async sync(path) {
    const file = await fs.open(path, 'r');
    try {
      await file.sync();
    } catch (error) {
      // Some file systems refuse to sync folders.
      if (errnoOf(error) !== 'EINVAL') throw error;
    } finally {
      await file.close();
    }
  },
};

/** Errors of `link` on FAT, on network drives, and for files of other users. */
const withoutLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** @throws if the name is taken: whether as EEXIST or, without links, by a look before */
async function giveName(
  operations: FileOperations,
  file: string,
  target: string,
): Promise<{ readonly hasTwoNames: boolean }> {
  try {
    await operations.link(file, target);
    return { hasTwoNames: true };
  } catch (fault) {
    const errno = errnoOf(fault) ?? '';
    if (errno === 'EEXIST') throw new NameTakenError(target);
    if (!withoutLinks.has(errno)) throw fault;
    // Only another program could take the name before the rename.
    if ((await operations.facts(target)) !== undefined) throw new NameTakenError(target);
    await operations.rename(file, target);
    return { hasTwoNames: false };
  }
}

/** A file has the name that another one should get. */
export class NameTakenError extends Error {
  override readonly name = 'NameTakenError';

  constructor(path: string) {
    super(`${path} exists.`);
  }
}

const pattern = /^\.classify-[0-9a-f]{16}\.part$/;

/**
 * The path of a copy before it gets its name. It is the same in every run, so that a run finds the copy of a killed
 * run.
 */
export function temporaryPath(source: string, folder: string): string {
  const digest = createHash('sha256').update(resolve(source)).digest('hex');
  return join(folder, `.classify-${digest.slice(0, 16)}.part`);
}

export function isTemporaryName(name: string): boolean {
  return pattern.test(name);
}

/** The content of a new file. */
export interface Content {
  /** Bytes. */
  readonly size: bigint;
  /** The preferred name. */
  readonly name: string;
  /** The origin: determines the name of the temporary file. */
  readonly source: string;
  isIn(path: string): Promise<boolean>;
  writeTo(operations: FileOperations, path: string): Promise<void>;
}

interface Copied {
  readonly target: string;
  /** Whether an equal file already had that name. */
  readonly wasThere: boolean;
}

/**
 * The name of a copy: that of an equal file, or the first free one.
 * @param isPlanned names that count as taken
 */
export async function nameForCopy(
  operations: FileOperations,
  content: Content,
  folder: string,
  isPlanned: (target: string) => boolean = () => false,
): Promise<Copied & { readonly number: number }> {
  let number = 1;
  for (const name of numberedNames(content.name)) {
    const target = join(folder, name);
    const taken = await operations.facts(target);
    if (!taken && !isPlanned(target)) return { target, number, wasThere: false };
    if (taken?.isFile() && taken.size === content.size && (await content.isIn(target))) {
      return { target, number, wasThere: true };
    }
    number += 1;
  }
  throw new Error('This is a bug: the names never end');
}

/** Creates a file in a folder. It gets its name only after it is complete and synced to the disk. */
export async function makeCopy(
  operations: FileOperations,
  content: Content,
  folder: string,
): Promise<Copied> {
  const found = await nameForCopy(operations, content, folder);
  if (found.wasThere) return found;
  const temporary = temporaryPath(content.source, folder);
  await orRemove(operations, temporary, async () => {
    await content.writeTo(operations, temporary);
    await operations.sync(temporary);
  });
  for (const name of numberedNames(content.name, found.number)) {
    const target = join(folder, name);
    try {
      const { hasTwoNames } = await giveName(operations, temporary, target);
      await operations.sync(folder);
      if (hasTwoNames) await unlinkIfThere(operations, temporary);
      return { target, wasThere: false };
    } catch (fault) {
      // Another program was faster.
      if (!(fault instanceof NameTakenError)) throw fault;
    }
  }
  throw new Error('This is a bug: the names never end');
}

/** Writes a temporary file, and removes it on failure: the disk may be full. */
async function orRemove(
  operations: FileOperations,
  temporary: string,
  write: () => Promise<void>,
): Promise<void> {
  try {
    await write();
  } catch (fault) {
    await unlinkIfThere(operations, temporary).catch(() => undefined);
    throw fault;
  }
}

async function unlinkIfThere(operations: FileOperations, path: string): Promise<void> {
  try {
    await operations.unlink(path);
  } catch (fault) {
    if (errnoOf(fault) !== 'ENOENT') throw fault;
  }
}

/** One file could not be sorted and stays where it is. The message is a sentence. */
export class NotSortedError extends Error {
  override readonly name = 'NotSortedError';
}

const BLOCK_BYTES = 1024 ** 2;

/** Whether two files have the same bytes. */
export async function haveSameContent(a: string, b: string): Promise<boolean> {
  await using fileA = await open(a, 'r');
  await using fileB = await open(b, 'r');
  const { size } = await fileA.stat();
  if ((await fileB.stat()).size !== size) return false;
  const blockA = Buffer.allocUnsafe(BLOCK_BYTES);
  const blockB = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = 0; at < size; ) {
    const [readA, readB] = await Promise.all([
      fileA.read(blockA, 0, BLOCK_BYTES, at),
      fileB.read(blockB, 0, BLOCK_BYTES, at),
    ]);
    const bytes = Math.min(readA.bytesRead, readB.bytesRead);
    // One of the files has become shorter meanwhile.
    if (bytes === 0) return false;
    if (!blockA.subarray(0, bytes).equals(blockB.subarray(0, bytes))) return false;
    at += bytes;
  }
  return true;
}

/** Whether a file has exactly these bytes. */
export async function hasContent(path: string, bytes: Uint8Array): Promise<boolean> {
  const file = Bun.file(path);
  return file.size === bytes.byteLength && Buffer.from(await file.arrayBuffer()).equals(bytes);
}

/** The file could not be read or removed where it was. The cause is the error of the operation. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/**
 * Moves a file to a free path. The whole file has a name at every moment.
 *
 * - On one file system: `link` adds the new name, then the old name is removed.
 * - Across file systems: the file is copied under a temporary name and synced. Then `link` adds its name, the source
 *   is removed, and the temporary name last.
 *
 * If the process is killed, source and target may both exist; `completeBegunMove` knows from the log that they are one
 * file.
 * @throws NameTakenError, NotSortedError, SourceError; errors of the operations about the target
 */
export async function moveFile(operations: FileOperations, source: string, target: string): Promise<void> {
  const facts = await operations.facts(source);
  if (!facts) throw new NotSortedError('It no longer exists.');
  if (!facts.isFile()) throw new NotSortedError('It is not a file.');
  try {
    const { hasTwoNames } = await giveName(operations, source, target);
    if (hasTwoNames) await removeSource(operations, source, [target]);
  } catch (fault) {
    const errno = errnoOf(fault) ?? '';
    if (errno === 'EXDEV') return await moveAcross(operations, { source, facts }, target);
    // The system does not say which of the two folders is meant.
    if (sidedErrnos.has(errno)) await checkRemovable(operations, source);
    throw fault;
  }
}

const sidedErrnos = new Set(['EACCES', 'EPERM', 'EROFS']);

/** @throws SourceError */
async function checkRemovable(operations: FileOperations, source: string): Promise<void> {
  try {
    await operations.checkWritable(dirname(source));
  } catch (cause) {
    throw new SourceError('The folder of the file is read-only', { cause });
  }
}

async function moveAcross(
  operations: FileOperations,
  { source, facts }: { readonly source: string; readonly facts: FileFacts },
  target: string,
): Promise<void> {
  // Before a long copy.
  await checkRemovable(operations, source);
  const folder = dirname(target);
  const temporary = temporaryPath(source, folder);
  await orRemove(operations, temporary, async () => {
    await operations.copy(source, temporary);
    await operations.sync(temporary);
  });
  const [after, copied] = await Promise.all([operations.facts(source), operations.facts(temporary)]);
  const isUnchanged = after?.size === facts.size && after.mtimeNs === facts.mtimeNs;
  if (!isUnchanged || copied?.size !== facts.size) {
    await operations.unlink(temporary);
    throw new NotSortedError('It changed while it was being moved, and stays where it is.');
  }
  let hasTwoNames: boolean;
  try {
    ({ hasTwoNames } = await giveName(operations, temporary, target));
  } catch (fault) {
    await unlinkIfThere(operations, temporary);
    throw fault;
  }
  await operations.sync(folder);
  await removeSource(operations, source, hasTwoNames ? [target, temporary] : [target]);
  if (hasTwoNames) await operations.unlink(temporary);
}

/**
 * Removes the source. On failure the copies are removed instead, so that the file stays in one place.
 * @throws SourceError
 */
async function removeSource(
  operations: FileOperations,
  source: string,
  made: readonly string[],
): Promise<void> {
  try {
    await operations.unlink(source);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return;
    for (const path of made) await operations.unlink(path);
    if (errnoOf(cause) === undefined) throw cause;
    throw new SourceError('The file cannot be removed', { cause });
  }
}

export function isSameFile(a: FileFacts, b: FileFacts): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
