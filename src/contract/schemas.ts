import * as v from 'valibot';
import { errorCodes } from '../errors.ts';

/** The shapes of all answers: the types the code builds, and what the documentation shows. */

const errorCode = v.picklist(errorCodes);
const score = v.pipe(
  v.number(),
  v.description('Softmax over all candidates, 0 to 1.'),
  v.examples([0.9927937]),
);
const similarity = v.pipe(v.number(), v.description('Cosine, −1 to 1.'), v.examples([0.2556]));

export const errorSchema = v.pipe(
  v.looseObject({
    error: v.pipe(v.string(), v.description('One sentence for a person: what came, and what is accepted.')),
    code: v.pipe(errorCode, v.description('Stable; clients may branch on it.')),
  }),
  v.description('Every failure has this body; some codes add fields.'),
);

export const brokenFileSchema = v.object({
  file: v.string(),
  code: errorCode,
  error: v.string(),
});

export const modelSchema = v.object({
  name: v.string(),
  sha256: v.pipe(v.string(), v.description('Of the checkpoint.')),
  precision: v.picklist(['fp32', 'int8']),
  embedding_dimension: v.number(),
  image_resolution: v.number(),
});

export const categorizeAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.string())),
  v.description('File name → category, in the order sent.'),
);

export const imageAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.string())),
  v.description('Category → name of the file that fits it best, in the order sent.'),
);

export const categorizeDetailsSchema = v.object({
  model: modelSchema,
  results: v.array(
    v.object({
      file: v.string(),
      category: v.nullable(v.string()),
      score: v.nullable(score),
      similarity: v.nullable(similarity),
      scores: v.array(v.object({ category: v.string(), score, similarity })),
    }),
  ),
  errors: v.array(brokenFileSchema),
});

export const imageDetailsSchema = v.object({
  model: modelSchema,
  results: v.array(
    v.object({
      category: v.string(),
      file: v.nullable(v.string()),
      score: v.nullable(score),
      similarity: v.nullable(similarity),
      scores: v.array(v.object({ file: v.string(), score, similarity })),
    }),
  ),
  errors: v.array(brokenFileSchema),
});

const seconds = (description: string) =>
  v.pipe(v.number(), v.description(`${description}, in seconds.`), v.examples([12.48]));
const base64 = v.pipe(v.string(), v.description('A JPEG file in base64.'));

export const videoAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(2)))),
  v.description(
    'Category → the frame that fits it best, in the order sent: its name (the video’s, with the seconds) and the frame as it is displayed, a JPEG file in base64. With images=false the name alone; null below the threshold.',
  ),
);

export const videoDetailsSchema = v.object({
  model: modelSchema,
  video: v.object({
    duration: seconds('Length'),
    width: v.pipe(v.number(), v.description('As displayed, like the height.')),
    height: v.number(),
    frame_rate: v.pipe(v.number(), v.description('Frames a second, on average.')),
    codec: v.string(),
    frames_considered: v.pipe(v.number(), v.description('Frames that the model has looked at.')),
    scenes: v.pipe(v.number(), v.description('How many scenes were found.')),
  }),
  results: v.array(
    v.object({
      category: v.string(),
      file: v.nullable(v.string()),
      timestamp: v.nullable(seconds('Place of the frame in the video')),
      score,
      similarity,
      image: v.optional(v.nullable(base64)),
      scores: v.array(v.object({ timestamp: seconds('Place of the frame in the video'), score, similarity })),
    }),
  ),
  warnings: v.pipe(
    v.array(v.string()),
    v.description('What of the video could not be used, in sentences for a person.'),
  ),
});

export const videoProgressSchema = v.object({
  stage: v.pipe(
    v.picklist(['waiting', 'uploading', 'indexing', 'searching', 'rendering']),
    v.description(
      'waiting: for other videos. uploading: the body arrives. indexing: what frames there are is read. searching: those worth it are looked at. rendering: the best ones become pictures.',
    ),
  ),
  bytes_done: v.optional(v.number()),
  bytes_total: v.optional(v.pipe(v.number(), v.description('Where the client has told it.'))),
  seconds_done: v.optional(seconds('Looked through of the video')),
  seconds_total: v.optional(seconds('Length of the video')),
  frames: v.optional(v.pipe(v.number(), v.description('Found worth looking at so far.'))),
  images_done: v.optional(v.number()),
  images_total: v.optional(v.number()),
});

export const videoEventSchema = v.variant('event', [
  v.object({ event: v.literal('progress'), data: videoProgressSchema }),
  v.object({ event: v.literal('result'), data: v.union([videoDetailsSchema, videoAnswerSchema]) }),
  v.object({ event: v.literal('error'), data: errorSchema }),
]);

const progressSchema = v.object({
  stage: v.picklist(['searching', 'downloading', 'verifying', 'compiling', 'warming_up']),
  bytes_done: v.optional(v.number()),
  bytes_total: v.optional(v.number()),
  seconds_left: v.optional(v.number()),
});

const agreementSchema = v.object({
  count: v.number(),
  mean_cosine: v.pipe(v.number(), v.examples([0.9996])),
  min_cosine: v.pipe(v.number(), v.examples([0.9992])),
});

const precisionReportSchema = v.pipe(
  v.object({
    accepted: v.pipe(v.boolean(), v.description('Whether int8 is as good as fp32 by all limits.')),
    reasons: v.pipe(v.array(v.string()), v.description('A clause for each limit that was missed.')),
    pictures: agreementSchema,
    texts: agreementSchema,
    best_labels: v.object({
      clear: v.pipe(v.number(), v.description('Choices among ten labels of which fp32 is not in doubt.')),
      agreeing: v.pipe(v.number(), v.description('In how many of them int8 says the same.')),
    }),
  }),
  v.description(
    'How int8 answered a set of made pictures and texts, held against fp32, when the model was compiled; null where nothing was compared.',
  ),
);

export const healthSchema = v.object({
  status: v.pipe(v.literal('ok'), v.description('The process lives and answers.')),
  state: v.pipe(
    v.picklist(['loading', 'unavailable', 'ready', 'shutting_down']),
    v.description('What /ready judges by.'),
  ),
  message: v.optional(v.string()),
  progress: v.optional(progressSchema),
  model: v.nullable(modelSchema),
  precision_report: v.nullable(precisionReportSchema),
  version: v.string(),
  uptime_seconds: v.number(),
});

export const readySchema = v.object({
  ready: v.pipe(v.boolean(), v.description('Always true: otherwise the answer is an error.')),
  model: modelSchema,
});

export type WireModel = v.InferOutput<typeof modelSchema>;
export type WirePrecisionReport = v.InferOutput<typeof precisionReportSchema>;
export type WireProgress = v.InferOutput<typeof progressSchema>;
export type Health = v.InferOutput<typeof healthSchema>;
export type Ready = v.InferOutput<typeof readySchema>;
export type CategorizeDetails = v.InferOutput<typeof categorizeDetailsSchema>;
export type ImageDetails = v.InferOutput<typeof imageDetailsSchema>;
export type VideoDetails = v.InferOutput<typeof videoDetailsSchema>;
export type VideoProgress = v.InferOutput<typeof videoProgressSchema>;
export type VideoEvent = v.InferOutput<typeof videoEventSchema>;
