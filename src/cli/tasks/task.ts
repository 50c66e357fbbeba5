import type { Answers } from '../answers/answers.ts';
import type { Command } from '../arguments.ts';
import type { LineFormat, OutputRecord, Table } from '../output/line-format.ts';
import { openStandardOutput, type ReservedOutput } from '../output/output.ts';
import { NotSortedError } from '../sorting/file-operations.ts';
import type { CommandTerminal } from '../terminal/command-terminal.ts';
import type { Tally } from './tally.ts';

/** Sorts one file. One that cannot be sorted is named, and does not end the run. */
export async function orFault<T>(tally: Tally, file: string, sort: () => Promise<T>): Promise<T | undefined> {
  try {
    return await sort();
  } catch (fault) {
    if (!(fault instanceof NotSortedError)) throw fault;
    tally.fault(file, fault.message);
    return undefined;
  }
}

/**
 * Writes answers that are all known at once.
 * @param reserved undefined: to standard output
 */
export async function writeRecords(
  reserved: ReservedOutput | undefined,
  records: readonly OutputRecord[],
  {
    format,
    table,
    terminal,
  }: { readonly format: LineFormat; readonly table: Table; readonly terminal: CommandTerminal },
): Promise<void> {
  if (reserved !== undefined) return await reserved.write(records, format, table);
  await using output = await openStandardOutput(terminal.print, format, table);
  for (const record of records) await output.write(record);
}

/** Counts hidden files and links of folders, which are left out. */
export function countLeftOut(
  { hidden, links }: { readonly hidden: number; readonly links: number },
  tally: Tally,
): void {
  tally.skip('hidden', hidden);
  tally.skip('symbolic links', links);
}

/** What every task receives. */
export interface TaskParts {
  readonly command: Command;
  readonly labels: readonly string[];
  readonly terminal: CommandTerminal;
  readonly tally: Tally;
  /** Called only where there is a file to answer for, because loading the model takes seconds. */
  readonly openAnswers: () => Promise<Answers>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}
