import { availableParallelism, cpus, totalmem } from 'node:os';

/** What the numbers were measured on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly bun: string;
  /** Load average at the beginning: above 0.5, others compute, too, and times are worth little. */
  readonly loadAverage: number;
  readonly date: string;
}

export async function describeMachine(): Promise<Machine> {
  const loads = await Bun.file('/proc/loadavg')
    .text()
    .catch(() => '');
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    bun: Bun.version,
    loadAverage: Number.parseFloat(loads),
    date: new Date().toISOString(),
  };
}

export function sentenceOf({ processor, cores, memoryBytes, bun, loadAverage, date }: Machine): string {
  const load = Number.isFinite(loadAverage) ? `, load average ${loadAverage} at the start` : '';
  return `${processor}, ${cores} cores, ${(memoryBytes / 1024 ** 3).toFixed(0)} GiB, Bun ${bun}, ${date}${load}`;
}
