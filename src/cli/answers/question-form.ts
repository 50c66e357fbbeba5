import * as v from 'valibot';
import { UsageError } from '../usage-error.ts';
import type { Question } from './answers.ts';
import type { FormPart } from './multipart-body.ts';

/** What this command asks of every endpoint: the detailed answer. */
export function queryOf({ templates, threshold, topK }: Question): URLSearchParams {
  const query = new URLSearchParams({ details: 'true', top_k: String(topK) });
  for (const template of templates ?? []) query.append('template', template);
  if (threshold !== undefined) query.set('threshold', String(threshold));
  return query;
}

export function categoriesPart({ categories: { labels } }: Question): FormPart {
  return { name: 'categories', content: new TextEncoder().encode(JSON.stringify(labels)) };
}

/** @throws UsageError where another version of the service, or something else, has answered */
export function expectShape<Schema extends v.GenericSchema>(
  schema: Schema,
  answer: unknown,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, answer);
  if (parsed.success) return parsed.output;
  throw wrongShape();
}

export function wrongShape(): UsageError {
  return new UsageError(
    'The server answered something else than this command expects: is it of the same version?',
  );
}
