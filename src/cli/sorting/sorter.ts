import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf } from '../../errors.ts';
import { folderFault } from '../output/claim.ts';
import { reasonOf, UsageError } from '../usage-error.ts';
import {
  type Content,
  type FileOperations,
  fileOperations,
  foldCase,
  folderNames,
  hasContent,
  haveSameContent,
  isTemporaryName,
  makeCopy,
  moveFile,
  NotSortedError,
  nameForCopy,
} from './file-operations.ts';

interface SorterOptions {
  /** Parent of the category folders, which are created when needed. */
  readonly directory: string;
  readonly labels: readonly string[];
  readonly action: 'move' | 'copy';
  readonly operations?: FileOperations;
}

/**
 * Puts files into folders by category. Files are never overwritten: if a name is taken, ` (2)` is added. A second run
 * changes nothing: files in their folder stay, and an equal copy is not made twice.
 */
interface Sorter {
  /**
   * @returns where the file is now
   * @throws NotSortedError; UsageError if no other file could be sorted either
   */
  place(source: string, category: string): Promise<string>;
  /** @param source the origin of the bytes, the same in every run */
  placeBytes(name: string, bytes: Uint8Array, source: string, category: string): Promise<string>;
  /** Where `place` would put the file after everything planned so far. */
  plan(source: string, category: string): Promise<string>;
  /** Removes temporary names that killed runs left for complete files. */
  finish(): Promise<void>;
}

/** No other file could be written either. */
const fatalErrnos = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);

export function createSorter({
  directory,
  labels,
  action,
  operations = fileOperations,
}: SorterOptions): Sorter {
  const names = folderNames(labels);
  const made = new Set<string>();
  const planned = new Set<string>();
  /** [folded target path] the number to try first, for many files of one name. */
  const nextNumbers = new Map<string, number>();

  const folderOf = (category: string): string => {
    const name = names.get(category);
    if (name === undefined) throw new Error(`This is a bug: no folder for ${JSON.stringify(category)}`);
    return join(directory, name);
  };

  const makeFolder = async (category: string): Promise<string> => {
    const folder = folderOf(category);
    if (made.has(folder)) return folder;
    try {
      await operations.makeFolder(folder);
      await operations.sync(directory);
    } catch (fault) {
      throw folderFault(folder, fault);
    }
    // The name is predictable: in a shared folder, another user may have put a link there.
    if ((await operations.facts(folder))?.isSymbolicLink()) {
      throw new UsageError(
        `${folder} is a symbolic link, which is not followed; remove it, or use another folder than ${directory}.`,
      );
    }
    made.add(folder);
    return folder;
  };

  const orFault = async (source: string, work: () => Promise<string>): Promise<string> => {
    try {
      return await work();
    } catch (fault) {
      const errno = errnoOf(fault);
      if (errno === undefined) throw fault;
      if (fatalErrnos.has(errno)) {
        throw new UsageError(`${source} cannot be put into ${directory}, because ${reasonOf(fault)}.`);
      }
      throw new NotSortedError(`It cannot be put into ${directory}, because ${reasonOf(fault)}.`);
    }
  };

  const move = async (source: string, folder: string): Promise<string> => {
    const key = foldCase(join(folder, basename(source)));
    const { target, number } = await moveFile(operations, source, folder, nextNumbers.get(key));
    if (number > 1) nextNumbers.set(key, number + 1);
    return target;
  };

  return {
    place: (source, category) =>
      orFault(source, async () => {
        const folder = await makeFolder(category);
        if (await liesIn(folder, source)) return source;
        if (action === 'move') return await move(source, folder);
        return (await makeCopy(operations, await contentOf(source), folder)).target;
      }),

    placeBytes: (name, bytes, source, category) =>
      orFault(source, async () => {
        const folder = await makeFolder(category);
        return (await makeCopy(operations, contentOfBytes(name, bytes, source), folder)).target;
      }),

    plan: (source, category) =>
      orFault(source, async () => {
        const folder = folderOf(category);
        if (await liesIn(folder, source)) return source;
        const content = await contentOf(source);
        // A move keeps both files, even if they are equal.
        const kept: Content = action === 'move' ? { ...content, isIn: async () => false } : content;
        const { target } = await nameForCopy(operations, kept, folder, (path) => planned.has(foldCase(path)));
        planned.add(foldCase(target));
        return target;
      }),

    async finish() {
      for (const folder of names.values()) {
        const path = join(directory, folder);
        for (const name of await readdir(path).catch(() => [])) {
          if (isTemporaryName(name)) await removeSecondName(operations, join(path, name));
        }
      }
    },
  };
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
