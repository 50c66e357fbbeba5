import { dlopen, read } from 'bun:ffi';
import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf } from '../../errors.ts';
import { reasonOf, UsageError } from '../usage-error.ts';

// One run at a time writes an output, and never through a symbolic link: in a shared folder, other users could put
// a link under a name they can predict. Folders named on the command line may be links.

/** Another run is using it. */
export class InUseError extends UsageError {}

/**
 * Opens a file for reading and appending, and locks out other runs until it is closed.
 * @returns the file, and whether this call created it
 * @throws UsageError for a symbolic link, for a path that is not a file, and while another run writes it; errors of `open`
 */
export async function claimFile(
  path: string,
): Promise<{ readonly file: FileHandle; readonly isNew: boolean }> {
  const appending = constants.O_RDWR | constants.O_APPEND | NO_FOLLOW;
  for (;;) {
    const present = await lstat(path).catch(ignoreMissing);
    if (present?.isSymbolicLink()) throw symbolicLink(path);
    // A device or a pipe cannot be read back, and opening one may never return.
    if (present && !present.isFile()) throw notAFile(path);
    const flags = present ? appending : appending | constants.O_CREAT | constants.O_EXCL;
    let file: FileHandle;
    try {
      file = await open(path, flags, 0o666);
    } catch (fault) {
      const errno = errnoOf(fault);
      // The file was created or removed since `lstat`: look again. That also finds a new link.
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

type Content = string | Uint8Array;

/** Owner, group and permissions, as `stat` gives them. */
interface Access {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/**
 * Replaces a file atomically: if the process is killed, either the old or the new file exists. If the path is a
 * link, the link is replaced, not its target.
 */
export async function replaceFile(path: string, content: Content, access?: Access): Promise<void> {
  await fromPart(path, content, async (part, file) => {
    if (access) await giveAccess(file, access);
    await rename(part, path);
  });
}

/**
 * Creates a file that is complete as soon as it has its name.
 * @throws EEXIST if the name is taken
 */
export async function createFile(path: string, content: Content): Promise<void> {
  await fromPart(path, content, async (part) => {
    try {
      // Unlike `rename`, never replaces a file.
      await link(part, path);
      await rm(part);
    } catch (fault) {
      if (errnoOf(fault) === 'EEXIST') throw fault;
      // Some file systems have no links.
      if (await lstat(path).catch(ignoreMissing))
        throw Object.assign(new Error('EEXIST'), { code: 'EEXIST' });
      await rename(part, path);
    }
  });
}

/** Writes a temporary file beside `path`, and lets `name` give it that name. */
async function fromPart(
  path: string,
  content: Content,
  name: (part: string, file: FileHandle) => Promise<void>,
): Promise<void> {
  // Short, because the name of the file may be as long as names can be.
  const part = join(dirname(path), `.classify-${crypto.randomUUID()}.part`);
  try {
    // Fails if the name is taken, even by a link.
    await using file = await open(part, 'wx');
    await file.writeFile(content);
    await file.sync();
    await name(part, file);
  } catch (fault) {
    await rm(part, { force: true });
    throw fault;
  }
  await syncFolder(dirname(path));
}

/** As far as possible: only root may give files away, and some file systems have no owners. */
async function giveAccess(file: FileHandle, { uid, gid, mode }: Access): Promise<void> {
  await file.chown(uid, gid).catch(ignoreErrno);
  await file.chmod(mode & 0o7777).catch(ignoreErrno);
}

function ignoreErrno(fault: unknown): void {
  if (errnoOf(fault) === undefined) throw fault;
}

/**
 * Replaces a file that this run has claimed, atomically and without a moment in which another run could claim it.
 * @param write writes the content
 * @returns the new file, for reading and appending
 */
export async function replaceClaimed(
  path: string,
  write: (append: (text: string) => Promise<void>) => Promise<void>,
): Promise<{ readonly file: FileHandle }> {
  const part = `${path}.${crypto.randomUUID()}.part`;
  const { file } = await claimFile(part);
  try {
    await write((text) => file.appendFile(text));
    await file.sync();
    await rename(part, path);
  } catch (fault) {
    await rm(part, { force: true });
    await file.close();
    throw fault;
  }
  await syncFolder(dirname(path));
  return { file };
}

/** A file locked for this run, empty until `write`. Disposing removes it if nothing was written. */
export interface ReservedFile extends AsyncDisposable {
  write(content: string): Promise<void>;
}

/**
 * Reserves a name for content that is written at the end. An empty file is reused, because a killed run leaves one.
 * @throws UsageError if the file has content, or another run has reserved it; errors of `open`
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
    throw new UsageError(`${path} already exists; name another file, or remove it.`);
  }
  return {
    async write(content) {
      await replaceFile(path, content);
      isWritten = true;
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Removes a file, unless another file has taken its place. */
async function removeIfSame(path: string, file: FileHandle): Promise<void> {
  const [ours, present] = await Promise.all([file.stat(), lstat(path).catch(ignoreMissing)]);
  if (present?.ino === ours.ino && present.dev === ours.dev && present.size === 0) await rm(path);
}

/**
 * Creates a folder if it is missing, and locks out other runs until disposed. Disposing removes the folders that
 * were created and are still empty.
 * @throws UsageError if another run has locked it, or it cannot be created or written to
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
    throw anotherRun(`Another run is putting files into ${path}`, 'folder');
  }
  const release = async () => {
    await folder.close();
    if (made !== undefined) await removeEmpty(resolve(path), resolve(made));
  };
  try {
    await probe(path);
  } catch (fault) {
    await release();
    throw fault;
  }
  return { [Symbol.asyncDispose]: release };
}

/** A new file needs a block at least. */
const PROBE_BYTES = 4096;

/** Finds out whether a folder is read-only or its disk full before the model is loaded. @throws UsageError */
async function probe(folder: string): Promise<void> {
  const path = join(folder, `.classify-${crypto.randomUUID()}.part`);
  try {
    await fromPart(path, new Uint8Array(PROBE_BYTES), async (part) => await rm(part));
  } catch (fault) {
    if (errnoOf(fault) === undefined) throw fault;
    throw new UsageError(`Files cannot be put into ${folder}, because ${reasonOf(fault)}.`);
  }
}

/** Removes the inner folder and its parents up to the outer one, as long as they are empty. */
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

/** A file that several runs share, and that one of them can have for itself. */
export interface SharedFile extends Disposable {
  /** @returns whether no other run shares the file, and none can until `share` is called */
  claim(): boolean;
  share(): void;
}

const SHARING_AGAIN_MS = 20;

/**
 * Shares an empty file with other runs, creating it if it is missing. It stays when the runs have ended. Waits while
 * another run has the file for itself.
 * @returns the file, and whether this run has it for itself, until it calls `share`
 * @throws errors of `open`
 */
export async function shareFile(
  path: string,
): Promise<{ readonly shared: SharedFile; readonly isAlone: boolean }> {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | NO_FOLLOW, 0o666);
  // First: of two runs that both shared it already, neither could have it for itself.
  const isAlone = lock(descriptor, 'exclusive');
  while (!isAlone && !lock(descriptor, 'shared')) await Bun.sleep(SHARING_AGAIN_MS);
  const shared: SharedFile = {
    claim() {
      if (lock(descriptor, 'exclusive')) return true;
      // An attempt gives the shared lock back.
      lock(descriptor, 'shared');
      return false;
    },
    share() {
      lock(descriptor, 'shared');
    },
    [Symbol.dispose]: () => closeSync(descriptor),
  };
  return { shared, isAlone };
}

const folderReasons: Readonly<Record<string, string>> = {
  EEXIST: 'a file has that name',
  EINVAL: 'its file system does not allow that name',
};

/** The error to throw if a folder cannot be created. */
export function folderFault(folder: string, fault: unknown): unknown {
  const errno = errnoOf(fault);
  if (errno === undefined) return fault;
  const reason = folderReasons[errno] ?? reasonOf(fault);
  return new UsageError(`The folder ${folder} cannot be created, because ${reason}.`);
}

async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path, 'r');
    await folder.sync();
  } catch {
    // Some file systems refuse to sync folders.
  }
}

