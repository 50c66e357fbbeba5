/**
 * What a spreadsheet may run as a formula: a sign, after anything that it may pass over. The signs of full width count
 * in East Asian versions. Apostrophes in front are counted in, so that `withoutFormulaGuard` knows which one is ours.
 */
const FORMULA = /^'*(?:[\s\p{Cc}\p{Cf}]*[=+\-@＝＋－＠]|[\t\r\n])/u;

/**
 * One value of a CSV file (RFC 4180). Text that a spreadsheet would run as a formula gets an apostrophe before it:
 * file names and answers of others may come from anywhere. Numbers stay numbers, negative ones too.
 */
export function csvCell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The text that `csvCell` was given, of what a reader of CSV has found. */
export function withoutFormulaGuard(cell: string): string {
  return cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell;
}
