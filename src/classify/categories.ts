import { isUtf8 } from 'node:buffer';
import { printParseErrorCode, visit } from 'jsonc-parser';
import { type ErrorDetails, invariant, ServiceError } from '../errors.ts';
import type { Categories } from './classifier.ts';

const TAB = 9;
const LINE_FEED = 10;
const VERTICAL_TAB = 11;
const FORM_FEED = 12;
const CARRIAGE_RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const SEMICOLON = 59;
const COLON = 58;
const BRACKET = 91;
const BACKSLASH = 92;
const CLOSING_BRACKET = 93;
const BRACE = 123;
const CLOSING_BRACE = 125;

/** A document may repeat labels and contain other lists, so this many entries are read for each accepted label. */
const ENTRIES_PER_LABEL = 100;
/** This many entries are read in a moment, so it bounds the entries under any limit of labels. */
const MAX_ENTRIES = 100_000;

/** What a document lists, for sentences about it. */
export type Listed = 'categories' | 'texts';

/**
 * Reads a categories document: JSON if it begins with `{` or `[`, otherwise CSV. A plain list and a single word are
 * special cases of CSV. Labels are trimmed; empty and repeated ones are dropped. Control characters inside a label are
 * refused: no word contains them, and each would take six bytes in the answer.
 *
 * In JSON, categories may have several phrases each: `{"categories":{"dog":["a dog","a puppy"],"cat":"a cat"}}`. There,
 * empty and repeated names are refused, because each has its own phrases.
 * @throws ServiceError categories_malformed with the place of the fault, categories_missing, categories_too_many
 */
export function parseCategories(
  document: Uint8Array,
  maxCategories: number,
  listed: Listed = 'categories',
): Categories {
  try {
    return readDocument(document, maxCategories, listed);
  } catch (fault) {
    if (!(fault instanceof DocumentFault)) throw fault;
    throw new ServiceError(
      'categories_malformed',
      `The ${listed} document ${fault.message}. Accepted are JSON, ${jsonForms[listed]}, ` +
        `and text with the ${listed} separated by commas, semicolons, tabs or lines.`,
      fault.details,
    );
  }
}

const jsonForms: Readonly<Record<Listed, string>> = {
  categories:
    '["a","b"] or {"categories":["a","b"]} or, with several phrases for a category, {"categories":{"a":["b","c"]}}',
  texts: '["a","b"] or {"texts":["a","b"]}',
};

/** @returns a document that `parseCategories` reads as these categories */
export function writeCategories({ labels, phrases }: Categories): string {
  if (!phrases) return JSON.stringify(labels);
  // A JavaScript object would move names such as "10" to the front.
  const members = labels.map((label, index) => `${JSON.stringify(label)}:${JSON.stringify(phrases[index])}`);
  return `{"categories":{${members.join(',')}}}`;
}

function readDocument(document: Uint8Array, maxLabels: number, listed: Listed): Categories {
  const text = decodeText(document);
  const maxEntries = Math.max(2 * maxLabels, Math.min(ENTRIES_PER_LABEL * maxLabels, MAX_ENTRIES));
  const [first = ''] = text.trimStart();
  const found =
    first === '[' || first === '{'
      ? parseJsonLabels(text, maxEntries, listed)
      : parseCsvLabels(text, maxEntries);
  if (!found) {
    throw new ServiceError(
      'categories_too_many',
      `The ${listed} document has more than ${maxEntries} entries, repeated ones included; at most ${maxLabels} ${listed} are accepted.`,
      { limit: maxLabels },
    );
  }
  const named = 'labels' in found ? found : undefined;
  const distinct = new Set('labels' in found ? found.labels : found.map((label) => label.trim()));
  distinct.delete('');
  if (distinct.size === 0) {
    const one = listed === 'categories' ? 'category' : 'text';
    throw new ServiceError(
      'categories_missing',
      `The ${listed} document names no ${one}; at least one is needed.`,
    );
  }
  if (distinct.size > maxLabels) {
    throw new ServiceError(
      'categories_too_many',
      `${distinct.size} ${listed} came; at most ${maxLabels} are accepted.`,
      { categories: distinct.size, limit: maxLabels },
    );
  }
  const labels = [...distinct];
  for (const [index, label] of labels.entries()) refuseControlCharacters(label, index + 1);
  for (const [index, phrases] of named?.phrases?.entries() ?? []) {
    for (const phrase of phrases) refuseControlCharacters(phrase, index + 1, 'a phrase of ');
  }
  return named ?? { labels };
}

