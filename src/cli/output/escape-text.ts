/**
 * Characters that control a terminal or a viewer: control characters (C0, C1 and DEL), line and paragraph separators,
 * and changes of the writing direction, which can make one name look like another.
 */
const UNSAFE = '\\p{Cc}\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069';
const unsafe = new RegExp(`[${UNSAFE}]`, 'gu');
const unsafeOrBackslash = new RegExp(`[\\\\${UNSAFE}]`, 'gu');
const unsafeButLines = new RegExp(`(?![\\n\\t])[${UNSAFE}]`, 'gu');
const anyUnsafe = new RegExp(`[${UNSAFE}]`, 'u');

const letters: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const characters: Readonly<Record<string, string>> = { '\\': '\\', t: '\t', n: '\n', r: '\r' };

function escapeCharacter(character: string): string {
  return letters[character] ?? unicodeEscape(character);
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Escapes unsafe characters and backslashes, so that the text stays on its line and in its column. File names may
 * contain any of them. `unescapeText` reverses it.
 */
export function escapeText(text: string): string {
  return text.replace(unsafeOrBackslash, escapeCharacter);
}

/** Escapes unsafe characters for a terminal; the result is one line. */
export function withoutControls(text: string): string {
  return text.replace(unsafe, escapeCharacter);
}

/** As `withoutControls`, but keeps line feeds and tabs. */
export function withoutControlsInLines(text: string): string {
  return text.replace(unsafeButLines, escapeCharacter);
}

/** Escapes unsafe characters in JSON; JSON.stringify leaves C1 and writing directions as they are. */
export function escapeJson(json: string): string {
  return json.replace(unsafe, unicodeEscape);
}

/** @returns undefined if the text was not written by `escapeText` */
export function unescapeText(text: string): string | undefined {
  if (anyUnsafe.test(text)) return undefined;
  let isEscaped = true;
  const plain = text.replace(
    /\\(?:([\\tnr])|u([0-9a-f]{4}))?/g,
    (_, letter: string | undefined, code: string | undefined) => {
      const character =
        letter === undefined ? String.fromCharCode(Number.parseInt(code ?? '', 16)) : characters[letter];
      if (letter === undefined && (code === undefined || !anyUnsafe.test(character ?? ''))) isEscaped = false;
      return character ?? '';
    },
  );
  return isEscaped ? plain : undefined;
}
