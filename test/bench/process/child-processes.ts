import { readdirSync, readFileSync } from 'node:fs';

/** Children, their children, and so on. */
export function descendantsOf(pid: number): number[] {
  try {
    return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
  } catch {
    return []; // It has just ended.
  }
}

/** Any of a process's threads may be the parent. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1');
      return children.split(' ').filter(Boolean).map(Number);
    } catch {
      return []; // a thread that has just ended
    }
  });
}
