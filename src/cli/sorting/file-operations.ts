import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { open, readdir } from 'node:fs/promises';
import { basename, join, parse, resolve } from 'node:path';
import { errnoOf } from '../../errors.ts';

/** The part of `lstat` that sorting uses. */
interface FileFacts {
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

/** Leaves room for ` (2)` within the 255 bytes of a name. */
const MAX_FOLDER_NAME_BYTES = 200;

/** Windows reads these as devices, with any extension; sorted folders may be copied to USB sticks. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)/i;

/**
 * A folder name for every label: one component, never hidden, never `.` or `..`, valid on every file system.
 * Labels that would share a folder, even only without regard to case, get ` (2)`.
 */
export function folderNames(labels: readonly string[]): ReadonlyMap<string, string> {
  const taken = new Set<string>();
  const names = new Map<string, string>();
  for (const label of labels) {
    const name = folderName(label);
    let unique = name;
    for (let copy = 2; taken.has(foldCase(unique)); copy++) unique = `${name} (${copy})`;
    taken.add(foldCase(unique));
    names.set(label, unique);
  }
  return names;
}

function folderName(label: string): string {
  const name = label
    .toWellFormed()
    .normalize('NFC')
    // Separators, characters that Windows refuses, and control characters.
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, '_')
    .replace(/^ +/, '')
    .replace(/^\.+/, (dots) => '_'.repeat(dots.length))
    .replace(deviceName, (device) => `${device}_`);
  // Windows drops these at the end.
  return shorten(name, MAX_FOLDER_NAME_BYTES).replace(/[ .]+$/, '') || '_';
}

/** Compares names as file systems that ignore case do. */
export function foldCase(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase();
}

/** The longest beginning of whole graphemes with at most `maxBytes` in UTF-8. */
function shorten(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  let bytes = 0;
  let kept = '';
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    bytes += Buffer.byteLength(segment);
    if (bytes > maxBytes) break;
    kept += segment;
  }
  return kept;
}

/** The limit of file systems for one component. */
const MAX_NAME_BYTES = 255;

/** `photo.jpg`, `photo (2).jpg`, `photo (3).jpg`, …: names to try in turn. */
export function* numberedNames(name: string, from = 1): Generator<string> {
  if (from <= 1) yield name;
  const { name: stem, ext } = parse(name);
  for (let copy = Math.max(2, from); ; copy++) {
    const ending = ` (${copy})${ext}`;
    yield shorten(stem, MAX_NAME_BYTES - Buffer.byteLength(ending)) + ending;
  }
}

/** Errors of `link` on FAT, on network drives, and for files of other users. */
const withoutLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

interface Naming {
  readonly name: string;
  /** The first number to try. */
  readonly from: number;
  readonly isSame?: (target: string) => Promise<boolean>;
}

interface GivenName {
  readonly target: string;
  /** 1 for the file's own name, 2 for `name (2)`. */
  readonly number: number;
  /** Whether the old name still exists and has to be removed. */
  readonly isSecondName: boolean;
}

/**
 * Gives a file the first free name in a folder of the same file system. Linking cannot overwrite. Without links, the
 * name is looked up first; only another program could take it before the rename.
 * @param isSame whether a taken name already is a name of this file
 * @throws EXDEV if the folder is on another file system
 */
