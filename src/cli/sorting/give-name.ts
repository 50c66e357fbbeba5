import { join } from 'node:path';
import { errnoOf } from '../files/errno.ts';
import type { FileOperations } from './file-operations.ts';
import { numberedNames } from './numbered-names.ts';

/** What `link` fails with on FAT, network drives and the like, and for files of other people. */
const withoutLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

export interface GivenName {
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
export async function giveName(
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
