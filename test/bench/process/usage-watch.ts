import { descendantsOf } from './child-processes.ts';
import { folderBytes } from './folder-space.ts';
import { type ProcessUsage, processUsage, residentMemory } from './process-usage.ts';

/** What a process and its children have used in a stretch of time. */
export interface Usage extends ProcessUsage {
  /** Resident memory of the process, at its most. */
  readonly peakBytes: number;
  /** Of its largest child, at its most. */
  readonly childPeakBytes: number;
  /** In the temporary folder, at the most. */
  readonly temporaryBytes: number;
}

/** Watches a process from outside, so that it can be told what it used even when it is gone. */
export interface UsageWatch extends Disposable {
  /** Begins a new stretch of time. */
  begin(): void;
  /** What was used since the stretch began. */
  since(): Usage;
}

const INTERVAL_MS = 50;

export function watchUsage(pid: number, temporaryFolder: string): UsageWatch {
  let start: ProcessUsage = processUsage(pid);
  let last: ProcessUsage = start;
  let peakBytes = 0;
  let childPeakBytes = 0;
  let temporaryBytes = 0;
  const look = () => {
    try {
      last = processUsage(pid);
      peakBytes = Math.max(peakBytes, residentMemory(pid).nowBytes || 0);
    } catch {
      return; // It is gone; what was seen last counts.
    }
    const children = descendantsOf(pid);
    for (const child of children) {
      try {
        childPeakBytes = Math.max(childPeakBytes, residentMemory(child).nowBytes || 0);
      } catch {
        // It has just ended.
      }
    }
    temporaryBytes = Math.max(temporaryBytes, folderBytes(temporaryFolder, [pid, ...children]));
  };
  const timer = setInterval(look, INTERVAL_MS);
  return {
    begin() {
      look();
      start = last;
      peakBytes = childPeakBytes = temporaryBytes = 0;
      look();
    },
    since() {
      look();
      return {
        cpuSeconds: last.cpuSeconds - start.cpuSeconds,
        mainThreadSeconds: last.mainThreadSeconds - start.mainThreadSeconds,
        peakBytes,
        childPeakBytes,
        temporaryBytes,
      };
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
