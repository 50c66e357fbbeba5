import type { DocumentDecoration } from 'elysia';
import type { Config } from '../../config.ts';
import { clientActions, errorMeanings, statusOf } from '../../contract/codes.ts';
import { type EndpointName, endpointNames, endpoints } from '../../contract/endpoints.ts';
import { listTitles, pictureFormats, videoCodecs, videoContainers } from '../../contract/formats.ts';
import {
  embeddingsOptionsSchema,
  imageOptionsSchema,
  optionsSchema,
  type QuerySchema,
  videoOptionsSchema,
} from '../../contract/options.ts';
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
  'json_invalid',
  'files_missing',
  'files_too_many',
  'ids_invalid',
  'image_unsupported',
  'image_too_large',
  'files_broken',
];

const questionErrors: readonly examples.DocumentedCode[] = [
  ...pictureErrors,
  'embeddings_invalid',
  'embeddings_mismatch',
];

const pictureNotes = {
  413: 'A picture that is too large is answered with 422 and named in `errors`. Only with `on_error=skip`, and where its bytes continue long after the limit, the request is ended with `image_too_large`.',
  415: '`image_unsupported`: where all pictures that cannot be used are of this kind; otherwise it is a code in `errors` of 422.',
  422: '`errors` has a code for each picture: `image_empty`, `image_unsupported`, `image_too_large` or `image_broken`.',
};

const videoDescription = `Compares one or more frames of every scene with the categories, and answers with the best frame for each category, as a full-size picture.

A long video takes minutes. With \`Accept: application/x-ndjson\` or \`Accept: text/event-stream\`, the answer begins at once, with status 200. It consists of \`progress\` events, at most a few a second, and a last event: either \`result\`, whose data is the JSON answer, or \`error\`, whose data is the body of the failing answer. Faults of the query, the headers or the key, and a service that is not ready, are answered with their own status.`;

const oneByOne = (answers: string) =>
  `With \`Accept: application/x-ndjson\` or \`Accept: text/event-stream\`, the answer begins at once, with status 200, and consists of events: ${answers} as soon as it is known; \`broken\` for each picture that cannot be used; \`progress\`, at most a few a second; and a last event, either \`end\`, or \`error\`, whose data is the body of the failing answer. Events come in the order in which pictures are known: \`index\` is the place in the request. Clients may send the whole request before they read.`;

const categorizeDescription = `${oneByOne('`answer` for each picture,')} Answers begin when the categories have arrived, so send them first.

A JSON body in the form of Hugging Face’s zero-shot image classification is answered in that form, with all labels, best first.`;

const embeddingsDescription = `Embeddings are L2-normalised float32 numbers: the dot product of two of them is their similarity. The service keeps none of them. With \`fit=tiles\`, a picture has an entry for each of its squares, one after another.

${oneByOne('`embedding` for each picture and text,')}

A JSON body in the form of OpenAI’s embeddings API is answered in that form. \`input\` has texts, and pictures as data URLs. \`model\` is not compared with the model of the service, which the answer names. One picture that cannot be used fails the request.`;

