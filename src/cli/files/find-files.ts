import type { Dirent } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { mediumOf } from '../../contract/media-endings.ts';
import { errnoOf } from '../../errors.ts';
import { reasonOf } from '../usage-error.ts';

/** A file or a photo of an archive that may be a picture. */
export interface FoundFile {
  readonly path: string;
  /** Named on the command line itself, not found in a folder: then it has to be a picture. */
  readonly isNamed: boolean;
  /** The folder of a file that was found, as a path within the folder that the command line names. */
  readonly subfolder?: string;
  /** If it is not a file of this computer, but in an archive or in object storage. */
  readonly content?: StoredContent;
}

/** The content of a photo that is not a file of this computer. */
export interface StoredContent {
  /** In bytes. */
  readonly size: number;
  /** @returns the beginning: at least `bytes` of it, or all of a shorter file; more if that costs nothing */
  read(bytes: number): Promise<Uint8Array>;
}

interface UnreadablePath {
  readonly path: string;
  readonly error: string;
  /** A symbolic link to a file that does not exist, in a folder: it stays unreadable. */
  readonly isDangling: boolean;
}

/** Pictures and videos that are left out on purpose: one, or all of a folder. */
interface LeftOut {
  readonly path: string;
  /** A sentence. */
  readonly reason: string;
  /** What is left out, singular, for a count: `hidden picture`. */
  readonly what: string;
  readonly number: number;
}

export interface FoundFiles {
  /** Each path once; the entries of a folder in the order of their names. */
  readonly files: readonly FoundFile[];
  readonly unreadable: readonly UnreadablePath[];
  readonly leftOut: readonly LeftOut[];
  /** Number of other files left out because their names begin with a dot. */
  readonly hidden: number;
  /** Number of other symbolic links left out. */
  readonly links: number;
}

export interface FindOptions {
  /** A folder to leave out, because its files are sorted already. It may be missing. */
  readonly except?: string;
  /** Follow symbolic links in folders. Each folder is searched once, so circles of links end. */
  readonly followLinks: boolean;
  readonly signal: AbortSignal;
}

/** Lists the files that the paths name: files themselves, folders with all subfolders. */
export async function findFiles(
  paths: readonly string[],
  { except, followLinks, signal }: FindOptions,
): Promise<FoundFiles> {
  const files: FoundFile[] = [];
  const unreadable: UnreadablePath[] = [];
  const leftOut: LeftOut[] = [];
  let hidden = 0;
  let links = 0;
  const known = new Set<string>();
  const walked = new Set<string>();
  const exception = except === undefined ? undefined : await identify(except).catch(() => undefined);

  const take = (path: string, named: string) => {
    const absolute = resolve(path);
    if (known.has(absolute)) return;
    known.add(absolute);
    const isNamed = path === named;
    files.push({ path, isNamed, ...(!isNamed && { subfolder: relative(named, dirname(path)) }) });
  };

  const walk = async (folder: string, id: string, named: string): Promise<void> => {
    signal.throwIfAborted();
    if (walked.has(id)) return;
    walked.add(id);
    if (id === exception?.id) {
      await leaveOut(folder, 'sorted picture', 'it is the folder to sort into');
      return;
    }
    const entries = await readdir(folder, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.name.startsWith('.')) await hide(path, entry);
      else await visit(path, entry, named);
    }
  };

  const hide = async (path: string, entry: Dirent): Promise<void> => {
    const kind = await kindOf(path, entry).catch(() => 'other');
    if (kind === 'file' && isMediumFile(path)) {
      leftOut.push({ path, reason: 'Its name begins with a dot.', what: 'hidden picture', number: 1 });
    } else if (kind !== 'folder' || !(await leaveOut(path, 'hidden picture', 'its name begins with a dot'))) {
      hidden += 1;
    }
  };

  /** @returns false if the folder has no pictures and videos */
  const leaveOut = async (folder: string, what: string, because: string): Promise<boolean> => {
    const number = await countMedia(folder, signal);
    if (number === 0) return false;
    const counted = number === 1 ? '1 picture or video' : `${number} pictures and videos`;
    leftOut.push({ path: folder, reason: `${counted} in it left out, because ${because}.`, what, number });
    return true;
  };

  const visit = (path: string, entry: Dirent, named: string): Promise<void> =>
    orUnreadable(path, async () => {
      const kind = await kindOf(path, entry);
      if (kind === 'link' && !followLinks) return await leaveLink(path);
      if (kind === 'file') return take(path, named);
      const { id, isFolder, isFile } = await identify(path);
      if (isFolder) await walk(path, id, named);
      // Pipes, sockets and devices that are named like pictures are reported when they are read.
      else if (isFile || isMediumFile(path)) take(path, named);
    });

  const leaveLink = async (path: string): Promise<void> => {
    const isFolder = (await identify(path).catch(() => undefined))?.isFolder ?? false;
    if (!isFolder && !isMediumFile(path)) {
      links += 1;
      return;
    }
    const reason = `It is a symbolic link${isFolder ? ' to a folder' : ''}, which --move-to does not follow.`;
    leftOut.push({ path, reason, what: 'symbolic link', number: 1 });
  };

  const orUnreadable = async (path: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (fault) {
      signal.throwIfAborted();
      const dangles = await isDangling(path, fault);
      const error = dangles
        ? 'It is a symbolic link to a file that does not exist.'
        : `It cannot be read, because ${reasonOf(fault)}.`;
      unreadable.push({ path, error, isDangling: dangles });
    }
  };

  for (const path of paths) {
    await orUnreadable(path, async () => {
      const { id, isFolder } = await identify(path);
      if (isFolder) await walk(path, id, path);
      else take(path, path);
    });
  }
  return { files, unreadable, leftOut, hidden, links };
}

async function isDangling(path: string, fault: unknown): Promise<boolean> {
  if (errnoOf(fault) !== 'ENOENT') return false;
  return (await lstat(path).catch(() => undefined))?.isSymbolicLink() ?? false;
}

/** Files that macOS writes beside others on foreign disks are named like them, and are never pictures. */
function isMediumFile(path: string): boolean {
  return mediumOf(path) !== undefined && !basename(path).startsWith('._');
}

/** The number of pictures and videos in a folder, by their names. Links are not followed. */
async function countMedia(folder: string, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  let number = 0;
  // What cannot be read cannot be counted.
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    const kind = await kindOf(path, entry).catch(() => 'other');
    if (kind === 'folder') number += await countMedia(path, signal);
    else if (isMediumFile(path)) number += 1;
  }
  return number;
}

type Kind = 'file' | 'folder' | 'link' | 'other';

/** Some file systems list names without kinds. */
async function kindOf(path: string, entry: Dirent): Promise<Kind> {
  const known = kindIn(entry);
  return known === 'other' ? kindIn(await lstat(path)) : known;
}

function kindIn(entry: Pick<Dirent, 'isFile' | 'isDirectory' | 'isSymbolicLink'>): Kind {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'folder';
  return entry.isSymbolicLink() ? 'link' : 'other';
}

async function identify(path: string) {
  const found = await stat(path, { bigint: true });
  return { id: `${found.dev}:${found.ino}`, isFolder: found.isDirectory(), isFile: found.isFile() };
}
