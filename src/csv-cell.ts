/**
 * Text that a spreadsheet may run as a formula: a sign, after characters that it may ignore. East Asian versions accept
 * signs of full width. Text that begins with an apostrophe is guarded, too, so that `withoutFormulaGuard` restores it.
 * (csv-stringify's `escape_formulas` knows neither full width nor ignored characters, and adds 10 KB to the page.)
 */
const FORMULA = /^'*(?:[\s\p{Cc}\p{Cf}]*[=+\-@＝＋－＠]|[\t\r\n])/u;

/**
 * One value of a CSV file (RFC 4180). Text that a spreadsheet would run as a formula gets an apostrophe before it,
 * because file names may come from strangers. Negative numbers stay numbers.
 */
export function csvCell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The text that was given to `csvCell`, from the cell that a reader of CSV returns. */
export function withoutFormulaGuard(cell: string): string {
  return cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell;
}
