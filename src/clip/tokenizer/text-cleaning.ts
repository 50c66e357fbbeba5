import { unescapeHtml } from './html-references.ts';
import { repairText } from './text-repair.ts';

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