/** A sentence shows at most this much of a label. */
const SHOWN_CHARACTERS = 40;

/** @param what before "label" and its number: the text is a part of it */
function refuseControlCharacters(label: string, number: number, what = ''): void {
  const at = label.search(/\p{Cc}/u);
  if (at === -1) return;
  const name = `U+${label.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0')}`;
  const shown = label
    .slice(0, SHOWN_CHARACTERS)
    .replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .toWellFormed();
  const character = [...label.slice(0, at)].length + 1;
  throw malformed(
    `has a control character in ${what}label ${number} ("${shown}${label.length > SHOWN_CHARACTERS ? '…' : ''}"): ${name} is its character ${character}`,
    { label: number, character },
  );
}

/** Why a document cannot be read: follows "The categories document". */
class DocumentFault extends Error {
  readonly details: ErrorDetails;

  constructor(fault: string, details: ErrorDetails = {}) {
    super(fault);
    this.details = details;
  }
}

function malformed(fault: string, details: ErrorDetails = {}): DocumentFault {
  return new DocumentFault(fault, details);
}

/**
 * Decodes a document: UTF-8 with or without a byte order mark, or UTF-16 with one, as Excel saves "Unicode text".
 * @throws DocumentFault with the offset in bytes
 */
function decodeText(document: Uint8Array): string {
  const [first, second] = document;
  if (first === 0xff && second === 0xfe) return decodeUtf16(document, 'little');
  if (first === 0xfe && second === 0xff) return decodeUtf16(document, 'big');
  return decodeUtf8(document);
}

