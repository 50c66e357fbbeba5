import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { errnoOf } from '../../errors.ts';
import { foldCase, folderNames, numberedNames } from '../../file-names.ts';
import { type Companions, companionNames, createCompanions, renamedWith } from '../files/companions.ts';
import { folderFault } from '../output/claim.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import {
  type Content,
  type FileOperations,
  fileOperations,
  hasContent,
  haveSameContent,
  isTemporaryName,
  makeCopy,
  moveFile,
  NameTakenError,
  NotSortedError,
  nameForCopy,
  SourceError,
} from './file-operations.ts';
import { completeBegunMove, createMoveLog, type FileMove } from './move-log.ts';

interface SorterOptions {
  /** Parent of the category folders, which are created when needed. */
  readonly directory: string;
  readonly labels: readonly string[];
  readonly action: 'move' | 'copy';
  readonly companions?: Companions;
  /** The folder below the category's that a file goes to; '' for the category's own. */
  readonly subfolderOf?: (source: string) => string;
  readonly operations?: FileOperations;
}

/** Where a photo is after it was sorted. */
export interface Sorted {
  readonly path: string;
  /** Whether nothing had to be done: it, or an equal copy, was there. */
  readonly wasThere: boolean;
  /** Companions that could not be copied, each with a sentence. */
  readonly left: readonly { readonly path: string; readonly error: string }[];
}

/**
 * Puts files into folders by category, and their companions with them. Files are never overwritten: if a name is
 * taken, ` (2)` is added. A second run changes nothing: files in their folder stay, and an equal copy is not made
 * twice.
 */
export interface Sorter {
  /** Completes what a killed run had begun. To be called before files are looked for. */
  recover(): Promise<void>;
  /** @throws NotSortedError; UsageError if no other file could be sorted either */
  place(source: string, category: string): Promise<Sorted>;
  /** @param source the origin of the bytes, the same in every run */
  placeBytes(name: string, bytes: Uint8Array, source: string, category: string): Promise<string>;
  /** Where `place` would put the file after everything planned so far. */
  plan(source: string, category: string): Promise<string>;
  /** Removes temporary names that killed runs left for complete files, and folders that stayed empty. */
  finish(): Promise<void>;
  /** The log of the moves of this run; undefined if there were none. */
  readonly log: string | undefined;
}

/** No other file could be written either. */
const fatalErrnos = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);

