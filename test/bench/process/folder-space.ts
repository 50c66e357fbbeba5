import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Space that the files of a folder take on the disk, with those that have no name any more but are still open.
 * @param pids processes that may hold such files
 * @returns bytes
 */
export function folderBytes(folder: string, pids: readonly number[]): number {
  const sizes = new Map<number, number>();
  const count = (path: string) => {
    try {
      const { ino, blocks } = statSync(path);
      sizes.set(ino, blocks * 512);
    } catch {
      // It has just gone.
    }
  };
  for (const entry of namesIn(folder, true)) count(join(folder, entry));
  for (const pid of pids) {
    for (const descriptor of namesIn(`/proc/${pid}/fd`, false)) {
      const path = `/proc/${pid}/fd/${descriptor}`;
      if (targetOf(path).startsWith(folder)) count(path);
    }
  }
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function namesIn(folder: string, recursive: boolean): string[] {
  try {
    return readdirSync(folder, { recursive, encoding: 'utf8' });
  } catch {
    return [];
  }
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}
