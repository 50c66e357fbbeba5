import { CsvError, parse } from 'csv-parse/sync';
import { csvCell, withoutFormulaGuard } from '../../csv-cell.ts';
import { escapeJson, escapeText, unescapeText } from './escape-text.ts';

/** One answer, with the keys of the service's detailed answers. */
export type OutputRecord = Readonly<Record<string, unknown>>;

/** The kinds of answers, and which of their keys stand where only some can. */
export interface Table {
  /** Of a CSV file. */
  readonly columns: readonly string[];
  /** Of the plain text: what lacks one of these is left out. */
  readonly words: readonly string[];
}

export const fileTable: Table = {
  columns: ['file', 'category', 'score', 'similarity', 'code', 'error'],
  words: ['category', 'file'],
};
export const bestFileTable: Table = {
  columns: ['category', 'file', 'score', 'similarity'],
  words: ['category', 'file'],
};
export const bestFrameTable: Table = {
  columns: ['category', 'file', 'timestamp', 'score', 'similarity'],
  words: ['category', 'file'],
};

/** The same with a last column: where a file would be put. */
export function withTarget({ columns, words }: Table): Table {
  return { columns: [...columns, 'to'], words: [...words, 'to'] };
}

export type FormatName = 'text' | 'json' | 'csv';

/** How answers are written: each as one record that ends in a line feed. */
export interface LineFormat {
  readonly name: FormatName;
  /** What comes before the first record. */
  header(table: Table): string;
  /** Empty for what this format leaves out. */
  line(record: OutputRecord, table: Table): string;
  /** Whether a line feed within double quotes belongs to the record. */
  readonly isQuoted: boolean;
  /** Reads a record back, without its line feed. Undefined: it is none of this format. */
  parse(text: string, table: Table): OutputRecord | undefined;
}

/** `category<TAB>file`; `-` where there is none. */
const text: LineFormat = {
  name: 'text',
  header: () => '',
  line(record, { words }) {
    const cells = words.map((word) => record[word]);
    if (cells.includes(undefined)) return '';
    return `${cells.map((cell) => (cell === null ? '-' : escapeText(String(cell)))).join('\t')}\n`;
  },
  isQuoted: false,
  parse(line, { words }) {
    const cells = line.split('\t').map((cell) => unescapeText(cell));
    if (cells.length !== words.length || cells.includes(undefined)) return undefined;
    return Object.fromEntries(words.map((word, index) => [word, cells[index]]));
  },
};

/** JSON Lines: one object a line, so that half an output is as sound as a whole one. */
const json: LineFormat = {
  name: 'json',
  header: () => '',
  line: (record) => `${escapeJson(JSON.stringify(record))}\n`,
  isQuoted: false,
  parse(line) {
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
    } catch (fault) {
      if (!(fault instanceof SyntaxError)) throw fault;
    }
    return undefined;
  },
};

/** RFC 4180, with line feeds alone. A spreadsheet runs nothing of it as a formula. */
const csv: LineFormat = {
  name: 'csv',
  header: ({ columns }) => csvLine(columns),
  line: (record, { columns }) => csvLine(columns.map((column) => cellOf(record[column]))),
  isQuoted: true,
  parse(line, { columns }) {
    try {
      const [cells, ...more] = parse(line, { relax_column_count: true });
      if (cells?.length !== columns.length || more.length > 0) return undefined;
      return Object.fromEntries(
        columns.map((column, index) => [column, withoutFormulaGuard(cells[index] ?? '')]),
      );
    } catch (fault) {
      if (!(fault instanceof CsvError)) throw fault;
      return undefined;
    }
  },
};

export const lineFormats = { text, json, csv } as const;

function cellOf(value: unknown): string | number | null {
  if (value === undefined || value === null) return null;
  return typeof value === 'number' ? value : String(value);
}

function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(csvCell).join(',')}\n`;
}