async function giveName(
  operations: FileOperations,
  file: string,
  folder: string,
  { name, from, isSame = async () => false }: Naming,
): Promise<GivenName> {
  let number = from;
  for (const candidate of numberedNames(name, from)) {
    const target = join(folder, candidate);
    try {
      await operations.link(file, target);
      return { target, number, isSecondName: true };
    } catch (fault) {
      const errno = errnoOf(fault) ?? '';
      if (errno === 'EEXIST') {
        if (await isSame(target)) return { target, number, isSecondName: true };
      } else if (!withoutLinks.has(errno)) {
        throw fault;
      } else if ((await operations.facts(target)) === undefined) {
        await operations.rename(file, target);
        return { target, number, isSecondName: false };
      }
    }
    number += 1;
  }
  throw new Error('This is a bug: the names never end');
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
  const { target, number, wasThere } = await nameForCopy(operations, content, folder);
  if (wasThere) return { target, wasThere };
  const temporary = temporaryPath(content.source, folder);
  await orRemove(operations, temporary, async () => {
    await content.writeTo(operations, temporary);
    await operations.sync(temporary);
  });
  const given = await giveName(operations, temporary, folder, { name: content.name, from: number });
  await operations.sync(folder);
  if (given.isSecondName) await unlinkIfThere(operations, temporary);
  return { target: given.target, wasThere: false };
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

/**
 * Moves a file into a folder under the first free name. The whole file has a name at every moment. If a move is
 * killed, the next move completes it.
 *
 * - On one file system: `link` adds the new name, then the old name is removed. If a run finds both, it continues
 *   there.
 * - Across file systems: the file is copied under a temporary name and synced. Then `link` adds its name, the source
 *   is removed, and the temporary name last. A temporary name of a file with a second name means that the copy is
 *   complete. Without links, a process killed between the naming and the removal leaves a copy, and the next move
 *   makes another.
 * @param from the first number worth trying
 * @throws NotSortedError; errors of the operations
 */
export async function moveFile(
  operations: FileOperations,
  source: string,
  folder: string,
  from = 1,
): Promise<GivenName> {
  const facts = await operations.facts(source);
  if (!facts) throw new NotSortedError('It no longer exists.');
  if (!facts.isFile()) {
    // A relative target would be wrong in another folder.
    throw new NotSortedError('It is a symbolic link, which is not moved; name the file it points to.');
  }
  const completed = await completeMove(operations, source, folder);
  if (completed !== undefined) return { target: completed, number: 1, isSecondName: true };
  const hasOtherNames = facts.nlink > 1n;
  const naming: Naming = {
    name: basename(source),
    from: hasOtherNames ? 1 : from,
    async isSame(target) {
      const taken = await operations.facts(target);
      // With one link only, the target is the same name seen by another path, which must not be removed.
      return hasOtherNames && taken !== undefined && isSameFile(taken, facts);
    },
  };
  let given: GivenName;
  try {
    given = await giveName(operations, source, folder, naming);
  } catch (fault) {
    if (errnoOf(fault) !== 'EXDEV') throw fault;
    return await moveAcross(operations, { source, facts }, folder, { ...naming, isSame: async () => false });
  }
  if (given.isSecondName) await removeSource(operations, source, [given.target]);
  return given;
}

async function moveAcross(
  operations: FileOperations,
  { source, facts }: { readonly source: string; readonly facts: FileFacts },
  folder: string,
  naming: Naming,
): Promise<GivenName> {
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
  const given = await giveName(operations, temporary, folder, naming);
  await operations.sync(folder);
  const copies = given.isSecondName ? [given.target, temporary] : [given.target];
  await removeSource(operations, source, copies);
  if (given.isSecondName) await operations.unlink(temporary);
  return given;
}

/** Completes a move that was killed before it removed the source. @returns the target; undefined if there is none */
async function completeMove(
  operations: FileOperations,
  source: string,
  folder: string,
): Promise<string | undefined> {
  const temporary = temporaryPath(source, folder);
  const begun = await operations.facts(temporary);
  if (!begun) return undefined;
  // Another file may have the same path now.
  if (begun.nlink > 1n && (await haveSameContent(source, temporary))) {
    for (const name of await readdir(folder)) {
      const target = join(folder, name);
      if (target === temporary) continue;
      const found = await operations.facts(target);
      if (!found || !isSameFile(found, begun)) continue;
      await operations.sync(folder);
      await operations.unlink(source);
      await operations.unlink(temporary);
      return target;
    }
  }
  await operations.unlink(temporary);
  return undefined;
}

/** Removes the source. On failure the copies are removed instead, so that the file stays in one place. */
async function removeSource(
  operations: FileOperations,
  source: string,
  made: readonly string[],
): Promise<void> {
  try {
    await operations.unlink(source);
  } catch (fault) {
    if (errnoOf(fault) === 'ENOENT') return;
    for (const path of made) await operations.unlink(path);
    throw fault;
  }
}

function isSameFile(a: FileFacts, b: FileFacts): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
