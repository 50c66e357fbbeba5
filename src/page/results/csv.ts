import { csvCell } from '../../csv-cell.ts';

/** A CSV document with a byte order mark, by which spreadsheets know it for UTF-8. */
export function csvText(rows: readonly (readonly (string | number | null)[])[]): string {
  return `\ufeff${rows.map((row) => `${row.map(csvCell).join(',')}\r\n`).join('')}`;
}
