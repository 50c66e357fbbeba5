import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A memory limit as a container has it: all that is charged to its processes counts, the page cache included. */
export interface MemoryCgroup extends AsyncDisposable {
  /** Runs `start`; the processes that it spawns before it returns live under the limit. */
  enclose<Result>(start: () => Result): Result;
  /** Since it was made, or since `forgetPeak`. */
  readonly peakBytes: number;
  readonly usedBytes: number;
  /** Where the system cannot do it (version 2), the peak stays that since the beginning. */
  forgetPeak(): void;
  /** Processes killed because memory ran out. */
  readonly kills: number;
}

interface Layout {
  readonly own: string;
  readonly limit: string;
  readonly peak: string;
  readonly used: string;
  readonly events: string;
}

/**
 * Makes a control group nested in our own. It takes root and, with version 2, a parent that hands the memory
 * controller down.
 * @throws where the system does not allow it
 */
export function createMemoryCgroup(limitBytes: number): MemoryCgroup {
  const { own, limit, peak, used, events } = layout();
  const group = join(own, `bench-${process.pid}-${performance.now().toFixed(0)}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, limit), String(limitBytes));
  } catch (fault) {
    rmdirSync(group);
    throw fault;
  }
  const move = (folder: string) => writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
  return {
    enclose(start) {
      // A child begins in its parent's group: nothing it does escapes the count.
      move(group);
      try {
        return start();
      } finally {
        move(own);
      }
    },
    get peakBytes() {
      return Number(readFileSync(join(group, peak), 'latin1'));
    },
    get usedBytes() {
      return Number(readFileSync(join(group, used), 'latin1'));
    },
    forgetPeak() {
      try {
        writeFileSync(join(group, peak), '0');
      } catch {
        // The file is read-only in version 2.
      }
    },
    get kills() {
      return Number(/^oom_kill (\d+)/m.exec(readFileSync(join(group, events), 'latin1'))?.[1] ?? 0);
    },
    async [Symbol.asyncDispose]() {
      // The kernel takes a moment to see that the last process is gone.
      for (let tries = 0; tries < 50; tries++) {
        try {
          rmdirSync(group);
          return;
        } catch {
          await Bun.sleep(100);
        }
      }
    },
  };
}

function layout(): Layout {
  const membership = readFileSync('/proc/self/cgroup', 'latin1');
  const first = /^\d+:memory:(.*)$/m.exec(membership)?.[1];
  if (first !== undefined) {
    return {
      own: join('/sys/fs/cgroup/memory', first),
      limit: 'memory.limit_in_bytes',
      peak: 'memory.max_usage_in_bytes',
      used: 'memory.usage_in_bytes',
      events: 'memory.oom_control',
    };
  }
  const second = /^0::(.*)$/m.exec(membership)?.[1];
  if (second === undefined) throw new Error('This system has no memory control groups.');
  return {
    own: join('/sys/fs/cgroup', second),
    limit: 'memory.max',
    peak: 'memory.peak',
    used: 'memory.current',
    events: 'memory.events',
  };
}
