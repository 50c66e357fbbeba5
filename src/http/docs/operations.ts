import type { DocumentDecoration } from 'elysia';
import type { Config } from '../../config.ts';
import type { ErrorCode } from '../../errors.ts';
import { optionsSchema } from '../options.ts';
import * as schemas from '../schemas.ts';
import * as examples from './examples.ts';
import { type MediaType, openApiSchema } from './open-api-schema.ts';
import {
  categoriesField,
  errorResponses,
  json,
  queryParameters,
  securityOf,
  text,
  uploadErrors,
} from './operation-parts.ts';
import { describeVideo } from './video-operation.ts';

/** What the documentation says of each endpoint. */
export interface Operations {
  readonly welcome: DocumentDecoration;
  readonly health: DocumentDecoration;
  readonly ready: DocumentDecoration;
  readonly metrics: DocumentDecoration;
  readonly categorize: DocumentDecoration;
  readonly image: DocumentDecoration;
  readonly video: DocumentDecoration;
}

const pictureErrors: readonly ErrorCode[] = [
  ...uploadErrors,
  'files_missing',
  'files_too_many',
  'image_unsupported',
  'files_broken',
];

export function describeOperations({ limits, apiKey }: Pick<Config, 'limits' | 'apiKey'>): Operations {
  const upload = {
    tags: ['Pictures'],
    parameters: queryParameters(optionsSchema),
    requestBody: uploadBody(limits),
    ...securityOf(apiKey !== undefined),
  } satisfies DocumentDecoration;
  return {
    welcome: {
      operationId: 'welcome',
      tags: ['Service'],
      summary: 'A short welcome',
      description: 'Browsers, which ask for text/html, get the page for people instead.',
      responses: { 200: text('What this service does, in plain text.', examples.welcome) },
    },
    health: {
      operationId: 'health',
      tags: ['Service'],
      summary: 'Does the process live, and what is it doing?',
      description:
        'Answers 200 as long as the process does, whatever its load, and while a model is fetched. Use /ready to route requests.',
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
      description:
        'A full queue does not make it unready: who comes then is told so, with 503 and Retry-After.',
      responses: {
        200: json('Yes.', {
          schema: openApiSchema(schemas.readySchema),
          example: examples.ready,
        }),
        ...errorResponses(['model_loading', 'model_missing', 'shutting_down']),
      },
    },
    metrics: {
      operationId: 'metrics',
      tags: ['Service'],
      summary: 'What there is to watch, for Prometheus',
      description:
        'Requests, queues, batches, times, memory, the model. Nothing in it says what clients have sent; it needs no key. Keep it from the public where you keep /health from it.',
      responses: {
        200: text('Prometheus’ text format, version 0.0.4.', examples.metrics),
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
        ...errorResponses(pictureErrors),
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
        ...errorResponses(pictureErrors),
      },
    },
    video: describeVideo({ limits, apiKey }),
  };
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
              description: `Pictures, one part each: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF or AVIF, decided by content; at most ${limits.imageBytes} bytes and ${limits.imagePixels} pixels each. A second file of the same name is answered as \`name (2)\`. Parts may also be named \`files[]\` or \`files[0]\`, \`files[1]\`.`,
            },
            categories: categoriesField(limits.categories),
          },
        },
      },
    },
  };
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
