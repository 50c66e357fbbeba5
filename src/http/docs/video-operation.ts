import type { DocumentDecoration } from 'elysia';
import type { Config } from '../../config.ts';
import { videoOptionsSchema } from '../options.ts';
import * as schemas from '../schemas.ts';
import * as examples from './examples.ts';
import { openApiSchema } from './open-api-schema.ts';
import {
  categoriesField,
  errorResponses,
  queryParameters,
  securityOf,
  uploadErrors,
} from './operation-parts.ts';

const description = `Looks at the frames that are worth it, one or more of every scene, and answers with the best one for each category, as a full-size picture.

A long video takes minutes. With \`Accept: application/x-ndjson\` or \`Accept: text/event-stream\` the answer begins at once, with status 200: \`progress\` events, a few a second at most, and as the last event either \`result\`, with the JSON answer as its data, or \`error\`, with the body that the error would have had. What is wrong with the query, the headers or the key, and a service that is not ready, is still answered with a status of its own.`;

export function describeVideo({ limits, apiKey }: Pick<Config, 'limits' | 'apiKey'>): DocumentDecoration {
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
                description: `One file: MP4, M4V or MOV, also WebM or Matroska, with H.264, HEVC, AV1, VP9 or MPEG-4, decided by content; at most ${limits.videoBytes} bytes and ${limits.videoSeconds} seconds.`,
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
              oneOf: [openApiSchema(schemas.videoAnswerSchema), openApiSchema(schemas.videoDetailsSchema)],
            },
            examples: {
              plain: { summary: 'As it is', value: examples.videoAnswer },
              named: { summary: 'images=false', value: examples.videoAnswerNamed },
              details: { summary: 'details=true', value: examples.videoDetails },
            },
          },
          'application/x-ndjson': {
            schema: openApiSchema(schemas.videoEventSchema),
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
