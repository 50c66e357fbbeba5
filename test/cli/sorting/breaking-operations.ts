import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileOperations, fileOperations } from '../../../src/cli/sorting/file-operations.ts';

/** The process was killed at this step. */
export class KilledError extends Error {}

export interface Circumstances {
  /** Paths with this prefix are on another file system. */
  readonly otherDisk?: string;
  /** Whether the file system of `otherDisk`, or the only one, supports hard links. */
  readonly hasLinks?: boolean;
  /** Steps before the process is killed; a write as last step is done halfway. */
  readonly killedAfter?: number;
  /** Writing fails halfway. */
  readonly isFull?: boolean;
  /** Removing fails, as in a read-only folder. */
  readonly isReadOnly?: (path: string) => boolean;
}

const failure = (code: string) => Object.assign(new Error(code), { code });

/** The real operations with injected faults. */
export function operationsUnder(circumstances: Circumstances): FileOperations & { readonly steps: number } {
  const { otherDisk, hasLinks = true, killedAfter = Infinity, isReadOnly, isFull = false } = circumstances;
  let steps = 0;
  const isOther = (path: string) => otherDisk !== undefined && path.startsWith(otherDisk);
  const step = async (work: () => Promise<void>, half?: () => Promise<void>) => {
    if (steps > killedAfter) throw new KilledError();
    steps += 1;
    if (steps > killedAfter) {
      await half?.();
      throw new KilledError();
    }
    await work();
  };
  const acrossDisks = (from: string, to: string) => {
    if (isOther(from) !== isOther(to)) throw failure('EXDEV');
  };
  const writeHalf = async (path: string) => {
    await fileOperations.write(path, Buffer.from('ha'));
  };
  const writing = async (path: string, work: () => Promise<void>) => {
    if (!isFull) return await work();
    await writeHalf(path);
    throw failure('ENOSPC');
  };
  return {
    get steps() {
      return steps;
    },
    facts: fileOperations.facts,
    makeFolder: (path) => step(() => fileOperations.makeFolder(path)),
    link: (existing, name) =>
      step(async () => {
        // The kernel also checks first whether the name is taken.
        if ((await fileOperations.facts(name)) !== undefined) throw failure('EEXIST');
        acrossDisks(existing, name);
        if (!hasLinks) throw failure('EPERM');
        await fileOperations.link(existing, name);
      }),
    rename: (from, to) =>
      step(async () => {
        acrossDisks(from, to);
        await fileOperations.rename(from, to);
      }),
    unlink: (path) =>
      step(async () => {
        if (isReadOnly?.(path)) throw failure('EACCES');
        await fileOperations.unlink(path);
      }),
    copy: (from, to) =>
      step(
        () => writing(to, () => fileOperations.copy(from, to)),
        () => writeHalf(to),
      ),
    write: (path, bytes) =>
      step(
        () => writing(path, () => fileOperations.write(path, bytes)),
        () => writeHalf(path),
      ),
    append: (path, text) =>
      step(
        () => fileOperations.append(path, text),
        () => fileOperations.append(path, text.slice(0, text.length / 2)),
      ),
    async checkWritable(folder) {
      if (isReadOnly?.(join(folder, 'any'))) throw failure('EACCES');
    },
    removeEmpty: fileOperations.removeEmpty,
    sync: (path) =>
      step(async () => {
        await using _ = await open(path, 'r');
      }),
  };
}
