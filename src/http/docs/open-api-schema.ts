import { type ConversionConfig, toJsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema';
import type { DocumentDecoration } from 'elysia';
import * as v from 'valibot';
import { namedSchemas } from '../../contract/schemas.ts';

type Responses = NonNullable<DocumentDecoration['responses']>;
type Content = NonNullable<Extract<Responses[string], { description: string }>['content']>;
export type MediaType = Content[string];
export type OpenApiSchema = NonNullable<MediaType['schema']>;
export type SchemaName = keyof typeof namedSchemas;

const conversion: ConversionConfig = {
  target: 'openapi-3.0',
  // Clients see numbers where the service reads text.
  typeMode: 'output',
  // Descriptions say what JSON Schema cannot express.
  errorMode: 'ignore',
  overrideRef: ({ referenceId }) => addressOf(referenceId),
};

const addressOf = (name: string) => `#/components/schemas/${name}`;

/** A reference to one of the named schemas. */
export const named = (name: SchemaName): OpenApiSchema => ({ $ref: addressOf(name) });

/** The document's `components.schemas`. */
export function componentSchemas(): Record<SchemaName, OpenApiSchema> {
  return inOpenApi(toJsonSchemaDefs(namedSchemas, conversion));
}

/** The schema of a query option. */
export function optionSchema(option: v.GenericSchema): OpenApiSchema {
  const { $schema: _, ...schema } = toJsonSchema(option, conversion);
  // An optional's default is text like its input; clients see what it becomes.
  const fallback = v.safeParse(option, undefined);
  return inOpenApi(
    fallback.success && fallback.output !== undefined ? { ...schema, default: fallback.output } : schema,
  );
}

/** Replaces what OpenAPI 3.0 expresses in another way than JSON Schema. */
function inOpenApi<Schema extends object>(schema: object): Schema {
  return JSON.parse(JSON.stringify(schema), (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const { examples, ...rest }: Record<string, unknown> = { ...value };
    return { ...rest, ...(Array.isArray(examples) && { example: examples[0] }) };
  });
}
