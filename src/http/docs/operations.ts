import type { DocumentDecoration } from 'elysia';
import type { Config } from '../../config.ts';
import { errorMeanings, statusOf } from '../../contract/codes.ts';
import { listTitles, pictureFormats, videoCodecs, videoContainers } from '../../contract/formats.ts';
import { optionsSchema, type QuerySchema, videoOptionsSchema } from '../../contract/options.ts';
import * as examples from './examples.ts';
import { type MediaType, named, optionSchema } from './open-api-schema.ts';

type Responses = NonNullable<DocumentDecoration['responses']>;

/** What every endpoint that takes uploads may answer, beside success. */
const uploadErrors: readonly examples.DocumentedCode[] = [
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
function categoriesField(maxCategories: number) {
  return {
    type: 'string',
    description: `At most ${maxCategories} categories, as a text field or a file: JSON ({"categories":["a","b"]} or ["a","b"]), CSV or lines of text.`,
    example: 'cat, dog, something else',
  } as const;
}

/** @param hasKey whether the operator asks for one: the page would draw padlocks all the same */
function securityOf(hasKey: boolean): Pick<DocumentDecoration, 'security'> {
  return hasKey ? { security: [{ bearer: [] }, { key: [] }] } : {};
}

function queryParameters({ entries }: QuerySchema): NonNullable<DocumentDecoration['parameters']> {
  return Object.entries(entries).map(([name, entry]) => {
    const { description, ...schema } = Object.assign({ description: '' }, optionSchema(entry));
    const example = examples.options[name as keyof typeof examples.options];
    return { name, in: 'query', required: false, description, schema, example };
  });
}

/**
 * One response for each status; its examples are the codes that share it.
 * @param notes by status, added to the description
 */
function errorResponses(
  codes: readonly examples.DocumentedCode[],
  notes: Readonly<Record<number, string>> = {},
): Responses {
  const byStatus = Map.groupBy(codes, statusOf);
  return Object.fromEntries(
    [...byStatus].map(([status, sharing]) => [
      String(status),
      {
        ...json(
          [...sharing.map((code) => `\`${code}\`: ${errorMeanings[code].meaning}`), notes[status] ?? []]
            .flat()
            .join('\n\n'),
          {
            schema: named('Error'),
            examples: Object.fromEntries(sharing.map((code) => [code, { value: examples.failure(code) }])),
          },
        ),
        ...((status === 503 || status === 408) && {
          headers: { 'retry-after': { schema: { type: 'integer' as const }, description: 'Seconds.' } },
        }),
      },
    ]),
  );
}

function json(description: string, media: MediaType) {
  return { description, content: { 'application/json': media } };
}

function text(description: string, example: string) {
  return { description, content: { 'text/plain': { schema: { type: 'string' as const }, example } } };
}

const description = `Looks at the frames that are worth it, one or more of every scene, and answers with the best one for each category, as a full-size picture.

A long video takes minutes. With \`Accept: application/x-ndjson\` or \`Accept: text/event-stream\` the answer begins at once, with status 200: \`progress\` events, a few a second at most, and as the last event either \`result\`, with the JSON answer as its data, or \`error\`, with the body that the error would have had. What is wrong with the query, the headers or the key, and a service that is not ready, is still answered with a status of its own.`;

function describeVideo({ limits, apiKey }: Pick<Config, 'limits' | 'apiKey'>): DocumentDecoration {
  return {
    operationId: 'video',
    tags: ['Videos'],
    summary: 'The best frame of a video for every category',
    description,
    parameters: queryParameters(videoOptionsSchema),
    requestBody: {
      required: true,
      description: 'A form with one video. Parts may come in any order.',
      content: {
        'multipart/form-data': {
          schema: {
            type: 'object',
            required: ['video', 'categories'],
            additionalProperties: false,
            properties: {
              video: {
                type: 'string',
                format: 'binary',
                description: `One file: ${listTitles(videoContainers, 'or')} with ${listTitles(videoCodecs, 'or')}, decided by content; at most ${limits.videoBytes} bytes and ${limits.videoSeconds} seconds.`,
              },
              categories: categoriesField(limits.categories),
            },
          },
        },
      },
    },
    ...securityOf(apiKey !== undefined),
    responses: {
      200: {
        description: 'Category → frame; with details=true times, scores and more.',
        content: {
          'application/json': {
            schema: {
              // Generated clients use the first schema that fits: the open record comes last.
              oneOf: [named('VideoDetails'), named('VideoAnswer')],
            },
            examples: {
              plain: { summary: 'As it is', value: examples.videoAnswer },
              named: { summary: 'images=false', value: examples.videoAnswerNamed },
              details: { summary: 'details=true', value: examples.videoDetails },
            },
          },
          'application/x-ndjson': {
            schema: named('VideoEvent'),
            examples: Object.fromEntries(
              examples.videoEvents.map((event) => [event.event, { summary: 'One line', value: event }]),
            ),
          },
          'text/event-stream': {
            schema: { type: 'string' },
            example: examples.videoEvents
              .map(({ event, data }) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
              .join(''),
          },
        },
      },
      ...errorResponses([
        ...uploadErrors,
        'video_missing',
        'video_unsupported',
        'video_too_large',
        'video_broken',
        'storage_full',
      ]),
    },
  };
}

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

const pictureErrors: readonly examples.DocumentedCode[] = [
  ...uploadErrors,
  'files_missing',
  'files_too_many',
  'image_unsupported',
  'image_too_large',
  'files_broken',
];

const pictureNotes = {
  413: 'A picture that is too large is answered with 422 and named in `errors`. Only with `on_error=skip`, and where its bytes go on long after the limit, the request is ended with `image_too_large`.',
  415: '`image_unsupported`: where all pictures that cannot be used are of this kind; otherwise it is a code in `errors` of 422.',
  422: '`errors` has a code for each picture: `image_empty`, `image_unsupported`, `image_too_large` or `image_broken`.',
};

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
          schema: named('Health'),
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
          schema: named('Ready'),
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
          schema: { oneOf: [named('CategorizeDetails'), named('CategorizeAnswer')] },
          examples: {
            plain: { summary: 'As it is', value: examples.categorizeAnswer },
            details: { summary: 'details=true', value: examples.categorizeDetails },
          },
        }),
        ...errorResponses(pictureErrors, pictureNotes),
      },
    },
    image: {
      ...upload,
      operationId: 'image',
      summary: 'The best picture of every category',
      responses: {
        200: pictureAnswer('Category → file name; with details=true scores, too.', {
          schema: { oneOf: [named('ImageDetails'), named('ImageAnswer')] },
          examples: {
            plain: { summary: 'As it is', value: examples.imageAnswer },
            details: { summary: 'details=true', value: examples.imageDetails },
          },
        }),
        ...errorResponses(pictureErrors, pictureNotes),
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
              description: `Pictures, one part each: ${listTitles(pictureFormats, 'or')}, decided by content; at most ${limits.imageBytes} bytes and ${limits.imagePixels} pixels each. A second file of the same name is answered as \`name (2)\`. Parts may also be named \`files[]\` or \`files[0]\`, \`files[1]\`.`,
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