/** Windows does not have this flag. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0;

/** `wouldBlock`: the errno if another process holds the lock. */
const cLibraries: Partial<Record<NodeJS.Platform, { readonly name: string; readonly wouldBlock: number }>> = {
  linux: { name: 'libc.so.6', wouldBlock: 11 },
  darwin: { name: 'libSystem.B.dylib', wouldBlock: 35 },
};

const OR_FAIL = 4;
const lockKinds = { shared: 1 | OR_FAIL, exclusive: 2 | OR_FAIL } as const;

/**
 * Locks an open file or folder until it is closed or the process ends. A lock file would stay behind when a run is
 * killed, and block the next run.
 * @returns false if another process holds a lock that excludes this one; true also if the system has no locks
 */
function lock(descriptor: number, kind: keyof typeof lockKinds = 'exclusive'): boolean {
  const system = cLibraries[process.platform];
  if (system === undefined) return true;
  let library: ReturnType<typeof openLibrary>;
  try {
    library = openLibrary(system.name);
  } catch {
    // The system has another C library.
    return true;
  }
  const { flock, errno } = library;
  if (flock(descriptor, lockKinds[kind]) === 0) return true;
  // Some network drives do not support locks.
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
  return new UsageError(`${path} is a symbolic link, which is not followed; name the file it points to.`);
}

function notAFile(path: string): UsageError {
  return new UsageError(`${path} is not a file; name a file, or leave out --output.`);
}

function anotherRun(what: string, kind: 'file' | 'folder'): InUseError {
  return new InUseError(`${what}. Wait until that run ends, or name another ${kind}.`);
}
