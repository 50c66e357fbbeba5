import type { Category } from '../results/photo.ts';

/** Categories of a text, read by the rules of the service. */
export interface ParsedLabels {
  /** Trimmed, distinct, in the order written. */
  readonly labels: readonly string[];
  /** A sentence if the text cannot be read; then `labels` is empty. */
  readonly fault: string | undefined;
}

/** Reads what a person writes or pastes into the field: `dog = a dog | a puppy` is a category with its phrases. */
export function parseLabels(text: string): ParsedLabels {
  return parsed(isJson(text) ? jsonLabels(text) : separatedLabels(text, '=|'));
}

/** Reads a file that a person opens. It means the same as for the service, where a name may contain `=` and `|`. */
export function parseDocument(text: string): ParsedLabels {
  return parsed(isJson(text) ? jsonLabels(text) : separatedLabels(text, ''));
}

/** Whether a double quote is opened and not closed yet: what is written next belongs to the phrase. */
export function isInQuotes(text: string): boolean {
  return /(?:^|[,;=|])\s*"(?:[^"]|"")*$/.test(text);
}

const isJson = (text: string) => /^\s*[[{]/.test(text);

function parsed(read: readonly string[] | string): ParsedLabels {
  if (typeof read === 'string') return { labels: [], fault: read };
  const distinct = new Set(read.map((label) => label.trim()));
  distinct.delete('');
  return { labels: [...distinct], fault: undefined };
}

/**
 * Reads one category: `dog`; with the phrases that stand for it, `dog = a dog | a puppy`; or the phrases alone, of which
 * the first is also the name. A name or a phrase in double quotes may contain `=` and `|`.
 */
export function categoryOf(text: string): Category {
  const head = partAt(text, 0, '=|');
  const isNamed = text[head.end] === '=' && head.content !== '';
  const phrases: string[] = [];
  for (let at = isNamed ? head.end + 1 : 0; at <= text.length; ) {
    const { content, end } = partAt(text, at, '|');
    if (content !== '') phrases.push(content);
    at = end + 1;
  }
  const [first = text.trim()] = phrases;
  const name = isNamed ? head.content : first;
  return { name, phrases: phrases.length > 0 ? phrases : [name] };
}

/** @returns the part of a category that begins at `at`, and the offset of the sign after it */
function partAt(text: string, at: number, signs: string): { content: string; end: number } {
  const [all = '', content = ''] = /^\s*"((?:[^"]|"")*)"\s*/.exec(text.slice(at)) ?? [];
  const after = at + all.length;
  if (all !== '' && (after === text.length || signs.includes(text[after]!))) {
    return { content: content.replaceAll('""', '"').trim(), end: after };
  }
  let end = at;
  while (end < text.length && !signs.includes(text[end]!)) end++;
  return { content: text.slice(at, end).trim(), end };
}

/** Writes a name or a phrase so that `categoryOf` reads it. */
function quoted(text: string): string {
  return /^\s*"|[=|]/.test(text) ? `"${text.trim().replaceAll('"', '""')}"` : text;
}

function jsonLabels(text: string): readonly string[] | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'This starts like JSON, but is not valid JSON.';
  }
  const list: unknown = Array.isArray(value) ? value : (value as { categories?: unknown }).categories;
  if (typeof list !== 'object' || list === null) return 'This JSON has no list named "categories".';
  const labels = Array.isArray(list)
    ? list.map((label) => (typeof label === 'string' ? quoted(label) : undefined))
    : Object.entries(list).map(([name, phrases]) => categoryText(name, [phrases].flat()));
  return labels.every((label) => label !== undefined)
    ? labels
    : 'The list of categories has an entry that is not text.';
}

/** @returns undefined if a part of it is empty or is not text */
function categoryText(name: string, phrases: readonly unknown[]): string | undefined {
  const isText = (part: unknown): part is string => typeof part === 'string' && part.trim() !== '';
  if (!isText(name) || phrases.length === 0 || !phrases.every(isText)) return undefined;
  return `${quoted(name.trim())} = ${phrases.map((phrase) => quoted(phrase.trim())).join(' | ')}`;
}

const headerLine = /^\s*categor(?:y|ies)[^\S\r\n]*[\r\n]/i;

/** The signs within a category, after which quotes protect separators, too. */
type Signs = '' | '=|';

/** Reads lines, separated by tabs, else semicolons, else commas. Quotes protect separators. */
function separatedLabels(text: string, signs: Signs): readonly string[] | string {
  const cells = splitCells(text, delimiterOf(text, signs), signs);
  if (!cells) return 'A double quote is opened and never closed.';
  const labels = cells.map((cell) => cell.trim()).filter((cell) => cell !== '');
  return labels.length > 1 && headerLine.test(text) ? labels.slice(1) : labels;
}

function delimiterOf(text: string, signs: Signs): string {
  const quotes = new RegExp(`"(?<=(?:^|[,;\\t\\r\\n${signs}])[^\\S\\r\\n]*")[^"]*"(?:"[^"]*")*`, 'g');
  const bare = text.replace(quotes, 'quoted');
  if (/[^\s,;] *\t[ \t]*[^\s,;]/.test(bare)) return '\t';
  return bare.replace(/&#?\w{1,32};/g, '').includes(';') ? ';' : ',';
}

/** @returns as `categoryOf` reads them; undefined if a quote is not closed */
function splitCells(text: string, delimiter: string, signs: Signs): string[] | undefined {
  const cells: string[] = [];
  const separator = new RegExp(`[\\r\\n${delimiter}${signs}]`, 'g');
  const inQuotes = /[^\S\r\n]*"((?:[^"]|"")*)("?)/y;
  for (let at = 0; at < text.length; ) {
    let stop = at - 1;
    let content: string | undefined;
    do {
      inQuotes.lastIndex = stop + 1;
      const [all = '', phrase = '', end] = inQuotes.exec(text) ?? [];
      if (all !== '' && end === '') return undefined;
      if (all !== '' && stop < at) content = phrase.replaceAll('""', '"');
      separator.lastIndex = stop + 1 + all.length;
      stop = separator.exec(text)?.index ?? text.length;
    } while (stop < text.length && signs.includes(text[stop]!));
    const written = text.slice(at, stop);
    const isName = signs === '' || /^\s*"(?:[^"]|"")*"\s*$/.test(written);
    cells.push(isName ? quoted(content ?? written) : written);
    at = stop + 1;
  }
  return cells;
}
