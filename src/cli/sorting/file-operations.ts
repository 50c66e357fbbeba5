import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { open, readdir } from 'node:fs/promises';
import { basename, join, parse, resolve } from 'node:path';
import { errnoOf } from '../../errors.ts';

/** What `lstat` tells, as far as sorting asks. */
interface FileFacts {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  isFile(): boolean;
  isSymbolicLink(): boolean;
}

/** The steps that sorting is made of. Tests let each of them fail, and end the process before and after. */
export interface FileOperations {
  /** Undefined: there is nothing of this name. */
  facts(path: string): Promise<FileFacts | undefined>;
  makeFolder(path: string): Promise<void>;
  /** A second name for a file. @throws EEXIST where the name is taken: the one way to never overwrite */
  link(existing: string, name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Copies content, permissions and times. What has the name loses it, and other names of it stay whole. */
  copy(from: string, to: string): Promise<void>;
  /** As `copy`. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Resolves when a file or a folder's list of names would survive a power cut. */
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
    // Shares the blocks instead of copying them, where the file system can.
    await fs.copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    const { atimeMs, mtimeMs } = await fs.stat(from);
    // Not `utimes`: that would follow a link that somebody has put in its place meanwhile.
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
      // Some file systems have nothing to do for a folder, and say so.
      if (errnoOf(error) !== 'EINVAL') throw error;
    } finally {
      await file.close();
    }
  },
};

/** Leaves room for ` (2)` within the 255 bytes that file systems allow. */
const MAX_FOLDER_NAME_BYTES = 200;

/** Windows takes these for devices, with any extension; sorted folders end up on USB sticks. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)/i;

/**
 * A folder name for every label: one component, never hidden, never `.` or `..`, sound on every file system.
 * Labels that would share a folder, also where upper and lower case are the same, are told apart by ` (2)`.
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
    // Separators, what Windows refuses, and control characters.
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, '_')
    .replace(/^ +/, '')
    .replace(/^\.+/, (dots) => '_'.repeat(dots.length))
    .replace(deviceName, (device) => `${device}_`);
  // Windows drops these at the end.
  return shorten(name, MAX_FOLDER_NAME_BYTES).replace(/[ .]+$/, '') || '_';
}

/** As file systems without case compare names. */
export function foldCase(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase();
}

/** The longest beginning of whole characters, as a person counts them, that has at most `maxBytes` in UTF-8. */
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

/** What file systems allow for one component. */
const MAX_NAME_BYTES = 255;

/** `photo.jpg`, `photo (2).jpg`, `photo (3).jpg`, …: what a file may be called where names are taken. */
export function* numberedNames(name: string, from = 1): Generator<string> {
  if (from <= 1) yield name;
  const { name: stem, ext } = parse(name);
  for (let copy = Math.max(2, from); ; copy++) {
    const ending = ` (${copy})${ext}`;
    yield shorten(stem, MAX_NAME_BYTES - Buffer.byteLength(ending)) + ending;
  }
}

/** What `link` fails with on FAT, network drives and the like, and for files of other people. */
const withoutLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

interface GivenName {
  readonly target: string;
  /** 1 for the file's own name, 2 for `name (2)`. */
  readonly number: number;
  /** Whether the old name is there, too, to be removed. */
  readonly isSecondName: boolean;
}

/**
 * Gives a file of the same file system the first free name in a folder. Linking cannot overwrite; where
 * there are no links, the name is looked up first, and only another program could take it in between.
 * @param isOurs whether a name that is taken leads to this file already
 * @throws EXDEV where the folder lies on another file system
 */
async function giveName(
  operations: FileOperations,
  file: string,
  folder: string,
  { name, from = 1 }: { readonly name: string; readonly from?: number },
  isOurs: (target: string) => Promise<boolean> = async () => false,
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
        if (await isOurs(target)) return { target, number, isSecondName: true };
      } else if (!withoutLinks.has(errno)) {
        throw fault;
      } else if ((await operations.facts(target)) === undefined) {
        await operations.rename(file, target);
        return { target, number, isSecondName: false };
      }
    }
    number += 1;
  }
  throw new Error('the names never end: this is a bug');
}

const pattern = /^\.classify-[0-9a-f]{16}\.part$/;

