import type { CgroupFindings } from '../service/running-service.ts';
import { megabytes } from './table.ts';

/** What a service took at its most, in a sentence; and, where it lived under a limit, whether it kept to that. */
export function memoryNote(runs: readonly (CgroupFindings & { readonly peakBytes: number })[]): string {
  const most = (bytes: readonly number[]) => megabytes(Math.max(...bytes));
  const resident = `Peak memory ${most(runs.map(({ peakBytes }) => peakBytes))}`;
  const charged = runs.map(({ cgroupPeakBytes }) => cgroupPeakBytes).filter((bytes) => bytes !== undefined);
  if (charged.length === 0) return `${resident}.`;
  const kills = runs.reduce((sum, run) => sum + (run.kills ?? 0), 0);
  return `${resident}; of its control group, page cache included, ${most(charged)}, ${kills} killed.`;
}
