import { malformed } from './malformed.ts';

/** `Category` or `Categories` alone on the first line that has anything, not in quotes. */
const headerLine = /^categor(?:y|ies)[^\S\r\n]*[\r\n]/i;

const TAB = 9;
const LINE_FEED = 10;
const VERTICAL_TAB = 11;
const FORM_FEED = 12;
const CARRIAGE_RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const SEMICOLON = 59;

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
 *
 * The document is gone through character by character, twice: a general CSV parser takes twenty times as long, and
 * everything else waits for it.
 * @param maximum cells that are not empty, or are empty in quotes
 * @returns trimmed, without empty ones; undefined where there are more than `maximum`
 * @throws ServiceError categories_malformed with the line
 */
export function parseCsvLabels(text: string, maximum: number): readonly string[] | undefined {
  const labels: string[] = [];
  let cells = 0;
  for (const cell of readCells(text, sniffDelimiter(text))) {
    cells += 1;
    if (cells > maximum) return undefined;
    const label = cell.trim();
    if (label !== '') labels.push(label);
  }
  return labels.length > 1 && headerLine.test(text.trimStart()) ? labels.slice(1) : labels;
}

/** Cells as written, those in quotes without them; most of the empty ones are left out. */
function* readCells(text: string, delimiter: number): Generator<string> {
  for (let at = 0; at < text.length; at++) {
    at = skipBlanks(text, at, delimiter);
    if (text.charCodeAt(at) === QUOTE) {
      const { content, end } = readQuoted(text, at);
      at = skipBlanks(text, end, delimiter);
      if (at < text.length && !isSeparator(text.charCodeAt(at), delimiter)) {
        const line = lineOf(text, at);
        const what = 'has something between a closing double quote and the next separator';
        throw malformed(`${what} on line ${line}`, { line });
      }
      yield content;
      continue;
    }
    const start = at;
    while (at < text.length && !isSeparator(text.charCodeAt(at), delimiter)) at++;
    if (at > start) yield text.slice(start, at);
  }
}

/** @returns what stands between the quote at `at` and the one that closes it, and the offset behind that */
function readQuoted(text: string, at: number): { content: string; end: number } {
  const start = at + 1;
  let end = start;
  let isDoubled = false;
  for (; end < text.length; end++) {
    if (text.charCodeAt(end) !== QUOTE) continue;
    if (text.charCodeAt(end + 1) !== QUOTE) break;
    isDoubled = true;
    end++;
  }
  if (end >= text.length) {
    const line = lineOf(text, at);
    throw malformed(`opens a double quote on line ${line} and never closes it`, { line });
  }
  const content = text.slice(start, end);
  return { content: isDoubled ? content.replaceAll('""', '"') : content, end: end + 1 };
}

function skipBlanks(text: string, from: number, delimiter: number): number {
  let at = from;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === delimiter || !isBlank(code)) break;
  }
  return at;
}

function isSeparator(code: number, delimiter: number): boolean {
  return code === delimiter || code === LINE_FEED || code === CARRIAGE_RETURN;
}

function lineOf(text: string, at: number): number {
  let line = 1;
  for (let index = 0; index < at; index++) {
    const code = text.charCodeAt(index);
    if (code === LINE_FEED || (code === CARRIAGE_RETURN && text.charCodeAt(index + 1) !== LINE_FEED)) line++;
  }
  return line;
}

/** What the characters just gone by may be the beginning of: a tab between two labels. */
type BeforeTab = 'nothing' | 'label' | 'blanks' | 'tab';

function sniffDelimiter(text: string): number {
  let before: BeforeTab = 'nothing';
  let isCellStart = true;
  let hasSemicolon = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isDivider = code === COMMA || code === SEMICOLON;
    if (code === TAB) {
      // Behind a comma or a semicolon it only aligns.
      if (before === 'label' || before === 'blanks') before = 'tab';
      isCellStart = true;
    } else if (code === SPACE) {
      if (before === 'label') before = 'blanks';
    } else if (isDivider || isBlank(code) || code === LINE_FEED || code === CARRIAGE_RETURN) {
      before = 'nothing';
      isCellStart ||= isDivider || !isBlank(code);
      hasSemicolon ||= code === SEMICOLON && !endsReference(text, at);
    } else {
      if (before === 'tab') return TAB;
      before = 'label';
      if (code === QUOTE && isCellStart) at = endOfQuotes(text, at);
      isCellStart = false;
    }
  }
  return hasSemicolon ? SEMICOLON : COMMA;
}

/** Offset of the quote that closes the one at `from`; `from` where none does. */
function endOfQuotes(text: string, from: number): number {
  let end = from;
  let isOpen = true;
  for (let at = from + 1; at < text.length; at++) {
    if (text.charCodeAt(at) === QUOTE) {
      isOpen = !isOpen;
      if (!isOpen) end = at;
    } else if (!isOpen) break;
  }
  return end;
}

const MAXIMUM_REFERENCE_NAME = 32;

/** Whether the semicolon at `at` ends something like `&amp;` or `&#233;`. */
function endsReference(text: string, at: number): boolean {
  let start = at - 1;
  while (at - start <= MAXIMUM_REFERENCE_NAME && isWordCharacter(text.charCodeAt(start))) start--;
  if (start === at - 1) return false;
  return text[start] === '&' || (text[start] === '#' && text[start - 1] === '&');
}

function isWordCharacter(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x61 && code <= 0x7a) ||
    code === 0x5f
  );
}

/** White space that begins no line. */
function isBlank(code: number): boolean {
  if (code < 0x80) return code === SPACE || code === TAB || code === FORM_FEED || code === VERTICAL_TAB;
  return wideBlanks.has(code);
}

const wideBlanks: ReadonlySet<number> = new Set(
  Array.from(
    '\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff',
    (blank) => blank.charCodeAt(0),
  ),
);
