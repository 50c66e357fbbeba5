import { CsvError, parse } from 'csv-parse/sync';
import { malformed } from './malformed.ts';

/** `Category` or `Categories` alone on the first line that has anything, not in quotes. */
const headerLine = /^\s*categor(?:y|ies)[^\S\r\n]*[\r\n]/i;

/**
 * All cells of a CSV document, row by row. One document has one delimiter beside the end of a line:
 * - tabs, if there is one between two labels,
 * - else semicolons, if there is one (that of an HTML entity such as `&amp;` does not count),
 * - else commas.
 *
 * So lists with tabs or semicolons may have commas in their labels; elsewhere, also where there is one
 * label a line, a comma separates, and a label with a comma stands in double quotes. A double quote within
 * a label that does not begin with one is itself (`5" pipe`). A header line `category` or `categories`,
 * in any case, is left out where something follows it; in quotes it is a label.
 * @returns trimmed, without empty ones
 * @throws ServiceError categories_malformed with the line
 */
export function parseCsvLabels(text: string): readonly string[] {
  const labels = parseCells(text)
    .map((cell) => cell.trim())
    .filter((cell) => cell !== '');
  return labels.length > 1 && headerLine.test(text) ? labels.slice(1) : labels;
}

function parseCells(text: string): readonly string[] {
  try {
    return parse(text, {
      delimiter: sniffDelimiter(text),
      record_delimiter: ['\r\n', '\n', '\r'],
      relax_column_count: true,
      relax_quotes: true,
      skip_empty_lines: true,
      // Without it a space before an opening quote would make the quote part of the label.
      trim: true,
    }).flat();
  } catch (fault) {
    if (fault instanceof CsvError) throw malformedCsv(text, fault);
    throw fault;
  }
}

function sniffDelimiter(text: string): string {
  // The quote comes before its lookbehind, which would otherwise walk back from every position.
  const bare = text.replace(/"(?<=(?:^|[,;\t\r\n])[^\S\r\n]*")[^"]*"(?:"[^"]*")*/g, 'quoted');
  // A tab beside a comma or a semicolon only aligns.
  if (/[^\s,;] *\t[ \t]*[^\s,;]/.test(bare)) return '\t';
  return bare.replace(/&#?\w{1,32};/g, '').includes(';') ? ';' : ',';
}

function malformedCsv(text: string, fault: CsvError) {
  const { code, lines, bytes_records } = fault;
  if (code === 'CSV_QUOTE_NOT_CLOSED') {
    // The fault is noticed at the end; what helps is where the record began, after any empty lines.
    const document = Buffer.from(text);
    const read = document.toString('utf8', 0, Number(bytes_records));
    const [empty = ''] = /^\s*/.exec(document.toString('utf8', Number(bytes_records))) ?? [];
    const line = `${read}${empty}`.split(/\r\n|\n|\r/).length;
    return malformed(`opens a double quote on line ${line} or after it and never closes it`, { line });
  }
  const line = Number(lines);
  const what = 'has something between a closing double quote and the next separator';
  return malformed(`${what} on line ${line}`, { line });
}
