import { isUtf8 } from 'node:buffer';
import { printParseErrorCode, visit } from 'jsonc-parser';
import { type ErrorDetails, ServiceError } from '../errors.ts';
import type { Categories } from './classifier.ts';

/** @param fault goes on after "The categories document" */
function malformed(fault: string, details: ErrorDetails = {}): ServiceError {
  return new ServiceError(
    'categories_malformed',
    `The categories document ${fault}. Accepted are JSON, {"categories":["a","b"]} or ["a","b"], ` +
      'and text with the categories separated by commas, semicolons, tabs or lines.',
    details,
  );
}

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

/** How much of a document is gone through to say where it is not JSON: a thousand long labels. */
const LOCATED_CHARACTERS = 256 * 1024;

/**
 * The strings of `["a","b"]` or of `{"categories":["a","b"]}`; other keys beside it are ignored.
 * @param maximum commas, colons and opening brackets: what a parser makes something of
 * @returns undefined where there are more than `maximum`
 * @throws ServiceError categories_malformed with line and column, or with the element at fault
 */
function parseJsonLabels(text: string, maximum: number): readonly string[] | undefined {
  if (text.length > maximum && countStructure(text) > maximum) return undefined;
  const value = parseJson(text);
  if (Array.isArray(value)) return strings(value, '');
  const { categories } = value;
  if (categories === undefined) throw malformed('is a JSON object without "categories"');
  if (Array.isArray(categories)) return strings(categories, 'categories');
  throw malformed(`has ${kindOf(categories)} as "categories", not a list of strings`);
}

function strings(list: readonly unknown[], path: string): readonly string[] {
  return list.map((element, index) => {
    if (typeof element === 'string') return element;
    const place = `${path}[${index}]`;
    throw malformed(`has ${kindOf(element)} at ${place}, where only a string can stand`, { element: place });
  });
}

/** Which JSON is told by its first character, so that it is an object or an array. */
function parseJson(text: string): Record<string, unknown> | unknown[] {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof RangeError)) throw cause;
    const fault = locateFault(text);
    if (fault === undefined) throw malformed('starts as JSON but is not valid JSON');
    const { what, line, column } = fault;
    throw malformed(`starts as JSON but is not valid JSON: line ${line}, column ${column}: ${what}`, {
      line,
      column,
    });
  }
}

/** Also those within strings: a label has few, and a string's end would take another parser to find. */
function countStructure(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === COMMA || code === COLON || code === BRACKET || code === BRACE) count++;
  }
  return count;
}

const COLON = 0x3a;
const BRACKET = 0x5b;
const BRACE = 0x7b;

class Located extends Error {
  readonly line: number;
  readonly column: number;

  constructor(what: string, line: number, column: number) {
    super(what);
    this.line = line;
    this.column = column;
  }
}

/**
 * JSON.parse does not say where; this slower parser does. Undefined where the nesting is too deep for it, or the
 * fault too far behind.
 */
function locateFault(text: string) {
  const beginning = text.slice(0, LOCATED_CHARACTERS);
  try {
    visit(
      beginning,
      {
        onError(code, offset, length, line, character) {
          // Where the text was cut, a fault is ours.
          if (beginning.length < text.length && offset + length >= beginning.length) return;
          // "CommaExpected" → "comma expected"
          const what = printParseErrorCode(code).replace(/(?<=[a-z])(?=[A-Z])/g, ' ');
          throw new Located(what.toLowerCase(), line + 1, character + 1);
        },
      },
      { disallowComments: true },
    );
  } catch (fault) {
    if (fault instanceof Located) return { what: fault.message, line: fault.line, column: fault.column };
    if (!(fault instanceof RangeError)) throw fault;
  }
  return undefined;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}

/**
 * The text of a document: UTF-8 with or without a byte order mark, or UTF-16 with one, as Excel saves
 * "Unicode text". What is no text is refused at its first byte that cannot be one.
 * @throws ServiceError categories_malformed with the offset in bytes
 */
function decodeText(document: Uint8Array): string {
  const [first, second] = document;
  if (first === 0xff && second === 0xfe) return decodeUtf16(document, 'little');
  if (first === 0xfe && second === 0xff) return decodeUtf16(document, 'big');
  return decodeUtf8(document);
}

function decodeUtf8(document: Uint8Array): string {
  // Looked for first, because what has it is a picture, an archive or UTF-16, and better called binary.
  const nul = document.indexOf(0);
  if (nul !== -1) throw binary(nul);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(document);
  } catch {
    const byte = firstInvalidByte(document);
    throw malformed(`is not valid UTF-8 at byte ${byte}; save it as UTF-8`, { byte });
  }
}