const tags = {
  welcome: 'Service',
  probe: 'Service',
  pictures: 'Pictures',
  embeddings: 'Pictures',
  video: 'Videos',
};

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
  const files = {
    type: 'array' as const,
    items: { type: 'string' as const, format: 'binary' },
    minItems: 1,
    maxItems: limits.files,
    description: `Pictures, one part each: ${listTitles(pictureFormats, 'or')}, decided by content; at most ${limits.imageBytes} bytes and ${limits.imagePixels} pixels each. A second file of the same name is answered as \`name (2)\`. Parts may also be named \`files[]\` or \`files[0]\`, \`files[1]\`.`,
  };
  const ids = {
    type: 'array' as const,
    items: { type: 'string' as const, maxLength: 1024 },
    maxItems: limits.files,
    description:
      'Your own names for the files, which detailed answers and events repeat as `id`: one for each file, or one JSON list. If answers come one by one, ids come before their files.',
  };
  const pictureForm = form(
    'A form of any size; pictures are classified while it arrives. Parts may come in any order.',
    ['categories'],
    {
      files: {
        ...files,
        description: `${files.description} They may be left out where embeddings are sent.`,
      },
      embeddings: {
        type: 'array',
        items: { type: 'string', format: 'binary' },
        description:
          'Embeddings of pictures, instead of pictures or in addition to them: answers of /embeddings as JSON or as lines of JSON, or documents like `{"sha256":"…","precision":"fp32","embeddings":[{"file":"photo.jpg","embedding":[…]}]}`. They are answered exactly as the pictures would be. The request must have the `fit` that they were made with.',
      },
      ids,
      categories: categoriesField(limits.categories),
    },
  );
  const pictures = {
    parameters: queryParameters(optionsSchema),
    requestBody: pictureForm,
    ...securityOf(config),
  } satisfies DocumentDecoration;
  const embeddings: DocumentDecoration = {
    description: embeddingsDescription,
    parameters: queryParameters(embeddingsOptionsSchema),
    requestBody: withJson(
      form('A form of any size; pictures are encoded while it arrives. Parts may come in any order.', [], {
        files,
        texts: {
          type: 'array',
          items: { type: 'string' },
          description:
            'Texts: each field is one text, exactly as written. A file, or a field with JSON, is a list like the categories of the other endpoints.',
          example: ['a photo of a cat'],
        },
        ids,
      }),
      {
        schema: {
          type: 'object',
          required: ['input'],
          properties: {
            model: { type: 'string', description: 'Not compared with the model of the service.' },
            input: {
              oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
              description: 'Texts, and pictures as data URLs in base64.',
            },
            encoding_format: { type: 'string', enum: ['float', 'base64'], default: 'float' },
            dimensions: { type: 'integer', description: 'Only the model’s own dimension is accepted.' },
          },
        },
        example: examples.embeddingRequest,
      },
    ),
    ...securityOf(config),
    responses: {
      200: pictureAnswer(
        'The embeddings of all pictures and texts; in the form of OpenAI’s API if the request was.',
        {
          'application/json': {
            schema: { oneOf: [named('EmbeddingsAnswer'), named('EmbeddingList')] },
            examples: {
              form: { summary: 'To a form', value: examples.embeddingsAnswer },
              json: { summary: 'To a JSON body', value: examples.embeddingList },
            },
          },
          ...eventMedia('EmbeddingsEvent', examples.embeddingsEvents),
        },
      ),
      ...errorResponses(
        pictureErrors.filter((code) => code !== 'categories_missing'),
        pictureNotes,
      ),
    },
  };
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
      description: categorizeDescription,
      requestBody: withJson(pictureForm, {
        schema: {
          type: 'object',
          required: ['inputs', 'parameters'],
          properties: {
            inputs: {
              oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
              description:
                'A picture in base64 or as a data URL, or a list of them. A picture may also be an object, `{"image":"<base64>"}`.',
            },
            parameters: {
              type: 'object',
              required: ['candidate_labels'],
              properties: {
                candidate_labels: { type: 'array', items: { type: 'string' }, minItems: 1 },
                hypothesis_template: {
                  type: 'string',
                  description: 'A sentence with {} in the place of the label. Default: the label alone.',
                },
              },
            },
          },
        },
        example: examples.zeroShotRequest,
      }),
      responses: {
        200: pictureAnswer('File name → category; with details=true also scores.', {
          'application/json': {
            schema: {
              oneOf: [
                named('CategorizeDetails'),
                { type: 'array', items: named('LabelScore') },
                { type: 'array', items: { type: 'array', items: named('LabelScore') } },
                named('CategorizeAnswer'),
                named('CategorizeSeveralAnswer'),
              ],
            },
            examples: {
              plain: { summary: 'Without options', value: examples.categorizeAnswer },
              several: { summary: 'several=true', value: examples.categorizeSeveral },
              details: { summary: 'details=true', value: examples.categorizeDetails },
              others: { summary: 'details=true&several=true', value: examples.categorizeOthers },
              labels: { summary: 'To a JSON body', value: examples.labelScores },
              lists: { summary: 'To a JSON body with a list', value: examples.labelScoresOfList },
            },
          },
          ...eventMedia('CategorizeEvent', examples.categorizeEvents),
        }),
        ...errorResponses(questionErrors, pictureNotes),
      },
    },
    image: {
      ...pictures,
      parameters: queryParameters(imageOptionsSchema),
      responses: {
        200: pictureAnswer('Category → file name; with details=true also scores.', {
          'application/json': {
            schema: eitherOf('ImageDetails', 'ImageAnswer'),
            examples: {
              plain: { summary: 'Without options', value: examples.imageAnswer },
              details: { summary: 'details=true', value: examples.imageDetails },
            },
          },
        }),
        ...errorResponses(
          questionErrors.filter((code) => code !== 'json_invalid'),
          pictureNotes,
        ),
      },
    },
    embeddings,
    embeddings_v1: embeddings,
    video: {
      description: videoDescription,
      parameters: queryParameters(videoOptionsSchema),
      requestBody: form('A form with one video. Parts may come in any order.', ['video', 'categories'], {
        video: {
          type: 'string',
          format: 'binary',
          description: `One file: ${listTitles(videoContainers, 'or')} with ${listTitles(videoCodecs, 'or')}, decided by content; at most ${limits.videoBytes} bytes and ${limits.videoSeconds} seconds.`,
        },
        categories: categoriesField(limits.categories),
      }),
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
            ...eventMedia('VideoEvent', examples.videoEvents),
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

type Content = { readonly [mediaType: string]: MediaType };

/** A form. */
function form(
  description: string,
  required: readonly string[],
  properties: Readonly<Record<string, OpenApiSchema>>,
) {
  return {
    required: true,
    description,
    content: {
      'multipart/form-data': {
        schema: {
          type: 'object' as const,
          ...(required.length > 0 && { required: [...required] }),
          additionalProperties: false,
          properties,
        },
      },
    } as Content,
  };
}

/** A form, or a body in JSON. */
function withJson({ content, ...body }: ReturnType<typeof form>, media: MediaType) {
  return { ...body, content: { ...content, 'application/json': media } };
}

function categoriesField(maxCategories: number): OpenApiSchema {
  return {
    type: 'string',
    description: `At most ${maxCategories} categories, as a text field or a file: JSON ({"categories":["a","b"]} or ["a","b"]), CSV or lines of text. In JSON, a category may have several phrases, which are averaged: {"categories":{"dog":["a dog","a puppy"],"cat":"a cat"}}.`,
    example: 'cat, dog, something else',
  };
}

/** An answer of events, in both notations. */
function eventMedia(
  schema: SchemaName,
  events: readonly { readonly event: string; readonly data: object }[],
): Content {
  return {
    'application/x-ndjson': {
      schema: named(schema),
      examples: Object.fromEntries(
        events.map((event) => [event.event, { summary: 'One line', value: event }]),
      ),
    },
    'text/event-stream': {
      schema: {
        type: 'string',
        description: `The events of \`${schema}\`, with \`event\` as the name, and \`data\` as JSON in one line. Comments keep the connection alive.`,
      },
      example: events.map(({ event, data }) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join(''),
    },
  };
}

/** Generated clients use the first schema that fits, so that the open record must come last. */
function eitherOf(details: SchemaName, record: SchemaName): OpenApiSchema {
  return { oneOf: [named(details), named(record)] };
}

function pictureAnswer(description: string, content: Content) {
  return {
    description,
    content,
    headers: {
      'x-broken-files': {
        schema: { type: 'integer' as const },
        description: 'The number of broken pictures that were skipped; absent if there are none.',
      },
    },
  };
}
