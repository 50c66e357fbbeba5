import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errnoOf } from '../files/errno.ts';
import { orRemove } from './copy-file.ts';
import type { FileFacts, FileOperations } from './file-operations.ts';
import { type GivenName, giveName } from './give-name.ts';
import { NotSortedError } from './not-sorted-error.ts';
import { haveSameContent } from './same-content.ts';
import { temporaryPath } from './temporary-name.ts';

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
