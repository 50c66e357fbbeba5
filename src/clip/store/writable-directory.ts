import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { storageFailure } from './storage-error.ts';

/**
 * Creates a folder if need be and proves by writing that it can be written: permission bits say
 * nothing about read-only mounts, quotas or a superuser.
 * @throws ModelStoreError storage_full, storage_failed
 */
export async function proveWritable(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
    const probe = join(directory, `.probe-${process.pid}-${crypto.randomUUID().slice(0, 8)}`);
    try {
      await writeFile(probe, 'x', { flag: 'wx' });
    } finally {
      await rm(probe, { force: true });
    }
  } catch (error) {
    throw storageFailure(directory, error);
  }
}

/**
 * The first folder of the list that can be written.
 * @throws ModelStoreError storage_full, storage_failed: why the last one cannot
 */
export async function firstWritable(directories: readonly string[]): Promise<string> {
  let reason: unknown;
  for (const directory of directories) {
    try {
      await proveWritable(directory);
      return directory;
    } catch (error) {
      reason = error;
    }
  }
  throw reason;
}