function decodeUtf8(document: Uint8Array): string {
  // First, because pictures, archives and UTF-16 contain it, and "binary" explains these better.
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

/** Valid text is skipped in stretches of this length. */
const STRETCH_BYTES = 64 * 1024;

function firstInvalidByte(document: Uint8Array): number {
  let start = 0;
  for (;;) {
    let end = Math.min(start + STRETCH_BYTES, document.length);
    // A stretch ends before the first byte of a character.
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

/** A lenient decoder puts a replacement character there; the document itself may contain genuine ones. */
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
  invariant(false, 'the lenient decoder found no fault.');
}

/** A fault in JSON is located only within this beginning, which contains a thousand long labels. */
const LOCATED_CHARACTERS = 256 * 1024;

/**
 * Reads `["a","b"]` or `{"categories":["a","b"]}` (`{"texts":…}` if texts are listed); other keys are ignored.
 * Categories may also be an object with the phrases of each.
 * @param maxEntries commas, colons and opening brackets: for each, a parser makes something
 * @returns undefined if there are more than `maxEntries`
 * @throws DocumentFault with line and column, or with the invalid element
 */
function parseJsonLabels(
  text: string,
  maxEntries: number,
  listed: Listed,
): readonly string[] | Categories | undefined {
  if (text.length > maxEntries && countStructure(text) > maxEntries) return undefined;
  const value = parseJson(text);
  if (Array.isArray(value)) return strings(value, '');
  const list = value[listed];
  if (list === undefined) throw malformed(`is a JSON object without "${listed}"`);
  if (Array.isArray(list)) return strings(list, listed);
  if (listed === 'categories' && typeof list === 'object' && list !== null) return readPhrases(text);
  const accepted = listed === 'categories' ? 'a list of strings or an object' : 'a list of strings';
  throw malformed(`has ${kindOf(list)} as "${listed}", not ${accepted}`);
}

/** @param text valid JSON: an object whose `categories` are an object */
function readPhrases(text: string): Categories {
  const start = text.search(/\S/);
  const whole = membersOf(text, start).findLast(({ name }) => name === 'categories');
  invariant(whole, 'the categories have vanished.');
  const labels: string[] = [];
  const phrases: (readonly string[])[] = [];
  const known = new Set<string>();
  for (const member of membersOf(text, whole.start)) {
    const label = member.name.trim();
    const shown = label.length > SHOWN_CHARACTERS ? `${label.slice(0, SHOWN_CHARACTERS)}…` : label;
    const place = `categories[${JSON.stringify(shown.toWellFormed())}]`;
    if (label === '') throw malformed(`has an empty name at ${place}`, { element: place });
    if (known.has(label)) throw malformed(`has the category at ${place} twice`, { element: place });
    known.add(label);
    labels.push(label);
    phrases.push(phrasesOf(JSON.parse(text.slice(member.start, member.end)), place));
  }
  const isPlain = labels.every(
    (label, index) => phrases[index]!.length === 1 && phrases[index]![0] === label,
  );
  return isPlain ? { labels } : { labels, phrases };
}

/** @returns distinct and trimmed */
function phrasesOf(value: unknown, place: string): readonly string[] {
  if (typeof value !== 'string' && !Array.isArray(value)) {
    throw malformed(`has ${kindOf(value)} at ${place}, where a phrase or a list of phrases is accepted`, {
      element: place,
    });
  }
  const list = typeof value === 'string' ? [value] : strings(value, place);
  if (list.length === 0) {
    throw malformed(`has an empty list at ${place}; each category needs a phrase`, { element: place });
  }
  const trimmed = list.map((phrase) => phrase.trim());
  const empty = trimmed.indexOf('');
  if (empty !== -1) {
    const element = typeof value === 'string' ? place : `${place}[${empty}]`;
    throw malformed(`has an empty phrase at ${element}`, { element });
  }
  return [...new Set(trimmed)];
}

/** A member of a JSON object: its name, and where its value is in the text. */
interface Member {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Finds the members of an object in the order written, repeated ones included. JSON.parse drops those, and moves names
 * such as "10" to the front. The scanner of jsonc-parser decodes each string, which takes three times as long in a
 * document of escapes, and blocks all other requests meanwhile.
 * @param text valid JSON
 * @param open of the object
 */
function membersOf(text: string, open: number): Member[] {
  const members: Member[] = [];
  for (let at = skipSpace(text, open + 1); text.charCodeAt(at) === QUOTE; ) {
    const nameEnd = endOfJsonString(text, at);
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = endOfJsonValue(text, start);
    members.push({ name: JSON.parse(text.slice(at, nameEnd)), start, end });
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
  }
  return members;
}

/** The white space of JSON. */
function skipSpace(text: string, from: number): number {
  let at = from;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== SPACE && code !== TAB && code !== LINE_FEED && code !== CARRIAGE_RETURN) break;
  }
  return at;
}

/** @param open of the string. @returns the offset after its closing quote */
function endOfJsonString(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) return at + 1;
  }
  return text.length;
}

function endOfJsonValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfJsonString(text, at) - 1;
    else if (code === BRACKET || code === BRACE) depth++;
    else if (code === CLOSING_BRACKET || code === CLOSING_BRACE) depth--;
    // Closes the object around it.
    if (depth < 0 || (depth === 0 && code === COMMA)) return at;
  }
  return text.length;
}

function strings(list: readonly unknown[], path: string): readonly string[] {
  return list.map((element, index) => {
    if (typeof element === 'string') return element;
    const place = `${path}[${index}]`;
    throw malformed(`has ${kindOf(element)} at ${place}, where only a string is accepted`, {
      element: place,
    });
  });
}

