import { dlopen, read } from 'bun:ffi';
import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errnoOf } from '../../errors.ts';
import { reasonOf } from '../files/errno.ts';
import { UsageError } from '../usage-error.ts';

// What this command writes is written by one run at a time, and into nothing that a link leads to: in a folder of
// several people anyone can put a link where a name can be foreseen. Folders that the person names may be links.

/**
 * Opens a file for reading and appending, and keeps other runs from it until it is closed.
 * @returns the file, and whether it was made by this call
 * @throws UsageError for a symbolic link, for what is not a file, and where another run writes it; what opening throws
 */
export async function claimFile(
  path: string,
): Promise<{ readonly file: FileHandle; readonly isNew: boolean }> {
  const appending = constants.O_RDWR | constants.O_APPEND | NO_FOLLOW;
  for (;;) {
    const present = await lstat(path).catch(ignoreMissing);
    if (present?.isSymbolicLink()) throw symbolicLink(path);
    // A device or a pipe cannot be read back; opening one may wait for ever.
    if (present && !present.isFile()) throw notAFile(path);
    const flags = present ? appending : appending | constants.O_CREAT | constants.O_EXCL;
    let file: FileHandle;
    try {
      file = await open(path, flags, 0o666);
    } catch (fault) {
      const errno = errnoOf(fault);
      // Made or removed in between: looked at anew. A link that was made in between is seen then.
      if (present ? errno === 'ENOENT' || errno === 'ELOOP' : errno === 'EEXIST') continue;
      throw fault;
    }
    try {
      if (!(await file.stat()).isFile()) throw notAFile(path);
      if (!lock(file.fd)) throw anotherRun(`${path} is being written by another run`, 'file');
      return { file, isNew: present === undefined };
    } catch (fault) {
      await file.close();
      throw fault;
    }
  }
}

/**
 * Puts a file in its place as a whole: whenever the process ends, the old one or the new one is there. Of a link that
 * has its name, the link is replaced.
 */
export async function replaceFile(path: string, content: string): Promise<void> {
  const part = `${path}.${crypto.randomUUID()}.part`;
  try {
    // Fails where the name is taken, by a link too.
    await using file = await open(part, 'wx');
    await file.writeFile(content);
    await file.sync();
  } catch (fault) {
    await rm(part, { force: true });
    throw fault;
  }
  try {
    await rename(part, path);
  } catch (fault) {
    await rm(part, { force: true });
    throw fault;
  }
  await syncFolder(dirname(path));
}

/** A file that is there for this run alone, empty until `write`. */
export interface ReservedFile extends AsyncDisposable {
  /** Its content, at once. */
  write(content: string): Promise<void>;
}

/**
 * Takes a name for what is written at the end. An empty file is taken over: a run that was killed leaves one.
 * @throws UsageError where something is there, or another run has reserved it; what opening throws
 */
export async function reserveFile(path: string): Promise<ReservedFile> {
  const { file } = await claimFile(path);
  let isWritten = false;
  const close = async () => {
    if (!isWritten) await removeIfSame(path, file);
    await file.close();
  };
  if ((await file.stat()).size > 0) {
    await file.close();
    throw new UsageError(`${path} is there already; give another file, or remove it.`);
  }
  return {
    async write(content) {
      await replaceFile(path, content);
      isWritten = true;
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Somebody may have put another file in its place. */
async function removeIfSame(path: string, file: FileHandle): Promise<void> {
  const [ours, present] = await Promise.all([file.stat(), lstat(path).catch(ignoreMissing)]);
  if (present?.ino === ours.ino && present.dev === ours.dev && present.size === 0) await rm(path);
}

/**
 * Makes a folder if need be, and keeps other runs from putting files there until it is disposed of; what was made
 * and is still empty then is removed.
 * @throws UsageError where another run does, or it cannot be made
 */
export async function claimFolder(path: string): Promise<AsyncDisposable> {
  let made: string | undefined;
  let folder: FileHandle;
  try {
    made = await mkdir(path, { recursive: true });
    folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (fault) {
    throw folderFault(path, fault);
  }
  if (!lock(folder.fd)) {
    await folder.close();
    throw anotherRun(`Another run puts files into ${path}`, 'folder');
  }
  return {
    async [Symbol.asyncDispose]() {
      await folder.close();
      if (made !== undefined) await removeEmpty(resolve(path), resolve(made));
    },
  };
}

/** Removes folders from the inner one to the outer one, as far as they are empty. */
async function removeEmpty(inner: string, outer: string): Promise<void> {
  try {
    for (let folder = inner; ; folder = dirname(folder)) {
      await rmdir(folder);
      if (folder === outer) return;
    }
  } catch (fault) {
    if (errnoOf(fault) === undefined) throw fault;
  }
}

/** What to throw where a folder cannot be made. */
export function folderFault(folder: string, fault: unknown): unknown {
  const errno = errnoOf(fault);
  if (errno === undefined) return fault;
  const reason = errno === 'EEXIST' ? 'a file of that name is there' : reasonOf(fault);
  return new UsageError(`The folder ${folder} cannot be made, because ${reason}.`);
}

async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path, 'r');
    await folder.sync();
  } catch {
    // Some file systems have nothing to do for a folder, and say so.
  }
}

/** Windows has no such flag. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0;

/** `wouldBlock`: the number of the error that a lock of somebody else makes. */
const cLibraries: Partial<Record<NodeJS.Platform, { readonly name: string; readonly wouldBlock: number }>> = {
  linux: { name: 'libc.so.6', wouldBlock: 11 },
  darwin: { name: 'libSystem.B.dylib', wouldBlock: 35 },
};

const LOCK_EXCLUSIVELY_OR_FAIL = 2 | 4;

/**
 * Locks an open file or folder until it is closed, or its process ends in whatever way. A lock file would stay behind
 * when a run is killed, and keep the next one waiting.
 * @returns false where another one holds the lock; true also where there are no locks
 */
function lock(descriptor: number): boolean {
  const system = cLibraries[process.platform];
  if (system === undefined) return true;
  let library: ReturnType<typeof openLibrary>;
  try {
    library = openLibrary(system.name);
  } catch {
    // A system with another C library.
    return true;
  }
  const { flock, errno } = library;
  if (flock(descriptor, LOCK_EXCLUSIVELY_OR_FAIL) === 0) return true;
  // Some network drives know no locks.
  return errno() !== system.wouldBlock;
}

function openLibrary(name: string) {
  const { flock } = dlopen(name, { flock: { args: ['i32', 'i32'], returns: 'i32' } }).symbols;
  const place = { args: [], returns: 'ptr' } as const;
  const location =
    process.platform === 'darwin'
      ? dlopen(name, { __error: place }).symbols.__error
      : dlopen(name, { __errno_location: place }).symbols.__errno_location;
  return {
    flock,
    errno() {
      const pointer = location();
      return pointer === null ? 0 : read.i32(pointer);
    },
  };
}

function ignoreMissing(fault: unknown): undefined {
  if (errnoOf(fault) !== 'ENOENT') throw fault;
}

function symbolicLink(path: string): UsageError {
  return new UsageError(`${path} is a symbolic link, which is not followed; name the file that it leads to.`);
}

function notAFile(path: string): UsageError {
  return new UsageError(`${path} is not a file; name one, or leave --output out.`);
}

function anotherRun(what: string, kind: 'file' | 'folder'): UsageError {
  return new UsageError(`${what}. Wait until it has ended, or give another ${kind}.`);
}