function decodeUtf16(document: Uint8Array, endianness: 'little' | 'big'): string {
  const markBytes = 2;
  if (document.length % 2 === 1) {
    const byte = document.length - 1;
    throw malformed(`is UTF-16 that ends within a character, at byte ${byte}`, { byte });
  }
  const units = Buffer.from(document.subarray(markBytes));
  if (endianness === 'big') units.swap16();
  const text = units.toString('utf16le');
  const nul = text.indexOf('\0');
  if (nul !== -1) throw binary(markBytes + 2 * nul);
  const lone = text.search(/\p{Surrogate}/u);
  if (lone !== -1) {
    const byte = markBytes + 2 * lone;
    throw malformed(`is not valid UTF-16 at byte ${byte}`, { byte });
  }
  return text;
}

function binary(byte: number) {
  return malformed(`is binary, not text: byte ${byte} is NUL`, { byte });
}

/** What is valid is passed over in stretches of so many bytes. */
const STRETCH_BYTES = 64 * 1024;

function firstInvalidByte(document: Uint8Array): number {
  let start = 0;
  for (;;) {
    let end = Math.min(start + STRETCH_BYTES, document.length);
    // A stretch ends before a character's first byte.
    while (end < document.length && end > start && isContinuation(document[end]!)) end -= 1;
    if (end === start) return start;
    const stretch = document.subarray(start, end);
    if (!isUtf8(stretch)) return start + firstInvalidByteOf(stretch);
    start = end;
  }
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** Where a lenient decoder puts a replacement character that the document itself does not have. */
function firstInvalidByteOf(document: Uint8Array): number {
  const lenient = new TextDecoder('utf-8', { ignoreBOM: true }).decode(document);
  let byte = 0;
  let counted = 0;
  for (let at = lenient.indexOf('\ufffd'); at !== -1; at = lenient.indexOf('\ufffd', at + 1)) {
    byte += Buffer.byteLength(lenient.slice(counted, at));
    counted = at;
    const genuine = document[byte] === 0xef && document[byte + 1] === 0xbf && document[byte + 2] === 0xbd;
    if (!genuine) return byte;
  }
  throw new Error('This is a bug: the lenient decoder found nothing wrong');
}

/** A document may repeat its labels, and have other lists beside them: so many entries for each label that may come. */
const ENTRIES_PER_LABEL = 100;
/** However many labels may come, as many entries are read in a moment. */
const MAXIMUM_ENTRIES = 100_000;

/**
 * Reads a categories document by its content: JSON if it begins with `{` or `[`, else CSV, of which a plain
 * list and a single word are special cases. Labels are trimmed, empty ones dropped, and of equal ones the
 * first is kept. Control characters within a label are refused: they are part of no word, and come back in the
 * answer six bytes long.
 * @throws ServiceError categories_malformed saying what is wrong and where, categories_missing,
 *   categories_too_many
 */
export function parseCategories(document: Uint8Array, maxCategories: number): Categories {
  const text = decodeText(document);
  const maxEntries = Math.max(
    2 * maxCategories,
    Math.min(ENTRIES_PER_LABEL * maxCategories, MAXIMUM_ENTRIES),
  );
  const [first = ''] = text.trimStart();
  const parse = first === '[' || first === '{' ? parseJsonLabels : parseCsvLabels;
  const listed = parse(text, maxEntries);
  if (!listed) {
    throw new ServiceError(
      'categories_too_many',
      `The categories document has more than ${maxEntries} entries, repeated ones included; at most ${maxCategories} categories are accepted.`,
      { limit: maxCategories },
    );
  }
  const distinct = new Set(listed.map((label) => label.trim()));
  distinct.delete('');
  if (distinct.size === 0) {
    throw new ServiceError(
      'categories_missing',
      'The categories document names no category; at least one is needed.',
    );
  }
  if (distinct.size > maxCategories) {
    throw new ServiceError(
      'categories_too_many',
      `${distinct.size} categories came; at most ${maxCategories} are accepted.`,
      { categories: distinct.size, limit: maxCategories },
    );
  }
  const labels = [...distinct];
  for (const [index, label] of labels.entries()) refuseControlCharacters(label, index + 1);
  return { labels };
}

/** How much of a label with a fault is shown. */
const SHOWN_CHARACTERS = 40;

function refuseControlCharacters(label: string, number: number): void {
  const at = label.search(/\p{Cc}/u);
  if (at === -1) return;
  const name = `U+${label.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0')}`;
  const shown = label
    .slice(0, SHOWN_CHARACTERS)
    .replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .toWellFormed();
  const character = [...label.slice(0, at)].length + 1;
  throw malformed(
    `has a control character in label ${number} ("${shown}${label.length > SHOWN_CHARACTERS ? '…' : ''}"): ${name} is its character ${character}`,
    { label: number, character },
  );
}
