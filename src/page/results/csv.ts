type Cell = string | number | null;

/**
 * A CSV document (RFC 4180) with a byte order mark, by which spreadsheets know it for UTF-8. Text that a
 * spreadsheet would run as a formula gets an apostrophe before it: file names may come from anywhere.
 */
export function csvText(rows: readonly (readonly Cell[])[]): string {
  return `\ufeff${rows.map((row) => `${row.map(cellText).join(',')}\r\n`).join('')}`;
}

function cellText(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
