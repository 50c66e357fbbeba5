import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  escapeJson,
  escapeText,
  unescapeText,
  withoutControls,
  withoutControlsInLines,
} from '../../../src/cli/output/escape-text.ts';

/** Control characters of both sets, line separators, and changes of the writing direction. */
const unsafe = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;
const unsafeCharacters = [
  ...Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code)).filter((one) =>
    /\p{Cc}/u.test(one),
  ),
  ...'\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069',
];

describe('a text on a line', () => {
  test('has no control characters', () => {
    expect(escapeText('a\tb\nc\\d\u001b[31m\u0085é 猫')).toBe('a\\tb\\nc\\\\d\\u001b[31m\\u0085é 猫');
  });

  test('is read back as it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeText(text)).not.toMatch(unsafe);
        expect(unescapeText(escapeText(text))).toBe(text);
      }),
    );
  });

  test('is not read back where it was written by something else', () => {
    for (const text of ['a\tb', 'C:\\Users', 'ends in \\', '\\u12', '\\x', '\\u0041', 'a\u202eb', '\u0085']) {
      expect(unescapeText(text)).toBeUndefined();
    }
  });

  test('keeps every character that is not shown from it', () => {
    for (const character of unsafeCharacters) {
      const text = `a${character}b`;
      for (const safe of [escapeText(text), withoutControls(text), escapeJson(JSON.stringify(text))]) {
        expect(safe).not.toMatch(unsafe);
      }
      expect(unescapeText(escapeText(text))).toBe(text);
      expect(JSON.parse(escapeJson(JSON.stringify(text)))).toBe(text);
      const shown = withoutControlsInLines(text);
      if (character === '\n' || character === '\t') expect(shown).toBe(text);
      else expect(shown).not.toMatch(unsafe);
    }
    expect(escapeText('gpj.\u202eexe\u009b2J')).toBe('gpj.\\u202eexe\\u009b2J');
  });

  test('for a terminal keeps its backslashes', () => {
    expect(withoutControls('a\\b "\\"" \u001b[2J')).toBe('a\\b "\\"" \\u001b[2J');
  });
});
