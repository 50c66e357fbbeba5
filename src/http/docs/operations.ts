import type { DocumentDecoration } from 'elysia';
import * as v from 'valibot';
import type { Config } from '../../config.ts';
import type { ErrorCode } from '../../errors.ts';
import { optionsSchema } from '../options.ts';
import * as schemas from '../schemas.ts';
import { errorMeanings, statusOf } from '../status.ts';
import * as examples from './examples.ts';
import { type MediaType, openApiSchema } from './open-api-schema.ts';

type Responses = NonNullable<DocumentDecoration['responses']>;

/** What the documentation says of each endpoint. */
export interface Operations {
  readonly welcome: DocumentDecoration;
  readonly health: DocumentDecoration;
  readonly ready: DocumentDecoration;
  readonly categorize: DocumentDecoration;
  readonly image: DocumentDecoration;
}

/** What every endpoint that takes uploads may answer, beside success. */
const uploadErrors: readonly ErrorCode[] = [
  'option_invalid',
  'multipart_malformed',
  'part_unexpected',
  'categories_missing',
  'categories_malformed',
  'categories_too_many',
  'label_too_long',
  'files_missing',
  'files_too_many',
  'file_name_invalid',
  'unauthorized',
  'upload_stalled',
  'multipart_too_large',
  'content_type_unsupported',
  'image_unsupported',
  'files_broken',
  'internal',
  'overloaded',
  'model_loading',
  'model_missing',
  'shutting_down',
];

export function describeOperations({ limits, apiKey }: Pick<Config, 'limits' | 'apiKey'>): Operations {
  const upload = {
    tags: ['Pictures'],
    parameters: queryParameters(),
    requestBody: uploadBody(limits),
    security: [...(apiKey === undefined ? [{}] : []), { bearer: [] }, { key: [] }],
  } satisfies DocumentDecoration;
  return {
    welcome: {
      operationId: 'welcome',
      tags: ['Service'],
      summary: 'A short welcome',
      responses: { 200: text('What this service does, in plain text.', examples.welcome) },
    },
    health: {
      operationId: 'health',
      tags: ['Service'],
      summary: 'Does the process live, and what is it doing?',
      description: 'Answers 200 as long as the process does. Use /ready to route requests.',
      responses: {
        200: json('The service’s state.', {
          schema: openApiSchema(schemas.healthSchema),
          examples: {
            ready: { summary: 'Ready', value: examples.healthReady },
            loading: { summary: 'The model is being fetched', value: examples.healthLoading },
          },
        }),
      },
    },
    ready: {
      operationId: 'ready',
      tags: ['Service'],
      summary: 'Can pictures be classified now?',
      responses: {
        200: json('Yes.', {
          schema: openApiSchema(schemas.readySchema),
          example: examples.ready,
        }),
        ...errorResponses(['model_loading', 'model_missing', 'shutting_down']),
      },
    },
    categorize: {
      ...upload,
      operationId: 'categorize',
      summary: 'The best category of every picture',
      responses: {
        200: pictureAnswer('File name → category; with details=true scores, too.', {
          schema: {
            oneOf: [
              openApiSchema(schemas.categorizeAnswerSchema),
              openApiSchema(schemas.categorizeDetailsSchema),
            ],
          },
          examples: {
            plain: { summary: 'As it is', value: examples.categorizeAnswer },
            details: { summary: 'details=true', value: examples.categorizeDetails },
          },
        }),
        ...errorResponses(uploadErrors),
      },
    },
    image: {
      ...upload,
      operationId: 'image',
      summary: 'The best picture of every category',
      responses: {
        200: pictureAnswer('Category → file name; with details=true scores, too.', {
          schema: {
            oneOf: [openApiSchema(schemas.imageAnswerSchema), openApiSchema(schemas.imageDetailsSchema)],
          },
          examples: {
            plain: { summary: 'As it is', value: examples.imageAnswer },
            details: { summary: 'details=true', value: examples.imageDetails },
          },
        }),
        ...errorResponses(uploadErrors),
      },
    },
  };
}

function queryParameters(): NonNullable<DocumentDecoration['parameters']> {
  return v.keyof(optionsSchema).options.map((name) => {
    const { description, ...schema } = Object.assign(
      { description: '' },
      openApiSchema(optionsSchema.entries[name]),
    );
    return { name, in: 'query', required: false, description, schema, example: examples.options[name] };
  });
}

function uploadBody(limits: Config['limits']): NonNullable<DocumentDecoration['requestBody']> {
  return {
    required: true,
    description: 'A form of any size; pictures are classified while it arrives. Parts may come in any order.',
    content: {
      'multipart/form-data': {
        schema: {
          type: 'object',
          required: ['files', 'categories'],
          additionalProperties: false,
          properties: {
            files: {
              type: 'array',
              items: { type: 'string', format: 'binary' },
              minItems: 1,
              maxItems: limits.files,
              description: `Pictures, one part each: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF or AVIF, decided by content; at most ${limits.imageBytes} bytes and ${limits.imagePixels} pixels each. A second file of the same name is answered as \`name (2)\`.`,
            },
            categories: {
              type: 'string',
              description: `At most ${limits.categories} categories, as a text field or a file: JSON ({"categories":["a","b"]} or ["a","b"]), CSV or lines of text.`,
              example: 'cat, dog, something else',
            },
          },
        },
      },
    },
  };
}

/** One response a status; its examples are the codes that share it. */
function errorResponses(codes: readonly ErrorCode[]): Responses {
  const byStatus = Map.groupBy(codes, statusOf);
  return Object.fromEntries(
    [...byStatus].map(([status, sharing]) => [
      String(status),
      {
        ...json(sharing.map((code) => `\`${code}\`: ${errorMeanings[code].meaning}`).join('\n\n'), {
          schema: openApiSchema(schemas.errorSchema),
          examples: Object.fromEntries(sharing.map((code) => [code, { value: examples.errorBody(code) }])),
        }),
        ...(status === 503 && {
          headers: { 'retry-after': { schema: { type: 'integer' as const }, description: 'Seconds.' } },
        }),
      },
    ]),
  );
}

function pictureAnswer(description: string, media: MediaType) {
  return {
    ...json(description, media),
    headers: {
      'x-broken-files': {
        schema: { type: 'integer' as const },
        description: 'How many pictures were skipped; absent where all were sound.',
      },
    },
  };
}

function json(description: string, media: MediaType) {
  return { description, content: { 'application/json': media } };
}

function text(description: string, example: string) {
  return { description, content: { 'text/plain': { schema: { type: 'string' as const }, example } } };
}
