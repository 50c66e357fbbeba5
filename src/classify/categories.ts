import { ServiceError } from '../errors.ts';
import { parseCsvLabels } from './categories/csv-labels.ts';
import { decodeText } from './categories/decode-text.ts';
import { parseJsonLabels } from './categories/json-labels.ts';
import { malformed } from './categories/malformed.ts';
import type { Categories } from './classifier.ts';

/** A document may repeat its labels, and have other lists beside them: so many entries for each label that may come. */
const ENTRIES_PER_LABEL = 100;
/** However many labels may come, as many entries are read in a moment. */
const MAXIMUM_ENTRIES = 100_000;

/**
 * Reads a categories document by its content: JSON if it begins with `{` or `[`, else CSV, of which a plain
 * list and a single word are special cases. Labels are trimmed, empty ones dropped, and of equal ones the
 * first is kept. Control characters within a label are refused: they are part of no word, and come back in the
 * answer six bytes long.
 * @throws ServiceError categories_malformed saying what is wrong and where, categories_missing,
 *   categories_too_many
 */
export function parseCategories(document: Uint8Array, maxCategories: number): Categories {
  const text = decodeText(document);
  const maxEntries = Math.max(
    2 * maxCategories,
    Math.min(ENTRIES_PER_LABEL * maxCategories, MAXIMUM_ENTRIES),
  );
  const [first = ''] = text.trimStart();
  const parse = first === '[' || first === '{' ? parseJsonLabels : parseCsvLabels;
  const listed = parse(text, maxEntries);
  if (!listed) {
    throw new ServiceError(
      'categories_too_many',
      `The categories document has more than ${maxEntries} entries, repeated ones included; at most ${maxCategories} categories are accepted.`,
      { limit: maxCategories },
    );
  }
  const distinct = new Set(listed.map((label) => label.trim()));
  distinct.delete('');
  if (distinct.size === 0) {
    throw new ServiceError(
      'categories_missing',
      'The categories document names no category; at least one is needed.',
    );
  }
  if (distinct.size > maxCategories) {
    throw new ServiceError(
      'categories_too_many',
      `${distinct.size} categories came; at most ${maxCategories} are accepted.`,
      { categories: distinct.size, limit: maxCategories },
    );
  }
  const labels = [...distinct];
  for (const [index, label] of labels.entries()) refuseControlCharacters(label, index + 1);
  return { labels };
}

/** How much of a label with a fault is shown. */
const SHOWN_CHARACTERS = 40;

function refuseControlCharacters(label: string, number: number): void {
  const at = label.search(/\p{Cc}/u);
  if (at === -1) return;
  const name = `U+${label.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0')}`;
  const shown = label
    .slice(0, SHOWN_CHARACTERS)
    .replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .toWellFormed();
  const character = [...label.slice(0, at)].length + 1;
  throw malformed(
    `has a control character in label ${number} ("${shown}${label.length > SHOWN_CHARACTERS ? '…' : ''}"): ${name} is its character ${character}`,
    { label: number, character },
  );
}
