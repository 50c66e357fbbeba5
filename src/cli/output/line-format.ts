import { CsvError, parse } from 'csv-parse/sync';
import { csvCell, withoutFormulaGuard } from '../../csv-cell.ts';
import { escapeJson, escapeText, unescapeText } from './escape-text.ts';

/** One answer, with the keys of the service's detailed answers. */
export type OutputRecord = Readonly<Record<string, unknown>>;

/** The keys that a table or a text line shows of a kind of answer. */
export interface Table {
  /** Columns of a CSV file. */
  readonly columns: readonly string[];
  /** Columns of plain text. A record without one of them is left out. */
  readonly words: readonly string[];
}

export const fileTable: Table = {
  columns: ['file', 'category', 'score', 'similarity', 'code', 'error'],
  words: ['category', 'file'],
};
/** Of answers with several categories. */
export const severalTable: Table = {
  columns: ['file', 'categories', 'score', 'similarity', 'code', 'error'],
  words: ['categories', 'file'],
};
export const bestFileTable: Table = {
  columns: ['category', 'file', 'score', 'similarity'],
  words: ['category', 'file'],
};
export const bestFrameTable: Table = {
  columns: ['category', 'file', 'timestamp', 'score', 'similarity'],
  words: ['category', 'file'],
};

export const similarFileTable: Table = { columns: ['similarity', 'file'], words: ['similarity', 'file'] };
export const duplicateFileTable: Table = {
  columns: ['group', 'similarity', 'file'],
  words: ['group', 'similarity', 'file'],
};

/** Adds columns at the end. */
export function withColumns({ columns, words }: Table, added: readonly string[]): Table {
  return { columns: [...columns, ...added], words: [...words, ...added] };
}

export type FormatName = 'text' | 'json' | 'csv';

/** How answers are written: one record each, ending in a line feed. */
export interface LineFormat {
  readonly name: FormatName;
  header(table: Table): string;
  /** Empty if this format leaves the record out. */
  line(record: OutputRecord, table: Table): string;
  /** Whether a line feed within double quotes belongs to the record. */
  readonly isQuoted: boolean;
  /** Reads a record without its line feed. Undefined: the text is not of this format. */
  parse(text: string, table: Table): OutputRecord | undefined;
}

/** `category<TAB>file`; `-` for no category. */
const text: LineFormat = {
  name: 'text',
  header: () => '',
  line(record, { words }) {
    if (words.some((word) => record[word] === undefined)) return '';
    return `${words.map((word) => textOf(word, record[word])).join('\t')}\n`;
  },
  isQuoted: false,
  parse(line, { words }) {
    const cells = line.split('\t').map((cell) => unescapeText(cell));
    if (cells.length !== words.length || cells.includes(undefined)) return undefined;
    return Object.fromEntries(words.map((word, index) => [word, cells[index]]));
  },
};

/**
 * A list in one cell: `a; b`. A backslash precedes a semicolon or a backslash within an item, and an item that is the
 * sign for none.
 */
function joinList(items: readonly unknown[]): string {
  return items.map((item) => String(item).replace(/[\\;]|^-$/g, '\\$&')).join('; ');
}

/** @returns the items of a cell that `joinList` wrote; none for an empty one and for the sign for none */
export function splitList(cell: string): readonly string[] {
  if (cell === '' || cell === '-') return [];
  const items = cell.match(/(?:^|; )(?:\\.|[^\\;])*/gsu) ?? [];
  return items.map((item, index) => (index === 0 ? item : item.slice(2)).replace(/\\(.)/gsu, '$1'));
}

/** A similarity has as many digits as a person compares; JSON and CSV have them all. */
function textOf(word: string, cell: unknown): string {
  if (cell === null || (Array.isArray(cell) && cell.length === 0)) return '-';
  if (Array.isArray(cell)) return escapeText(joinList(cell));
  return word === 'similarity' ? Number(cell).toFixed(3) : escapeText(String(cell));
}

/** JSON Lines: one object per line, so that an interrupted output is valid. */
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

/** RFC 4180 with line feeds. Spreadsheets do not run its cells as formulas. */
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
  if (Array.isArray(value)) return value.length === 0 ? null : joinList(value);
  return typeof value === 'number' ? value : String(value);
}

function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(csvCell).join(',')}\n`;
}