/** The first character of `text` is `[` or `{`. */
function parseJson(text: string): Record<string, unknown> | unknown[] {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof RangeError)) throw cause;
    refuseAtFault(text);
    throw malformed('starts as JSON but is not valid JSON');
  }
}

/** Counts inside strings, too: labels contain few, and finding the end of a string would need another parser. */
function countStructure(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === COMMA || code === COLON || code === BRACKET || code === BRACE) count++;
  }
  return count;
}

/**
 * JSON.parse does not say where the fault is; this slower parser does. It returns if the nesting is too deep for it, or
 * if the fault is too far from the beginning.
 * @throws DocumentFault with line and column
 */
function refuseAtFault(text: string): void {
  const beginning = text.slice(0, LOCATED_CHARACTERS);
  try {
    visit(
      beginning,
      {
        onError(code, offset, length, lineIndex, columnIndex) {
          // A fault at the end of the beginning comes from cutting it off.
          if (beginning.length < text.length && offset + length >= beginning.length) return;
          const [line, column] = [lineIndex + 1, columnIndex + 1];
          // "CommaExpected" → "comma expected"
          const what = printParseErrorCode(code)
            .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
            .toLowerCase();
          throw malformed(`starts as JSON but is not valid JSON: line ${line}, column ${column}: ${what}`, {
            line,
            column,
          });
        },
      },
      { disallowComments: true },
    );
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault;
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}

/** `Category` or `Categories` alone on the first line that is not empty, without quotes. */
const headerLine = /^categor(?:y|ies)[^\S\r\n]*[\r\n]/i;

/**
 * Reads all cells of a CSV document, row by row. A document has one delimiter in addition to line breaks:
 * - a tab, if there is one between two labels,
 * - otherwise a semicolon, if there is one (the end of an HTML entity such as `&amp;` does not count),
 * - otherwise a comma.
 *
 * So labels may contain commas in lists with tabs or semicolons. In other lists, even with one label per line, a comma
 * separates, and a label with a comma needs double quotes. A double quote inside a label that does not begin with one
 * is a plain character (`5" pipe`). A header line `category` or `categories`, in any case, is left out if a label
 * follows it; in quotes it is a label.
 *
 * Our own parser passes over each character twice. A general CSV parser takes twenty times as long and blocks all
 * other requests meanwhile.
 * @param maxEntries cells that are not empty, or are empty and in quotes
 * @returns trimmed, without empty ones; undefined if there are more than `maxEntries`
 * @throws DocumentFault with the line
 */
function parseCsvLabels(text: string, maxEntries: number): readonly string[] | undefined {
  const labels: string[] = [];
  let cells = 0;
  for (const cell of readCells(text, sniffDelimiter(text))) {
    cells += 1;
    if (cells > maxEntries) return undefined;
    const label = cell.trim();
    if (label !== '') labels.push(label);
  }
  return labels.length > 1 && headerLine.test(text.trimStart()) ? labels.slice(1) : labels;
}

/** Yields cells as written, without their quotes; most of the empty ones are left out. */
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

/** @returns the text between the quote at `at` and its closing quote, and the offset after that */
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

/** What precedes: a tab counts as a delimiter only between two labels. */
type BeforeTab = 'nothing' | 'label' | 'blanks' | 'tab';

function sniffDelimiter(text: string): number {
  let before: BeforeTab = 'nothing';
  let isCellStart = true;
  let hasSemicolon = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const isDivider = code === COMMA || code === SEMICOLON;
    if (code === TAB) {
      // After a comma or a semicolon, a tab only aligns.
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

/** The offset of the quote that closes the one at `from`; `from` if there is none. */
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

const MAX_REFERENCE_NAME = 32;

/** Whether the semicolon at `at` ends something like `&amp;` or `&#233;`. */
function endsReference(text: string, at: number): boolean {
  let start = at - 1;
  while (at - start <= MAX_REFERENCE_NAME && isWordCharacter(text.charCodeAt(start))) start--;
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

/** White space except line breaks. */
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
