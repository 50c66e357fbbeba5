import { readdirSync, readFileSync } from 'node:fs';
import { residentMemory } from './process-usage.ts';

/** Watches how large the children of a process become; they are usually gone before anybody asks. */
export interface ChildWatch extends Disposable {
  readonly peakBytes: number;
}

const INTERVAL_MS = 20;

export function watchChildren(pid: number): ChildWatch {
  let peakBytes = 0;
  const look = () => {
    for (const child of childrenOf(pid)) {
      try {
        peakBytes = Math.max(peakBytes, residentMemory(child).peakBytes || 0);
      } catch {
        // It has just ended.
      }
    }
  };
  const timer = setInterval(look, INTERVAL_MS);
  return {
    get peakBytes() {
      return peakBytes;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
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
