import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { escapeText, unescapeText, withoutControls } from '../../../src/cli/output/escape-text.ts';

describe('a text on a line', () => {
  test('has no control characters', () => {
    expect(escapeText('a\tb\nc\\d\u001b[31m\u0085é 猫')).toBe('a\\tb\\nc\\\\d\\u001b[31m\\u0085é 猫');
  });

  test('is read back as it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeText(text)).not.toMatch(/\p{Cc}/u);
        expect(unescapeText(escapeText(text))).toBe(text);
      }),
    );
  });

  test('is not read back where it was written by something else', () => {
    for (const text of ['a\tb', 'C:\\Users', 'ends in \\', '\\u12', '\\x']) {
      expect(unescapeText(text)).toBeUndefined();
    }
  });

  test('for a terminal keeps its backslashes', () => {
    expect(withoutControls('a\\b "\\"" \u001b[2J')).toBe('a\\b "\\"" \\u001b[2J');
  });
});