export function createSorter({
  directory,
  labels,
  action,
  companions = createCompanions(),
  subfolderOf = () => '',
  operations = fileOperations,
}: SorterOptions): Sorter {
  const names = folderNames(labels);
  const made = new Set<string>();
  const planned = new Set<string>();
  /** [folded target path] the number to try first, for many files of one name. */
  const nextNumbers = new Map<string, number>();
  const log = createMoveLog(operations, directory);

  const folderOf = (category: string): string => {
    const name = names.get(category);
    if (name === undefined) throw new Error(`This is a bug: no folder for ${JSON.stringify(category)}`);
    return join(directory, name);
  };

  const makeFolder = async (folder: string): Promise<void> => {
    if (made.has(folder)) return;
    await operations.makeFolder(folder);
    await operations.sync(dirname(folder));
    // The name is predictable: in a shared folder, another user may have put a link there.
    if ((await operations.facts(folder))?.isSymbolicLink()) {
      throw new UsageError(
        `${folder} is a symbolic link, which is not followed; remove it, or use another folder than ${directory}.`,
      );
    }
    made.add(folder);
  };

  const makeFolderFor = async (source: string, category: string): Promise<string> => {
    let folder = folderOf(category);
    await makeFolder(folder).catch((fault: unknown) => {
      throw folderFault(folder, fault);
    });
    for (const part of subfolderOf(source).split(sep)) {
      folder = join(folder, part);
      await makeFolder(folder).catch((fault: unknown) => {
        const explained = folderFault(folder, fault);
        // Other photos may have other subfolders.
        const isFatal = explained === fault || fatalErrnos.has(errnoOf(fault) ?? '');
        throw isFatal || !(explained instanceof Error) ? explained : new NotSortedError(explained.message);
      });
    }
    return folder;
  };

  const orFault = async <T>(source: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (fault) {
      if (fault instanceof SourceError) {
        throw new NotSortedError(
          `It cannot be moved away from ${dirname(source)}, because ${reasonOf(fault.cause)}; use --copy-to.`,
        );
      }
      const errno = errnoOf(fault);
      if (errno === undefined) throw fault;
      if (fatalErrnos.has(errno)) {
        throw new UsageError(`${source} cannot be put into ${directory}, because ${reasonOf(fault)}.`);
      }
      throw new NotSortedError(`It cannot be put into ${directory}, because ${reasonOf(fault)}.`);
    }
  };

  /** The companions that can go along: links stay, as for photos. */
  const companionsOf = async (source: string): Promise<readonly string[]> => {
    const found: string[] = [];
    for (const path of await companions.of(source)) {
      if ((await operations.facts(path))?.isFile()) found.push(path);
    }
    return found;
  };

  /** Names of a photo and its companions that may be free, in turn. */
  async function* candidates(source: string, folder: string, isFree: (path: string) => Promise<boolean>) {
    const name = basename(source);
    const others = await companionsOf(source);
    const longest = Math.max(0, ...others.map((path) => bytesIn(basename(path)) - bytesIn(name)));
    const key = foldCase(join(folder, name));
    let number = nextNumbers.get(key) ?? 1;
    for (const candidate of numberedNames(name, number, longest)) {
      const files: FileMove[] = [
        { from: source, to: join(folder, candidate) },
        ...others.map((from) => ({ from, to: join(folder, renamedWith(basename(from), name, candidate)) })),
      ];
      // A photo must not get the sidecar or video of another one either.
      const strangers = companionNames(candidate).map((stranger) => join(folder, stranger));
      const free = await Promise.all([...files.map(({ to }) => to), ...strangers].map(isFree));
      number += 1;
      if (!free.every(Boolean)) continue;
      if (number > 2) nextNumbers.set(key, number);
      yield files;
    }
  }

  const checkSource = async (source: string): Promise<void> => {
    const facts = await operations.facts(source);
    if (!facts) throw new NotSortedError('It no longer exists.');
    if (action === 'move' && !facts.isFile()) {
      // A relative target would be wrong in another folder.
      throw new NotSortedError('It is a symbolic link, which is not moved; name the file it points to.');
    }
  };

  const isFree = async (path: string) => (await operations.facts(path)) === undefined;

  const move = async (source: string, folder: string): Promise<string> => {
    for await (const files of candidates(source, folder, isFree)) {
      const id = await log.begin(files);
      try {
        await moveTogether(operations, files);
      } catch (fault) {
        if (fault instanceof TornError) throw fault.cause;
        await log.end(id, 'cancelled');
        // Another program was faster.
        if (fault instanceof NameTakenError) continue;
        throw fault;
      }
      await log.end(id, 'done');
      return files[0]?.to ?? source;
    }
    throw new Error('This is a bug: the names never end');
  };

  const copy = async (source: string, folder: string): Promise<Sorted> => {
    const copied = await makeCopy(operations, await contentOf(source), folder);
    const left: Sorted['left'][number][] = [];
    for (const path of await companionsOf(source)) {
      const name = renamedWith(basename(path), basename(source), basename(copied.target));
      const to = join(folder, name);
      try {
        if (await isFree(to)) await makeCopy(operations, { ...(await contentOf(path)), name }, folder);
        else if (!(await haveSameContent(path, to))) {
          left.push({ path, error: `It is not copied, because there is another file ${to}.` });
        }
      } catch (fault) {
        const errno = errnoOf(fault);
        if (errno === undefined || fatalErrnos.has(errno)) throw fault;
        left.push({ path, error: `It cannot be copied to ${to}, because ${reasonOf(fault)}.` });
      }
    }
    return { path: copied.target, wasThere: copied.wasThere, left };
  };

  return {
    get log() {
      return log.path;
    },

    recover: () => (action === 'move' ? completeBegunMove(operations, directory) : Promise.resolve()),

    place: (source, category) =>
      orFault(source, async () => {
        await checkSource(source);
        const folder = await makeFolderFor(source, category);
        if (await liesIn(folder, source)) return { path: source, wasThere: true, left: [] };
        if (action === 'copy') return await copy(source, folder);
        return { path: await move(source, folder), wasThere: false, left: [] };
      }),

    placeBytes: (name, bytes, source, category) =>
      orFault(source, async () => {
        const folder = await makeFolderFor(source, category);
        return (await makeCopy(operations, contentOfBytes(name, bytes, source), folder)).target;
      }),

    plan: (source, category) =>
      orFault(source, async () => {
        await checkSource(source);
        const folder = join(folderOf(category), subfolderOf(source));
        if (await liesIn(folder, source)) return source;
        const isPlanned = (path: string) => planned.has(foldCase(path));
        let files: readonly FileMove[] = [];
        if (action === 'copy') {
          const { target } = await nameForCopy(operations, await contentOf(source), folder, isPlanned);
          files = [{ from: source, to: target }];
        } else {
          const isUnplanned = async (path: string) => !isPlanned(path) && (await isFree(path));
          for await (const found of candidates(source, folder, isUnplanned)) {
            files = found;
            break;
          }
        }
        for (const { to } of files) planned.add(foldCase(to));
        return files[0]?.to ?? source;
      }),

    async finish() {
      for (const name of names.values()) {
        const folder = join(directory, name);
        const found = await readdir(folder, { recursive: true }).catch(() => []);
        for (const path of found) {
          if (isTemporaryName(basename(path))) await removeSecondName(operations, join(folder, path));
        }
      }
      // The inner ones first.
      for (const folder of [...made].toReversed()) await operations.removeEmpty(folder);
    },
  };
}

