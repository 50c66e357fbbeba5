import type { DocumentDecoration } from 'elysia';
import type { Config } from '../../config.ts';
import { clientActions, errorMeanings, statusOf } from '../../contract/codes.ts';
import { type EndpointName, endpointNames, endpoints } from '../../contract/endpoints.ts';
import { listTitles, pictureFormats, videoCodecs, videoContainers } from '../../contract/formats.ts';
import { optionsSchema, type QuerySchema, videoOptionsSchema } from '../../contract/options.ts';
import type { ErrorCode } from '../../errors.ts';
import * as examples from './examples.ts';
import {
  type MediaType,
  named,
  type OpenApiSchema,
  optionSchema,
  type SchemaName,
} from './open-api-schema.ts';

type Responses = NonNullable<DocumentDecoration['responses']>;

/** The failures of every endpoint that accepts uploads. */
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

function securityOf({ apiKey }: Pick<Config, 'apiKey'>): Pick<DocumentDecoration, 'security'> {
  return apiKey === undefined ? {} : { security: [{ bearer: [] }, { key: [] }] };
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
        ...json([...sharing.map(described), notes[status] ?? []].flat().join('\n\n'), {
          schema: named('Error'),
          examples: Object.fromEntries(sharing.map((code) => [code, { value: examples.failure(code) }])),
        }),
        ...((status === 503 || status === 408) && {
          headers: { 'retry-after': { schema: { type: 'integer' as const }, description: 'Seconds.' } },
        }),
      },
    ]),
  );
}

function described(code: ErrorCode): string {
  const { meaning, client } = errorMeanings[code];
  return `\`${code}\`: ${meaning} (\`${client}\`: ${clientActions[client]})`;
}

function json(description: string, media: MediaType) {
  return { description, content: { 'application/json': media } };
}

function text(description: string, example: string) {
  return { description, content: { 'text/plain': { schema: { type: 'string' as const }, example } } };
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
  413: 'A picture that is too large is answered with 422 and named in `errors`. Only with `on_error=skip`, and where its bytes continue long after the limit, the request is ended with `image_too_large`.',
  415: '`image_unsupported`: where all pictures that cannot be used are of this kind; otherwise it is a code in `errors` of 422.',
  422: '`errors` has a code for each picture: `image_empty`, `image_unsupported`, `image_too_large` or `image_broken`.',
};

const videoDescription = `Compares one or more frames of every scene with the categories, and answers with the best frame for each category, as a full-size picture.

A long video takes minutes. With \`Accept: application/x-ndjson\` or \`Accept: text/event-stream\`, the answer begins at once, with status 200. It consists of \`progress\` events, at most a few a second, and a last event: either \`result\`, whose data is the JSON answer, or \`error\`, whose data is the body of the failing answer. Faults of the query, the headers or the key, and a service that is not ready, are answered with their own status.`;

const tags = { welcome: 'Service', probe: 'Service', pictures: 'Pictures', video: 'Videos' };

/** The endpoints as the API document describes them. */
export type Operations = Readonly<Record<EndpointName, DocumentDecoration>>;

export function describeOperations(config: Pick<Config, 'limits' | 'apiKey'>): Operations {
  const described = describe(config);
  const operation = (name: EndpointName): DocumentDecoration => {
    const { kind, summary } = endpoints[name];
    return { operationId: name, tags: [tags[kind]], summary, ...described[name] };
  };
  return Object.fromEntries(endpointNames.map((name) => [name, operation(name)])) as Operations;
}