/**
 * Where a file is copied to before it gets its name. The same source has the same one in every run, so that
 * a run finds what one that was killed had begun.
 */
export function temporaryPath(source: string, folder: string): string {
  const digest = createHash('sha256').update(resolve(source)).digest('hex');
  return join(folder, `.classify-${digest.slice(0, 16)}.part`);
}

export function isTemporaryName(name: string): boolean {
  return pattern.test(name);
}

/** What a new file is made of. */
export interface Content {
  /** Bytes. */
  readonly size: bigint;
  /** What it is called where the name is free. */
  readonly name: string;
  /** Where it comes from: tells its temporary file from those of others. */
  readonly source: string;
  isIn(path: string): Promise<boolean>;
  writeTo(operations: FileOperations, path: string): Promise<void>;
}

interface Copied {
  readonly target: string;
  /** Whether the same content was there already under that name. */
  readonly wasThere: boolean;
}

/**
 * The name that a copy has or will have: that of an equal file of the name, or the first free one.
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
  throw new Error('the names never end: this is a bug');
}

/** Makes a file in a folder. It appears under its name when it is complete and on the disk for good. */
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

/** Writes a temporary file; what cannot be written whole does not stay on what may be a full disk. */
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

/** A file could not be sorted and stays where it is; the others can. The message is a sentence. */
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
    // One of them has become shorter meanwhile.
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
 * Moves a file into a folder under the first free name. At every moment the whole file has a name; a move
 * that was killed anywhere is completed by the next one.
 *
 * - On one file system: a second name by `link`, then the first is removed. Whoever finds both, goes on there.
 * - Across file systems: a copy under a temporary name, on the disk for good (`fsync`) before it gets its
 *   name by `link`, then the source is removed, the temporary name last. Whoever finds a temporary name of
 *   a file that has another one, too, knows that the copy was complete. Where there are no links, a process
 *   that is killed between the name and the removal leaves a copy, and the next move makes a second one.
 * @param from the first number worth trying
 * @throws NotSortedError; what the operations throw
 */
export async function moveFile(
  operations: FileOperations,
  source: string,
  folder: string,
  from = 1,
): Promise<GivenName> {
  const facts = await operations.facts(source);
  if (!facts) throw new NotSortedError('It is gone.');
  if (!facts.isFile()) {
    // Its target may be relative, and lead nowhere from another folder.
    throw new NotSortedError('It is a symbolic link, which is not moved; name the file that it leads to.');
  }
  const completed = await completeMove(operations, source, folder);
  if (completed !== undefined) return { target: completed, number: 1, isSecondName: true };
  const hasOtherNames = facts.nlink > 1n;
  const naming = { name: basename(source), from: hasOtherNames ? 1 : from };
  let given: GivenName;
  try {
    given = await giveName(operations, source, folder, naming, async (target) => {
      const taken = await operations.facts(target);
      // One link only: the same name seen by another way, which must not be removed.
      return hasOtherNames && taken !== undefined && isSameFile(taken, facts);
    });
  } catch (fault) {
    if (errnoOf(fault) !== 'EXDEV') throw fault;
    return await moveAcross(operations, source, facts, folder, naming);
  }
  if (given.isSecondName) await removeSource(operations, source, [given.target]);
  return given;
}

async function moveAcross(
  operations: FileOperations,
  source: string,
  facts: FileFacts,
  folder: string,
  naming: { readonly name: string; readonly from: number },
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
    throw new NotSortedError('It was changed while it was being moved, and stays where it is.');
  }
  const given = await giveName(operations, temporary, folder, naming);
  await operations.sync(folder);
  const copies = given.isSecondName ? [given.target, temporary] : [given.target];
  await removeSource(operations, source, copies);
  if (given.isSecondName) await operations.unlink(temporary);
  return given;
}

/** @returns where the file is, if an earlier move had come so far that only the source was left to be removed */
async function completeMove(
  operations: FileOperations,
  source: string,
  folder: string,
): Promise<string | undefined> {
  const temporary = temporaryPath(source, folder);
  const begun = await operations.facts(temporary);
  if (!begun) return undefined;
  // Another file may have come to the same place since.
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

/** Where it cannot be removed, what was made of it is taken back: it stays in one place. */
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