function bytesIn(name: string): number {
  return Buffer.byteLength(name);
}

/** A photo and its companions are in two places, because moving and moving back have failed. */
class TornError extends Error {
  override readonly name = 'TornError';
}

/**
 * Moves all files or none.
 * @throws the error of the file that cannot be moved; TornError with that error, if others cannot be moved back
 */
async function moveTogether(operations: FileOperations, files: readonly FileMove[]): Promise<void> {
  const moved: FileMove[] = [];
  try {
    for (const file of files) {
      await moveFile(operations, file.from, file.to);
      moved.push(file);
    }
  } catch (cause) {
    try {
      for (const { from, to } of moved.toReversed()) await moveFile(operations, to, from);
    } catch {
      throw new TornError('The files are in two places', { cause });
    }
    throw cause;
  }
}

/** A name that cannot be removed is harmless: it is hidden and uses no space. */
async function removeSecondName(operations: FileOperations, path: string): Promise<void> {
  try {
    const facts = await operations.facts(path);
    if (facts !== undefined && facts.nlink > 1n) await operations.unlink(path);
  } catch (fault) {
    if (errnoOf(fault) === undefined) throw fault;
  }
}

/** Whether the file is in this folder; paths may differ. */
async function liesIn(folder: string, source: string): Promise<boolean> {
  const [wanted, present] = await Promise.all([
    stat(folder, { bigint: true }).catch(() => undefined),
    stat(dirname(source), { bigint: true }),
  ]);
  return wanted !== undefined && wanted.dev === present.dev && wanted.ino === present.ino;
}

async function contentOf(source: string): Promise<Content> {
  const { size } = await stat(source, { bigint: true });
  return {
    size,
    name: basename(source),
    source,
    isIn: (path) => haveSameContent(source, path),
    writeTo: (operations, path) => operations.copy(source, path),
  };
}

function contentOfBytes(name: string, bytes: Uint8Array, source: string): Content {
  return {
    size: BigInt(bytes.byteLength),
    name,
    source: `${source}/${name}`,
    isIn: (path) => hasContent(path, bytes),
    writeTo: (operations, path) => operations.write(path, bytes),
  };
}
