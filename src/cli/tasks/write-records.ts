import type { LineFormat, OutputRecord, Table } from '../output/line-format.ts';
import { openStandardOutput, type ReservedOutput } from '../output/output.ts';
import type { CommandTerminal } from '../terminal/command-terminal.ts';

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
