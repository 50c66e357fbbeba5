import { decodeHTML, decodeHTMLStrict } from 'entities';

/**
 * Python's `html.unescape`: HTML5's rules, named references also without a semicolon. `entities` knows the
 * names and numbers; Python differs in leaving out what HTML calls an invalid code point.
 */
export function unescapeHtml(text: string): string {
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
export function unescapeTerminatedHtml(text: string): string {
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
