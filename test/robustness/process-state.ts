import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { residentMemory } from '../bench/process/process-usage.ts';

/** What a process holds, seen from outside (Linux's /proc). */
export interface ProcessState {
  readonly fileDescriptors: number;
  readonly threads: number;
  readonly residentBytes: number;
  /** Paths below the temporary folder. */
  readonly temporaryFiles: readonly string[];
}

export function processState(pid: number, temporaryFolder: string): ProcessState {
  return {
    fileDescriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
    residentBytes: residentMemory(pid).nowBytes,
    temporaryFiles: (readdirSync(temporaryFolder, { recursive: true }) as string[]).sort(),
  };
}

/** What each descriptor leads to, for a person who looks for a leak. */
export function openFiles(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).map((descriptor) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${descriptor}`);
    } catch {
      return 'closed';
    }
  });
}

/**
 * Waits until a process holds no more descriptors and temporary files than it did. Connections take a moment
 * to be closed.
 * @returns what it holds then, or after `patienceMs`
 */
export async function settledState(
  pid: number,
  temporaryFolder: string,
  before: ProcessState,
  patienceMs = 20_000,
): Promise<ProcessState> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const state = processState(pid, temporaryFolder);
    const isSettled =
      state.fileDescriptors <= before.fileDescriptors &&
      state.temporaryFiles.length <= before.temporaryFiles.length;
    if (isSettled || performance.now() > until) return state;
    await Bun.sleep(100);
  }
}

/** Peak resident memory since the last call, in bytes. */
export function takePeakBytes(pid: number): number {
  const { peakBytes } = residentMemory(pid);
  // 5: forget the peak (proc(5), clear_refs).
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  return peakBytes;
}
