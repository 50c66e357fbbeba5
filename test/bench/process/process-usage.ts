import { readFileSync } from 'node:fs';

/** What a process has used, read from Linux's /proc. */
export interface ProcessUsage {
  /** Processor time of all threads, user and system, in seconds. */
  readonly cpuSeconds: number;
  /** Of the main thread alone, on which all JavaScript of the service's shell runs. */
  readonly mainThreadSeconds: number;
}

/** Linux counts in hundredths of a second, whatever its own tick is. */
const TICKS_PER_SECOND = 100;

export function processUsage(pid: number): ProcessUsage {
  return {
    cpuSeconds: cpuSeconds(`/proc/${pid}/stat`),
    mainThreadSeconds: cpuSeconds(`/proc/${pid}/task/${pid}/stat`),
  };
}

function cpuSeconds(path: string): number {
  const stat = readFileSync(path, 'latin1');
  // The second field, the name, may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
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