function describe(config: Pick<Config, 'limits' | 'apiKey'>): Operations {
  const { limits } = config;
  const pictures = {
    parameters: queryParameters(optionsSchema),
    requestBody: form(
      'A form of any size; pictures are classified while it arrives. Parts may come in any order.',
      'files',
      {
        type: 'array',
        items: { type: 'string', format: 'binary' },
        minItems: 1,
        maxItems: limits.files,
        description: `Pictures, one part each: ${listTitles(pictureFormats, 'or')}, decided by content; at most ${limits.imageBytes} bytes and ${limits.imagePixels} pixels each. A second file of the same name is answered as \`name (2)\`. Parts may also be named \`files[]\` or \`files[0]\`, \`files[1]\`.`,
      },
      limits.categories,
    ),
    ...securityOf(config),
  } satisfies DocumentDecoration;
  return {
    welcome: {
      description: 'Browsers ask for text/html and get the page.',
      responses: { 200: text('What this service does, in plain text.', examples.welcome) },
    },
    health: {
      description:
        'Answers 200 while the process runs, under any load and while it prepares the model. Use /ready to route requests.',
      responses: {
        200: json('The service’s state.', {
          schema: named('Health'),
          examples: {
            ready: { summary: 'Ready', value: examples.healthReady },
            loading: { summary: 'The model is being downloaded', value: examples.healthLoading },
          },
        }),
      },
    },
    ready: {
      description:
        'A full queue does not make the service unready: it refuses new requests with 503 and Retry-After.',
      responses: {
        200: json('Yes.', { schema: named('Ready'), example: examples.ready }),
        ...errorResponses(['model_loading', 'model_missing', 'shutting_down']),
      },
    },
    metrics: {
      description:
        'Requests, queues, batches, times, memory, and the model. It needs no key, as it does not reveal what clients have sent. If /health is hidden from the public, hide this too.',
      responses: { 200: text('Prometheus’ text format, version 0.0.4.', examples.metrics) },
    },
    categorize: {
      ...pictures,
      responses: {
        200: pictureAnswer('File name → category; with details=true also scores.', {
          schema: eitherOf('CategorizeDetails', 'CategorizeAnswer'),
          examples: {
            plain: { summary: 'Without options', value: examples.categorizeAnswer },
            details: { summary: 'details=true', value: examples.categorizeDetails },
          },
        }),
        ...errorResponses(pictureErrors, pictureNotes),
      },
    },
    image: {
      ...pictures,
      responses: {
        200: pictureAnswer('Category → file name; with details=true also scores.', {
          schema: eitherOf('ImageDetails', 'ImageAnswer'),
          examples: {
            plain: { summary: 'Without options', value: examples.imageAnswer },
            details: { summary: 'details=true', value: examples.imageDetails },
          },
        }),
        ...errorResponses(pictureErrors, pictureNotes),
      },
    },
    video: {
      description: videoDescription,
      parameters: queryParameters(videoOptionsSchema),
      requestBody: form(
        'A form with one video. Parts may come in any order.',
        'video',
        {
          type: 'string',
          format: 'binary',
          description: `One file: ${listTitles(videoContainers, 'or')} with ${listTitles(videoCodecs, 'or')}, decided by content; at most ${limits.videoBytes} bytes and ${limits.videoSeconds} seconds.`,
        },
        limits.categories,
      ),
      ...securityOf(config),
      responses: {
        200: {
          description: 'Category → frame; with details=true also times, scores and more.',
          content: {
            'application/json': {
              schema: eitherOf('VideoDetails', 'VideoAnswer'),
              examples: {
                plain: { summary: 'Without options', value: examples.videoAnswer },
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
              schema: {
                type: 'string',
                description:
                  'The events of `VideoEvent`, with `event` as the name, and `data` as JSON in one line. Comments keep the connection alive.',
              },
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
    },
  };
}

/** A form with a field for files and the categories. */
function form(description: string, field: 'files' | 'video', files: OpenApiSchema, maxCategories: number) {
  return {
    required: true,
    description,
    content: {
      'multipart/form-data': {
        schema: {
          type: 'object' as const,
          required: [field, 'categories'],
          additionalProperties: false,
          properties: {
            [field]: files,
            categories: {
              type: 'string' as const,
              description: `At most ${maxCategories} categories, as a text field or a file: JSON ({"categories":["a","b"]} or ["a","b"]), CSV or lines of text.`,
              example: 'cat, dog, something else',
            },
          },
        },
      },
    },
  };
}

/** Generated clients use the first schema that fits, so that the open record must come last. */
function eitherOf(details: SchemaName, record: SchemaName): OpenApiSchema {
  return { oneOf: [named(details), named(record)] };
}

function pictureAnswer(description: string, media: MediaType) {
  return {
    ...json(description, media),
    headers: {
      'x-broken-files': {
        schema: { type: 'integer' as const },
        description: 'The number of broken pictures that were skipped; absent if there are none.',
      },
    },
  };
}
