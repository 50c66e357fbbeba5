import { toJsonSchema } from '@valibot/to-json-schema';
import type { DocumentDecoration } from 'elysia';
import * as v from 'valibot';

type Responses = NonNullable<DocumentDecoration['responses']>;
type Content = NonNullable<Extract<Responses[string], { description: string }>['content']>;
export type MediaType = Content[string];
export type OpenApiSchema = NonNullable<MediaType['schema']>;

/** A valibot schema in OpenAPI 3.0's words: of what comes out, as clients see numbers where we read text. */
export function openApiSchema(schema: v.GenericSchema): OpenApiSchema {
  const { $schema: _, ...converted } = toJsonSchema(schema, {
    target: 'openapi-3.0',
    typeMode: 'output',
    // Checks and transformations that JSON Schema cannot say stand in the descriptions.
    errorMode: 'ignore',
  });
  const described = withSingleExamples(converted);
  // An optional's default is text like its input; clients see what it becomes.
  const fallback = v.safeParse(schema, undefined);
  return fallback.success && fallback.output !== undefined
    ? { ...described, default: fallback.output }
    : described;
}

/** OpenAPI 3.0 knows `example` only, JSON Schema `examples` only. */
function withSingleExamples(schema: object): OpenApiSchema {
  return JSON.parse(JSON.stringify(schema), (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('examples' in value)) return value;
    const { examples, ...rest } = value;
    return Array.isArray(examples) ? { ...rest, example: examples[0] } : value;
  });
}
