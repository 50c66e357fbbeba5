import { ServiceError } from '../errors.ts';
import { parseCsvLabels } from './categories/csv-labels.ts';
import { decodeText } from './categories/decode-text.ts';
import { parseJsonLabels } from './categories/json-labels.ts';
import type { Categories } from './classifier.ts';

/**
 * Reads a categories document by its content: JSON if it begins with `{` or `[`, else CSV, of which a plain
 * list and a single word are special cases. Labels are trimmed, empty ones dropped, and of equal ones the
 * first is kept.
 * @throws ServiceError categories_malformed saying what is wrong and where, categories_missing,
 *   categories_too_many
 */
export function parseCategories(document: Uint8Array, maxCategories: number): Categories {
  const text = decodeText(document);
  const listed = /^\s*[[{]/.test(text) ? parseJsonLabels(text) : parseCsvLabels(text);
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
  return { labels: [...distinct] };
}
