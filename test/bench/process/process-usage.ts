import { readFileSync } from 'node:fs';

/** What a process has used, read from Linux's /proc. */
export interface ProcessUsage {
  /** Processor time of all threads, and of children that have ended, user and system, in seconds. */
  readonly cpuSeconds: number;
  /** Of the main thread alone, on which all JavaScript of the service's shell runs. */
  readonly mainThreadSeconds: number;
}

/** Linux counts in hundredths of a second, whatever its own tick is. */
const TICKS_PER_SECOND = 100;

export function processUsage(pid: number): ProcessUsage {
  return {
    cpuSeconds: sumOfTimes(`/proc/${pid}/stat`, ['utime', 'stime', 'cutime', 'cstime']),
    mainThreadSeconds: sumOfTimes(`/proc/${pid}/task/${pid}/stat`, ['utime', 'stime']),
  };
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

export function residentMemory(pid: number): ResidentMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { nowBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
}
