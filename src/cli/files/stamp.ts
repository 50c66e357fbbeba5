import type { Stats } from 'node:fs';

/**
 * What tells a file from another one under the same path without reading it. Nobody can set the time of change: also
 * a copy that keeps its modification time, a rename over the old file and a memory card of the same name have
 * another one.
 */
export interface FileStamp {
  /** In bytes. */
  readonly size: number;
  /** Times in milliseconds since 1970, with their fractions. */
  readonly modifiedMs: number;
  readonly changedMs: number;
}

export function stampOf({ size, mtimeMs, ctimeMs }: Stats): FileStamp {
  return { size, modifiedMs: mtimeMs, changedMs: ctimeMs };
}

export function isSameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.size === b.size && a.modifiedMs === b.modifiedMs && a.changedMs === b.changedMs;
}
