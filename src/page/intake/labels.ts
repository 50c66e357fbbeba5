import type { Category } from '../results/photo.ts';

/** Categories of a text, read by the rules of the service. */
export interface ParsedLabels {
  /** Trimmed, distinct, in the order written. */
  readonly labels: readonly string[];
  /** A sentence if the text cannot be read; then `labels` is empty. */
  readonly fault: string | undefined;
}

/** Reads what a person writes, pastes or opens. */
export function parseLabels(text: string): ParsedLabels {
  const read = /^\s*[[{]/.test(text) ? jsonLabels(text) : separatedLabels(text);
  if (typeof read === 'string') return { labels: [], fault: read };
  const distinct = new Set(read.map((label) => label.trim()));
  distinct.delete('');
  return { labels: [...distinct], fault: undefined };
}

/**
 * Reads one category: `dog`; with the phrases that stand for it, `dog = a dog | a puppy`; or the phrases alone, of which
 * the first is also the name.
 */
export function categoryOf(text: string): Category {
  const [before = '', ...after] = text.split('=');
  const name = before.trim();
  const isNamed = after.length > 0 && name !== '';
  const phrases = (isNamed ? after.join('=') : text)
    .split('|')
    .map((phrase) => phrase.trim())
    .filter((phrase) => phrase !== '');
  const [first = text.trim()] = phrases;
  return { name: isNamed ? name : first, phrases: phrases.length > 0 ? phrases : [name || first] };
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
    ? list
    : Object.entries(list).map(([name, phrases]) =>
        Array.isArray(phrases) || typeof phrases === 'string'
          ? `${name} = ${[phrases].flat().join(' | ')}`
          : undefined,
      );
  return labels.every((label) => typeof label === 'string')
    ? labels
    : 'The list of categories has an entry that is not text.';
}

const headerLine = /^\s*categor(?:y|ies)[^\S\r\n]*[\r\n]/i;

/** Reads lines, separated by tabs, else semicolons, else commas. Quotes protect separators. */
function separatedLabels(text: string): readonly string[] | string {
  const cells = splitCells(text, delimiterOf(text));
  if (!cells) return 'A double quote is opened and never closed.';
  const labels = cells.map((cell) => cell.trim()).filter((cell) => cell !== '');
  return labels.length > 1 && headerLine.test(text) ? labels.slice(1) : labels;
}

function delimiterOf(text: string): string {
  const bare = text.replace(/"(?<=(?:^|[,;\t\r\n])[^\S\r\n]*")[^"]*"(?:"[^"]*")*/g, 'quoted');
  if (/[^\s,;] *\t[ \t]*[^\s,;]/.test(bare)) return '\t';
  return bare.replace(/&#?\w{1,32};/g, '').includes(';') ? ';' : ',';
}

/** @returns undefined if a quote is not closed */
function splitCells(text: string, delimiter: string): string[] | undefined {
  const cells: string[] = [];
  const separator = new RegExp(`[\\r\\n${delimiter}]`, 'g');
  const quoted = /[^\S\r\n]*"((?:[^"]|"")*)("?)/y;
  for (let at = 0; at < text.length; ) {
    quoted.lastIndex = at;
    const [all = '', content = '', end] = quoted.exec(text) ?? [];
    if (all !== '' && end === '') return undefined;
    separator.lastIndex = at + all.length;
    const stop = separator.exec(text)?.index ?? text.length;
    cells.push(all === '' ? text.slice(at, stop) : content.replaceAll('""', '"'));
    at = stop + 1;
  }
  return cells;
}
