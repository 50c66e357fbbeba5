import { printParseErrorCode, visit } from 'jsonc-parser';
import { malformed } from './malformed.ts';

/**
 * The strings of `["a","b"]` or of `{"categories":["a","b"]}`; other keys beside it are ignored.
 * @throws ServiceError categories_malformed with line and column, or with the element at fault
 */
export function parseJsonLabels(text: string): readonly string[] {
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

/** JSON.parse does not say where; this slower parser does. Undefined where the nesting is too deep for it. */
function locateFault(text: string) {
  let first: { what: string; line: number; column: number } | undefined;
  try {
    visit(
      text,
      {
        onError(code, _offset, _length, line, character) {
          // "CommaExpected" → "comma expected"
          const what = printParseErrorCode(code).replace(/(?<=[a-z])(?=[A-Z])/g, ' ');
          first ??= { what: what.toLowerCase(), line: line + 1, column: character + 1 };
        },
      },
      { disallowComments: true },
    );
  } catch (tooDeep) {
    if (!(tooDeep instanceof RangeError)) throw tooDeep;
  }
  return first;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}
