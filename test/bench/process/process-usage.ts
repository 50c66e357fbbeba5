import { readFileSync } from 'node:fs';
import { descendantsOf } from './child-processes.ts';

/** What a process has used, read from Linux's /proc. */
export interface ProcessUsage {
  /** Processor time of all threads and of all children, running or ended, user and system, in seconds. */
  readonly cpuSeconds: number;
  /** Of the main thread alone, on which all JavaScript of the service's shell runs. */
  readonly mainThreadSeconds: number;
}

/** Linux counts in hundredths of a second, whatever its own tick is. */
const TICKS_PER_SECOND = 100;

export function processUsage(pid: number): ProcessUsage {
  return {
    cpuSeconds: [pid, ...descendantsOf(pid)].reduce((sum, id) => sum + allTimes(id), 0),
    mainThreadSeconds: sumOfTimes(`/proc/${pid}/task/${pid}/stat`, ['utime', 'stime']),
  };
}

/** The part of a process's `cpuSeconds` that its children have used, running or ended. */
export function childCpuSeconds(pid: number): number {
  const running = descendantsOf(pid).reduce((sum, id) => sum + allTimes(id), 0);
  return running + sumOfTimes(`/proc/${pid}/stat`, ['cutime', 'cstime']);
}

function allTimes(pid: number): number {
  try {
    return sumOfTimes(`/proc/${pid}/stat`, ['utime', 'stime', 'cutime', 'cstime']);
  } catch {
    return 0; // It has just ended: its time counts as its parent's.
  }
}

/** Where proc(5) has them, counted from the state, which follows the name. */
const timeFields = { utime: 11, stime: 12, cutime: 13, cstime: 14 } as const;

function sumOfTimes(path: string, names: readonly (keyof typeof timeFields)[]): number {
  const stat = readFileSync(path, 'latin1');
  // The name may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return names.reduce((sum, name) => sum + Number(fields[timeFields[name]]), 0) / TICKS_PER_SECOND;
}

/** Resident memory in bytes. */
export interface ResidentMemory {
  readonly nowBytes: number;
  /** Since the process began. */
  readonly peakBytes: number;
}

/**
 * Of a process and its descendants together. Pages that they share count for each of them.
 * @returns bytes; 0 where the process is gone
 */
export function residentTreeBytes(pid: number): number {
  const bytesOf = (id: number) => {
    try {
      return residentMemory(id).nowBytes || 0;
    } catch {
      return 0;
    }
  };
  return [pid, ...descendantsOf(pid)].reduce((sum, id) => sum + bytesOf(id), 0);
}

export function residentMemory(pid: number): ResidentMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { nowBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
}

/** Watches how large the children of a process become; they are usually gone before anybody asks. */
export interface ChildWatch extends Disposable {
  readonly peakBytes: number;
}

const INTERVAL_MS = 20;

export function watchChildren(pid: number): ChildWatch {
  let peakBytes = 0;
  const look = () => {
    for (const child of descendantsOf(pid)) {
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
