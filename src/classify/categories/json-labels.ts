import { printParseErrorCode, visit } from 'jsonc-parser';
import { malformed } from './malformed.ts';

/** How much of a document is gone through to say where it is not JSON: a thousand long labels. */
const LOCATED_CHARACTERS = 256 * 1024;

/**
 * The strings of `["a","b"]` or of `{"categories":["a","b"]}`; other keys beside it are ignored.
 * @param maximum commas, colons and opening brackets: what a parser makes something of
 * @returns undefined where there are more than `maximum`
 * @throws ServiceError categories_malformed with line and column, or with the element at fault
 */
export function parseJsonLabels(text: string, maximum: number): readonly string[] | undefined {
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

const COMMA = 0x2c;
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
