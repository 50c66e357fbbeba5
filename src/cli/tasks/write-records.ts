import type { LineFormat, OutputRecord, Table } from '../output/line-format.ts';
import { openStandardOutput, writeOutput } from '../output/output.ts';
import type { CommandTerminal } from '../terminal/command-terminal.ts';

/** Writes answers that are all known at once. */
export async function writeRecords(
  file: string | undefined,
  format: LineFormat,
  table: Table,
  records: readonly OutputRecord[],
  terminal: CommandTerminal,
): Promise<void> {
  if (file !== undefined) return await writeOutput(file, format, table, records);
  await using output = await openStandardOutput(terminal.print, format, table);
  for (const record of records) await output.write(record);
}
