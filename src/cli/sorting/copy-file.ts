import { join } from 'node:path';
import { errnoOf } from '../files/errno.ts';
import type { FileOperations } from './file-operations.ts';
import { giveName } from './give-name.ts';
import { numberedNames } from './numbered-names.ts';
import { temporaryPath } from './temporary-name.ts';

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

export interface Copied {
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
export async function orRemove(
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
