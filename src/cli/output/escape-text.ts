const letters: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const characters: Readonly<Record<string, string>> = { '\\': '\\', t: '\t', n: '\n', r: '\r' };

/**
 * A text that stays on its line and in its column, and tells a terminal nothing: control characters and
 * the backslash are written with a backslash. File names may have any of them.
 */
export function escapeText(text: string): string {
  return text.replace(
    /[\\\p{Cc}]/gu,
    (character) => letters[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A text for a terminal: without control characters, otherwise as it is. */
export function withoutControls(text: string): string {
  return text.replace(/\p{Cc}/gu, escapeText);
}

/** Undefined where the text was not written by `escapeText`. */
export function unescapeText(text: string): string | undefined {
  if (
    /\p{Cc}/u.test(text) ||
    /^(?:[^\\]|\\[\\tnr]|\\u00[0-9a-f]{2})*\\(?![\\tnr]|u00[0-9a-f]{2})/.test(text)
  ) {
    return undefined;
  }
  return text.replace(
    /\\(?:([\\tnr])|u(00[0-9a-f]{2}))/g,
    (_, letter: string | undefined, code: string | undefined) =>
      letter === undefined
        ? String.fromCharCode(Number.parseInt(code ?? '', 16))
        : (characters[letter] ?? ''),
  );
}
