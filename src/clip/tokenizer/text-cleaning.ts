import { decodeHTML, decodeHTMLStrict } from 'entities';

/**
 * Python's `html.unescape`: HTML5's rules, with named references also without a semicolon. `entities` knows the names
 * and numbers. Unlike it, Python leaves out code points that HTML calls invalid.
 */
function unescapeHtml(text: string): string {
  return text.replace(/&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu, (reference) => {
    const decoded = decodeHTML(reference);
    return reference.startsWith('&#') && invalidCodePoint.test(decoded) ? '' : decoded;
  });
}

/** Code points that are parse errors in HTML5 and that it does not replace by others. */
const invalidCodePoint = /^[[\p{Cc}--[\t\n\f\r\u0080-\u009f]]\p{Noncharacter_Code_Point}]$/v;

/**
 * ftfy's `unescape_html`: only references that end in a semicolon, and also `&EACUTE;`, as in text that was put in
 * capitals.
 */
function unescapeTerminatedHtml(text: string): string {
  return text.replace(/&#?[0-9A-Za-z]{1,24};/g, (reference) => {
    if (reference.startsWith('&#')) {
      const decoded = unescapeHtml(reference);
      // The number ended before the semicolon, or is that of a semicolon.
      return decoded.includes(';') ? reference : decoded;
    }
    const decoded = decodeHTMLStrict(reference);
    if (decoded !== reference) return decoded;
    if (reference !== reference.toUpperCase() || decodeHTML(reference) !== reference) return reference;
    const lowerCase = reference.toLowerCase();
    const lowerDecoded = decodeHTMLStrict(lowerCase);
    return lowerDecoded === lowerCase ? reference : lowerDecoded.toUpperCase();
  });
}

/** ftfy repeats until nothing changes. A hostile text could need a pass for each of its characters. */
const MAX_PASSES = 10;

/**
 * The reference's `ftfy.fix_text` for text that was decoded correctly: HTML references, C1 control characters, Latin
 * ligatures, full-width and half-width forms, curly quotes, line breaks, surrogates, terminal escapes, control
 * characters, NFC; in ftfy's order and until nothing changes.
 *
 * One step is omitted: ftfy also guesses whether text was once decoded with a wrong encoding (`schÃ¶n` for `schön`) and
 * repairs it. That needs a large table of heuristics and changes almost no real label.
 */
function repairText(text: string): string {
  // As in ftfy, the text counts as HTML from the first line with a `<`, and HTML keeps its references.
  let isHtml = false;
  return text
    .toWellFormed()
    .split(/(?<=\n)/)
    .map((line) => {
      isHtml ||= line.includes('<');
      return repairLine(line, isHtml);
    })
    .join('');
}

function repairLine(line: string, isHtml: boolean): string {
  let repaired = line;
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const before = repaired;
    repaired = (isHtml ? before : unescapeTerminatedHtml(before))
      .replace(/[\x80-\x9f]/g, (control) => windows1252.decode(Uint8Array.of(control.charCodeAt(0))))
      .replace(ligature, (character) => ligatures.get(character) as string)
      .replace(/[\u3000\uff01-\uffef]/g, (form) => form.normalize('NFKC'))
      .replace(/[\u201c-\u201f]/g, '"')
      .replace(/[\u02bc\u2018-\u201b]/g, "'")
      .replace(/\r\n|[\r\u2028\u2029]/g, '\n')
      .replace(terminalEscape, '')
      .replace(controlCharacter, '')
      .normalize('NFC');
    if (repaired === before) break;
  }
  return repaired;
}

/** HTML decodes C1 controls like this. Windows programs leave them in text that is labelled Latin-1. */
const windows1252 = new TextDecoder('windows-1252');

/** Single characters that stand for two or three Latin letters. `æ` and similar ones are letters themselves. */
const ligatures = new Map([
  ['Ĳ', 'IJ'],
  ['ĳ', 'ij'],
  ['ŉ', 'ʼn'],
  ['Ǳ', 'DZ'],
  ['ǲ', 'Dz'],
  ['ǳ', 'dz'],
  ['Ǆ', 'DŽ'],
  ['ǅ', 'Dž'],
  ['ǆ', 'dž'],
  ['Ǉ', 'LJ'],
  ['ǈ', 'Lj'],
  ['ǉ', 'lj'],
  ['Ǌ', 'NJ'],
  ['ǋ', 'Nj'],
  ['ǌ', 'nj'],
  ['ﬀ', 'ff'],
  ['ﬁ', 'fi'],
  ['ﬂ', 'fl'],
  ['ﬃ', 'ffi'],
  ['ﬄ', 'ffl'],
  ['ﬅ', 'ſt'],
  ['ﬆ', 'st'],
]);
const ligature = new RegExp(`[${[...ligatures.keys()].join('')}]`, 'g');

/** "ANSI" colours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what such a sequence begins with
const terminalEscape = /\x1b\[[\p{Nd};]*[a-zA-Z]/gu;

/** Invisible characters. Tab, line feed and form feed stay. */
const controlCharacter = /[[\p{Cc}--[\t\n\f\r\u0080-\u009f]]\u206a-\u206f\ufeff\ufff9-\ufffc]/gv;

/**
 * The reference's `whitespace_clean(basic_clean(text)).lower()`. White space is Unicode's, as in Python: it includes
 * U+0085 but not U+FEFF, unlike JavaScript's `\s`.
 */
export function cleanText(text: string): string {
  return unescapeHtml(unescapeHtml(repairText(text)))
    .replace(/\p{White_Space}+/gu, ' ')
    .replace(/^ | $/g, '')
    .toLowerCase();
}
