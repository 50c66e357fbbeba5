import { decodeHTML, decodeHTMLStrict } from 'entities';

/**
 * Python's `html.unescape`: HTML5's rules, named references also without a semicolon. `entities` knows the
 * names and numbers; Python differs in leaving out what HTML calls an invalid code point.
 */
function unescapeHtml(text: string): string {
  return text.replace(/&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu, (reference) => {
    const decoded = decodeHTML(reference);
    return reference.startsWith('&#') && invalidCodePoint.test(decoded) ? '' : decoded;
  });
}

/** Those of HTML5's parse errors that are not replaced by another character. */
const invalidCodePoint = /^[[\p{Cc}--[\t\n\f\r\u0080-\u009f]]\p{Noncharacter_Code_Point}]$/v;

/**
 * ftfy's `unescape_html`: only references that end in a semicolon, and also `&EACUTE;` where a whole text was
 * put in capitals.
 */
function unescapeTerminatedHtml(text: string): string {
  return text.replace(/&#?[0-9A-Za-z]{1,24};/g, (reference) => {
    if (reference.startsWith('&#')) {
      const decoded = unescapeHtml(reference);
      // The number ended before the semicolon, or is itself one.
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

/** ftfy repeats itself until nothing changes; a hostile text could make that as many times as it is long. */
const MAX_PASSES = 10;

/**
 * What the reference's `ftfy.fix_text` does to text that was read correctly: HTML references, C1 control
 * characters, Latin ligatures, full-width and half-width forms, curly quotes, line breaks, surrogates,
 * terminal escapes, control characters, NFC; in ftfy's order and until nothing changes.
 *
 * One step is left out on purpose: ftfy also guesses whether text was once decoded with a wrong encoding
 * (`schÃ¶n` for `schön`) and undoes it. That is a large table of heuristics which changes next to no real label,
 * and whoever sends such a label is better served by seeing it come back as it was sent.
 */
function repairText(text: string): string {
  // As in ftfy, from the first line on that has a `<` the text counts as HTML, whose references stay.
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

/** HTML's reading of C1 controls, which Windows programs leave in text that is labelled Latin-1. */
const windows1252 = new TextDecoder('windows-1252');

/** Single characters that are two or three Latin letters; `æ` and its like are letters of their own. */
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

/** Without effect on what is seen; tab, line feed and form feed stay. */
const controlCharacter = /[[\p{Cc}--[\t\n\f\r\u0080-\u009f]]\u206a-\u206f\ufeff\ufff9-\ufffc]/gv;

/**
 * The reference's `whitespace_clean(basic_clean(text)).lower()`. White space is Unicode's, as in Python: with
 * U+0085, without U+FEFF, unlike `\s` here.
 */
export function cleanText(text: string): string {
  return unescapeHtml(unescapeHtml(repairText(text)))
    .replace(/\p{White_Space}+/gu, ' ')
    .replace(/^ | $/g, '')
    .toLowerCase();
}
