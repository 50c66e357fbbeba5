/**
 * What tells a terminal or a viewer something instead of being shown: control characters (C0, C1 and DEL), line and
 * paragraph separators, and what turns the direction of writing round, by which one name can look like another.
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
 * A text that stays on its line and in its column, and tells a terminal nothing: what is not shown is written with a
 * backslash, and so is the backslash. File names may have any of it.
 */
export function escapeText(text: string): string {
  return text.replace(unsafeOrBackslash, escapeCharacter);
}

/** A text for a terminal, on one line: without what is not shown, otherwise as it is. */
export function withoutControls(text: string): string {
  return text.replace(unsafe, escapeCharacter);
}

/** The same for a text of several lines, which may have tabs. */
export function withoutControlsInLines(text: string): string {
  return text.replace(unsafeButLines, escapeCharacter);
}

/** JSON that a terminal can be given: JSON itself leaves C1 and the directions of writing as they are. */
export function escapeJson(json: string): string {
  return json.replace(unsafe, unicodeEscape);
}

/** Undefined where the text was not written by `escapeText`. */
export function unescapeText(text: string): string | undefined {
  if (anyUnsafe.test(text)) return undefined;
  let isOurs = true;
  const plain = text.replace(
    /\\(?:([\\tnr])|u([0-9a-f]{4}))?/g,
    (_, letter: string | undefined, code: string | undefined) => {
      const character =
        letter === undefined ? String.fromCharCode(Number.parseInt(code ?? '', 16)) : characters[letter];
      if (letter === undefined && (code === undefined || !anyUnsafe.test(character ?? ''))) isOurs = false;
      return character ?? '';
    },
  );
  return isOurs ? plain : undefined;
}
