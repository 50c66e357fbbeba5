import type { DocumentDecoration } from 'elysia';
import type { ErrorCode } from '../../errors.ts';
import type { QuerySchema } from '../options.ts';
import * as schemas from '../schemas.ts';
import { errorMeanings, statusOf } from '../status.ts';
import * as examples from './examples.ts';
import { type MediaType, openApiSchema } from './open-api-schema.ts';

export type Responses = NonNullable<DocumentDecoration['responses']>;

/** What every endpoint that takes uploads may answer, beside success. */
export const uploadErrors: readonly ErrorCode[] = [
  'option_invalid',
  'multipart_malformed',
  'part_unexpected',
  'categories_missing',
  'categories_malformed',
  'categories_too_many',
  'label_too_long',
  'file_name_invalid',
  'unauthorized',
  'upload_stalled',
  'multipart_too_large',
  'content_type_unsupported',
  'internal',
  'overloaded',
  'engine_restarting',
  'model_loading',
  'model_missing',
];

/** The form field that all uploads have in common. */
export function categoriesField(maxCategories: number) {
  return {
    type: 'string',
    description: `At most ${maxCategories} categories, as a text field or a file: JSON ({"categories":["a","b"]} or ["a","b"]), CSV or lines of text.`,
    example: 'cat, dog, something else',
  } as const;
}

/** @param hasKey whether the operator asks for one: the page would draw padlocks all the same */
export function securityOf(hasKey: boolean): Pick<DocumentDecoration, 'security'> {
  return hasKey ? { security: [{ bearer: [] }, { key: [] }] } : {};
}

export function queryParameters({ entries }: QuerySchema): NonNullable<DocumentDecoration['parameters']> {
  return Object.entries(entries).map(([name, entry]) => {
    const { description, ...schema } = Object.assign({ description: '' }, openApiSchema(entry));
    const example = examples.options[name as keyof typeof examples.options];
    return { name, in: 'query', required: false, description, schema, example };
  });
}

/** One response a status; its examples are the codes that share it. */
export function errorResponses(codes: readonly ErrorCode[]): Responses {
  const byStatus = Map.groupBy(codes, statusOf);
  return Object.fromEntries(
    [...byStatus].map(([status, sharing]) => [
      String(status),
      {
        ...json(sharing.map((code) => `\`${code}\`: ${errorMeanings[code].meaning}`).join('\n\n'), {
          schema: openApiSchema(schemas.errorSchema),
          examples: Object.fromEntries(sharing.map((code) => [code, { value: examples.errorBody(code) }])),
        }),
        ...((status === 503 || status === 408) && {
          headers: { 'retry-after': { schema: { type: 'integer' as const }, description: 'Seconds.' } },
        }),
      },
    ]),
  );
}

export function json(description: string, media: MediaType) {
  return { description, content: { 'application/json': media } };
}

export function text(description: string, example: string) {
  return { description, content: { 'text/plain': { schema: { type: 'string' as const }, example } } };
}
