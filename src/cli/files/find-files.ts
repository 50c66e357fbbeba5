import type { Dirent } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { reasonOf } from '../usage-error.ts';

/** A regular file that may be a picture. */
export interface FoundFile {
  readonly path: string;
  /** Named on the command line itself, not found in a folder: then it has to be a picture. */
  readonly isNamed: boolean;
}

interface UnreadablePath {
  readonly path: string;
  readonly error: string;
}

interface FoundFiles {
  /** Each path once; the entries of a folder in the order of their names. */
  readonly files: readonly FoundFile[];
  readonly unreadable: readonly UnreadablePath[];
  /** Number of entries left out because their names begin with a dot. */
  readonly hidden: number;
  /** Number of symbolic links left out. */
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
  let hidden = 0;
  let links = 0;
  const known = new Set<string>();
  const walked = new Set<string>();
  const exception = except === undefined ? undefined : await identify(except).catch(() => undefined);
  if (exception) walked.add(exception.id);

  const take = (path: string, isNamed: boolean) => {
    const absolute = resolve(path);
    if (known.has(absolute)) return;
    known.add(absolute);
    files.push({ path, isNamed });
  };

  const walk = async (folder: string, id: string): Promise<void> => {
    signal.throwIfAborted();
    if (walked.has(id)) return;
    walked.add(id);
    const entries = await readdir(folder, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (entry.name.startsWith('.')) hidden += 1;
      else await visit(join(folder, entry.name), entry);
    }
  };

  const visit = (path: string, entry: Dirent): Promise<void> =>
    orUnreadable(path, async () => {
      const kind = await kindOf(path, entry);
      if (kind === 'link' && !followLinks) {
        links += 1;
        return;
      }
      if (kind === 'file') return take(path, false);
      // Pipes, sockets and devices.
      if (kind === 'other') return;
      const { id, isFolder, isFile } = await identify(path);
      if (isFolder) await walk(path, id);
      else if (isFile) take(path, false);
    });

  const orUnreadable = async (path: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (fault) {
      signal.throwIfAborted();
      unreadable.push({ path, error: `It cannot be read, because ${reasonOf(fault)}.` });
    }
  };

  for (const path of paths) {
    await orUnreadable(path, async () => {
      const { id, isFolder } = await identify(path);
      if (isFolder) await walk(path, id);
      else take(path, true);
    });
  }
  return { files, unreadable, hidden, links };
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
