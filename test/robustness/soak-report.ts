import { formatTable, megabytes, number } from '../bench/report/table.ts';
import type { Explosion } from './attacks/bombs.ts';
import type { OverloadReport } from './attacks/overload.ts';
import type { Stalls } from './probe.ts';
import type { ProcessState } from './process-state.ts';
import type { Tally } from './tally.ts';
import { type Trend, trendOf } from './trend.ts';

export interface SoakReport {
  readonly tally: Tally;
  readonly before: ProcessState;
  readonly after: ProcessState;
  /** What its descriptors lead to in the end. */
  readonly openAfter: readonly string[];
  /** Resident memory at the end of each round, when all garbage is collected. */
  readonly memory: readonly (readonly [minutes: number, bytes: number])[];
  /** Answers a second. */
  readonly perSecondBefore: number;
  readonly perSecondAfter: number;
  readonly flooded: OverloadReport | undefined;
  readonly explosions: readonly Explosion[];
  /** What the probe beside each attack waited for at most. */
  readonly stalls: Stalls;
  readonly loggedErrors: readonly unknown[];
}

/** Caches fill, code is compiled, and the allocator finds its size, in the first part of the run. */
const WARM_UP = 0.3;
/** Above this, after the warm-up, it is growth: 20 minutes would be 10 MB. */
const MAX_BYTES_PER_MINUTE = 0.5e6;

/** @returns whether all is well */
export function printReport(report: SoakReport): boolean {
  const { tally, before, after, flooded, explosions } = report;
  const rows = [...tally.counts].flatMap(([attack, outcomes]) =>
    [...outcomes].map(([outcome, count]) => [`${attack}: ${outcome}`, String(count)] as const),
  );
  console.log(formatTable({ title: 'Answers', columns: ['attack', 'answers'], rows }));
  const growth = memoryGrowth(report.memory);
  const perMinute = (bytes: number) => (bytes / 1e6).toFixed(2);
  console.log(
    formatTable({
      title: 'The service',
      columns: ['', 'before', 'after'],
      rows: [
        ['file descriptors', String(before.fileDescriptors), String(after.fileDescriptors)],
        ['temporary files', String(before.temporaryFiles.length), String(after.temporaryFiles.length)],
        ['threads', String(before.threads), String(after.threads)],
        ['resident memory', megabytes(before.residentBytes), megabytes(after.residentBytes)],
        ['requests a second', number(report.perSecondBefore), number(report.perSecondAfter)],
      ],
      note: growth
        ? `Memory that is held, after the warm-up: ${perMinute(growth.slope)} MB a minute, standard error ${perMinute(growth.error)}.`
        : 'Too short a run to tell whether memory grows.',
    }),
  );
  if (flooded) console.log(overloadTable(flooded));
  if (explosions.length > 0) console.log(explosionTable(explosions));
  if (report.stalls.size > 0) console.log(stallTable(report.stalls));
  for (const fault of tally.faults) console.log(`FAULT ${fault}`);
  for (const error of report.loggedErrors) console.log(`LOGGED ${JSON.stringify(error)}`);

  const complaints = [
    tally.faultCount > 0 && `${tally.faultCount} answers broke the rules`,
    report.loggedErrors.length > 0 && `${report.loggedErrors.length} errors in the log`,
    after.fileDescriptors > before.fileDescriptors &&
      `file descriptors are left open: ${report.openAfter.join(', ')}`,
    after.temporaryFiles.length > before.temporaryFiles.length && 'temporary files are left behind',
    growth && isGrowth(growth) && 'memory grows',
  ].filter((complaint) => typeof complaint === 'string');
  console.log(complaints.length === 0 ? 'All is well.' : `NOT WELL: ${complaints.join('; ')}.`);
  return complaints.length === 0;
}

/** Bytes a minute after the warm-up; undefined for a run too short to tell. */
export function memoryGrowth(memory: SoakReport['memory']): Trend | undefined {
  const warm = memory.slice(Math.ceil(memory.length * WARM_UP));
  return warm.length < 5 ? undefined : trendOf(warm);
}

/** Whether it is too much, and more than the scatter of what was measured may feign. */
export function isGrowth({ slope, error }: Trend): boolean {
  return slope > MAX_BYTES_PER_MINUTE && slope > 2 * error;
}

function overloadTable(flooded: OverloadReport): string {
  const { accepted, refused, perSecondBefore, perSecondDuring, perSecondAfter } = flooded;
  const { acceptedMedianMs, acceptedP99Ms, refusedMedianMs, refusedP99Ms } = flooded;
  return formatTable({
    title: 'Ten times more requests than it can serve',
    columns: ['', 'number', 'median ms', 'p99 ms'],
    rows: [
      ['answered', String(accepted), number(acceptedMedianMs), number(acceptedP99Ms)],
      ['refused', String(refused), number(refusedMedianMs), number(refusedP99Ms)],
    ],
    note: `Answers a second: ${number(perSecondBefore)} before, ${number(perSecondDuring)} during, ${number(perSecondAfter)} after.`,
  });
}

function stallTable(stalls: Stalls): string {
  return formatTable({
    title: 'Longest waits beside the attacks',
    columns: ['attack', '/health, ms', 'a normal request, ms'],
    rows: [...stalls].map(([name, { healthMs, requestMs }]) => [name, number(healthMs), number(requestMs)]),
  });
}

function explosionTable(explosions: readonly Explosion[]): string {
  const worst = new Map<string, Explosion>();
  for (const explosion of explosions) {
    const { name, milliseconds } = explosion;
    if (milliseconds > (worst.get(name)?.milliseconds ?? 0)) worst.set(name, explosion);
  }
  return formatTable({
    title: 'Bombs that took longest',
    columns: ['', 'bytes', 'ms', 'peak memory'],
    rows: [...worst.values()]
      .sort((a, b) => b.milliseconds - a.milliseconds)
      .slice(0, 8)
      .map(({ name, bytes, milliseconds, peakBytes }) => [
        name,
        String(bytes),
        number(milliseconds),
        megabytes(peakBytes),
      ]),
  });
}
