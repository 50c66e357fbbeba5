import * as v from 'valibot';
import { errorCodes } from '../errors.ts';
import { precisions } from '../precision.ts';
import { clientActions, errorMeanings } from './codes.ts';
import { fits } from './options.ts';

/** The shapes of all answers: the types that the code builds, and what the API document shows. */

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const counted = (description: string) => v.pipe(count, v.description(description));
const score = v.pipe(
  v.number(),
  v.description(
    'Softmax over all candidates, 0 to 1; with `others`, over this one and the background: a comparison, not a probability.',
  ),
  v.examples([0.9927937]),
);
const similarity = v.pipe(v.number(), v.description('Cosine, −1 to 1.'), v.examples([0.2556]));
const backgroundSchema = v.pipe(
  v.object({ phrase: v.string(), similarity }),
  v.description(
    'With `others`: the neutral phrase that fits the picture best, which the score compares with.',
  ),
);
const background = v.optional(backgroundSchema);
const seconds = (description: string) =>
  v.pipe(v.number(), v.description(`${description}, in seconds.`), v.examples([12.48]));

/** What a client should do after each code. */
const adviceByCode = Object.entries(clientActions)
  .map(([client, action]) => {
    const codes = errorCodes.filter((code) => errorMeanings[code].client === client);
    return `${codes.map((code) => `\`${code}\``).join(', ')}: ${action}`;
  })
  .join('\n\n');

const errorCodeSchema = v.pipe(
  // Not a picklist: a client must be able to read the answers of a later version.
  v.string(),
  v.metadata({
    description: `Stable; clients may branch on it. Later versions may add codes, so clients treat an unknown one by the status.\n\n${adviceByCode}`,
    'x-extensible-enum': errorCodes,
  }),
);

const id = v.pipe(
  v.optional(v.string()),
  v.description('The one that was sent for the file in the part `ids`; absent if none was sent.'),
);

const fileErrorSchema = v.object({
  file: v.string(),
  id,
  code: errorCodeSchema,
  error: v.pipe(v.string(), v.description('One sentence for a person.')),
});

const fileWarningsSchema = v.pipe(
  v.optional(
    v.array(
      v.object({
        file: v.string(),
        warning: v.pipe(v.string(), v.description('One sentence for a person.')),
      }),
    ),
  ),
  v.description('Pictures that were used although their end is missing. Absent where there are none.'),
);

const fileThumbnailsSchema = v.pipe(
  v.optional(
    v.array(
      v.object({
        file: v.string(),
        image: v.pipe(v.string(), v.description('A JPEG file in base64.')),
      }),
    ),
  ),
  v.description(
    'With thumbnails=true: what the model has looked at, of each picture that browsers do not show. Absent where there are none.',
  ),
);

const synonymsSchema = v.object({
  categories: v.pipe(v.array(v.string()), v.minLength(2), v.maxLength(2)),
  similarity,
  warning: v.pipe(v.string(), v.description('One sentence for a person.')),
});
const categoryWarnings = v.pipe(
  v.optional(v.array(synonymsSchema)),
  v.description(
    'Pairs of categories that mean almost the same to the model, so that they share one score; the most similar first, at most ten. Absent where there are none.',
  ),
);

const loadingProgressSchema = v.object({
  stage: v.picklist(['searching', 'downloading', 'verifying', 'compiling', 'warming_up']),
  bytes_done: v.optional(count),
  bytes_total: v.optional(count),
  seconds_left: v.optional(v.number()),
});

export const errorSchema = v.pipe(
  v.looseObject({
    error: v.pipe(
      v.string(),
      v.description('One sentence for a person: what was sent, and what is accepted.'),
    ),
    code: errorCodeSchema,
    errors: v.pipe(
      v.optional(v.array(fileErrorSchema)),
      v.description('Every picture that cannot be used, in the order sent.'),
    ),
    retry_after_seconds: v.optional(counted('When to send the request again, as in the header retry-after.')),
    progress: v.optional(loadingProgressSchema),
    request_id: v.pipe(v.optional(v.string()), v.description('Of a bug, for the report of it.')),
    allow: v.pipe(v.optional(v.array(v.string())), v.description('The methods that the path accepts.')),
    limit: v.optional(counted('The most that is accepted of what was too much.')),
    categories: v.optional(counted('How many were sent.')),
    phrases: v.optional(counted('How many were sent.')),
    templates: v.optional(counted('How many were sent.')),
    label: v.pipe(v.optional(v.string()), v.description('The category that is too long, shortened.')),
    tokens: v.optional(counted('Of the category that is too long.')),
    characters: v.optional(counted('Of the category that is too long.')),
    line: v.optional(counted('Of the categories document where it is malformed, from 1.')),
    column: v.optional(counted('Of that line, from 1.')),
    byte: v.optional(counted('Of the categories document where it is malformed, from 0.')),
    element: v.pipe(
      v.optional(v.string()),
      v.description('Of the JSON that cannot be used: `categories[3]`, `categories["dog"][1]`.'),
    ),
    codec: v.pipe(v.optional(v.string()), v.description('Of a video that is not accepted.')),
    width: v.optional(counted('Of a video that is too large, in pixels.')),
    height: v.optional(counted('Of a video that is too large, in pixels.')),
  }),
  v.description(
    'The body of every failure. Which fields it has beside `error` and `code` depends on the code.',
  ),
);

const modelSchema = v.object({
  name: v.string(),
  sha256: v.pipe(v.string(), v.description('Of the checkpoint.')),
  precision: v.picklist(precisions),
  embedding_dimension: count,
  image_resolution: counted('Width and height of what the model looks at, in pixels.'),
});

export const categorizeAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.string())),
  v.description('File name → category, in the order sent.'),
);

export const categorizeSeveralAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.array(v.string()))),
  v.description(
    'With several=true: file name → all categories that reach the threshold, best first; null: a broken file.',
  ),
);

export const imageAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.string())),
  v.description('Category → name of the file that fits it best, in the order sent.'),
);

const categories = v.pipe(
  v.optional(v.array(v.string())),
  v.description('With several=true: all categories that reach the threshold, best first.'),
);

const categorizeResultSchema = v.object({
  file: v.string(),
  id,
  category: v.nullable(v.string()),
  categories,
  score: v.nullable(score),
  similarity: v.nullable(similarity),
  background,
  scores: v.array(v.object({ category: v.string(), score, similarity })),
});

export const categorizeDetailsSchema = v.object({
  model: modelSchema,
  results: v.array(categorizeResultSchema),
  errors: v.array(fileErrorSchema),
  warnings: fileWarningsSchema,
  category_warnings: categoryWarnings,
  thumbnails: fileThumbnailsSchema,
});

const imageResultSchema = v.object({
  category: v.string(),
  file: v.nullable(v.string()),
  id,
  score: v.nullable(score),
  similarity: v.nullable(similarity),
  background,
  scores: v.pipe(
    v.array(v.object({ file: v.string(), id, score, similarity, background })),
    v.description(
      'Best first: by similarity; with `others`, files that reach the threshold come before the rest.',
    ),
  ),
});

export const imageDetailsSchema = v.object({
  model: modelSchema,
  results: v.array(imageResultSchema),
  errors: v.array(fileErrorSchema),
  warnings: fileWarningsSchema,
  category_warnings: categoryWarnings,
  thumbnails: fileThumbnailsSchema,
});

/** The progress of /categorize and /embeddings, if they answer one by one. */
export const pictureProgressSchema = v.object({
  stage: v.pipe(
    v.picklist(['uploading', 'encoding']),
    v.description('uploading: the body arrives. encoding: it is complete, and the model looks at the rest.'),
  ),
  bytes_done: count,
  bytes_total: v.optional(counted('Absent where the request has no Content-Length.')),
  files_received: count,
  files_done: counted('Encoded or broken.'),
});

const index = counted('Place of the file in the request, from 0.');
const thumbnail = v.pipe(
  v.optional(v.string()),
  v.description('With thumbnails=true: a JPEG file in base64.'),
);

const pictureProgressEventSchema = v.object({
  event: v.picklist(['progress']),
  data: pictureProgressSchema,
});
const brokenEventSchema = v.object({
  event: v.picklist(['broken']),
  data: v.object({ index, ...fileErrorSchema.entries }),
});
const endEventSchema = v.object({
  event: v.picklist(['end']),
  data: v.object({
    model: modelSchema,
    files: counted('All that were sent.'),
    broken: count,
    category_warnings: categoryWarnings,
  }),
});
const errorEventSchema = v.object({ event: v.picklist(['error']), data: errorSchema });
const categorizeAnswerEventSchema = v.object({
  event: v.picklist(['answer']),
  data: v.object({
    index,
    file: v.string(),
    id,
    category: v.nullable(v.string()),
    categories,
    score: v.pipe(v.optional(score), v.description('With details, like the other numbers.')),
    similarity: v.optional(similarity),
    background,
    scores: v.optional(v.array(v.object({ category: v.string(), score, similarity }))),
    warning: v.pipe(v.optional(v.string()), v.description('What is missing of the picture.')),
    thumbnail,
  }),
});

export const categorizeEventSchema = v.variant('event', [
  pictureProgressEventSchema,
  categorizeAnswerEventSchema,
  brokenEventSchema,
  endEventSchema,
  errorEventSchema,
]);

const embeddingSchema = v.pipe(
  v.union([v.array(v.number()), v.string()]),
  v.description(
    'L2-normalised. A list of numbers; with `encoding_format` base64, the base64 of its float32 numbers in little-endian order.',
  ),
);
const logitScale = v.pipe(
  v.number(),
  v.description(
    'Cosines are multiplied by it before they become scores: the scores of /categorize are the softmax of the products.',
  ),
);
/** What made an embedding. */
const originEntries = {
  model: v.pipe(v.string(), v.description('The model’s name.')),
  sha256: v.pipe(v.string(), v.description('Of the model’s checkpoint.')),
  precision: v.picklist(precisions),
  dimension: counted('How many numbers an embedding has.'),
  logit_scale: logitScale,
  fit: v.pipe(
    v.optional(v.picklist(fits)),
    v.description('How the pictures were fitted into the model’s square; absent: crop.'),
  ),
};
const file = v.pipe(v.optional(v.string()), v.description('Of a picture: its name.'));
const text = v.pipe(v.optional(v.string()), v.description('Of a text: the text.'));

const tile = v.pipe(
  v.optional(count),
  v.description('With fit=tiles: the place of the square in its picture, from 1.'),
);
const tiles = v.pipe(
  v.optional(count),
  v.description(
    'With fit=tiles: how many squares the picture has, 1 to 8. Each has an entry, one after another.',
  ),
);

const embeddingResultSchema = v.object({ file, id, text, tile, tiles, embedding: embeddingSchema });

export const embeddingsAnswerSchema = v.pipe(
  v.object({
    ...originEntries,
    embeddings: v.pipe(
      v.array(embeddingResultSchema),
      v.description('First those of the pictures, then those of the texts, each in the order sent.'),
    ),
    errors: v.array(fileErrorSchema),
    warnings: fileWarningsSchema,
    thumbnails: fileThumbnailsSchema,
  }),
  v.description('Can be sent as the part `embeddings` to /categorize and /image.'),
);

const embeddingEventSchema = v.object({
  event: v.picklist(['embedding']),
  data: v.object({
    index: counted('Place in the request, from 0; texts come after all files.'),
    file,
    id,
    text,
    tile,
    tiles,
    ...originEntries,
    embedding: embeddingSchema,
    thumbnail,
  }),
});

export const embeddingsEventSchema = v.variant('event', [
  pictureProgressEventSchema,
  embeddingEventSchema,
  brokenEventSchema,
  endEventSchema,
  errorEventSchema,
]);

/** In the form of OpenAI's API. */
export const embeddingListSchema = v.object({
  object: v.picklist(['list']),
  data: v.array(v.object({ object: v.picklist(['embedding']), index: count, embedding: embeddingSchema })),
  model: v.string(),
  usage: v.object({ prompt_tokens: counted('Of the texts; pictures have none.'), total_tokens: count }),
  logit_scale: logitScale,
});

/** In the form of Hugging Face's zero-shot image classification. */
const labelScoreSchema = v.object({ label: v.string(), score });
export const labelScoresSchema = v.union([
  v.array(labelScoreSchema),
  v.pipe(v.array(v.array(labelScoreSchema)), v.description('If `inputs` was a list.')),
]);

export const videoAnswerSchema = v.pipe(
  v.record(v.string(), v.nullable(v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(2)))),
  v.description(
    'Category → the frame that fits it best, in the order sent: its name (the video’s, with the seconds) and the frame as it is displayed, a JPEG file in base64. With images=false only the name; null below the threshold.',
  ),
);

const timestamp = seconds('Place of the frame in the video');

const videoMomentSchema = v.object({
  start: seconds('Time of the first frame in which the category holds'),
  end: seconds('Time of the next frame that was looked at, or the end of the video'),
  timestamp,
  similarity,
});

const videoResultSchema = v.object({
  category: v.string(),
  file: v.nullable(v.string()),
  timestamp: v.nullable(timestamp),
  score,
  similarity,
  background,
  image: v.optional(v.nullable(v.pipe(v.string(), v.description('A JPEG file in base64.')))),
  scores: v.pipe(
    v.array(v.object({ timestamp, score, similarity, background })),
    v.description(
      'Frames at least a second apart, best first: by similarity; with `others`, frames that reach the threshold come before the rest.',
    ),
  ),
  moments: v.pipe(
    v.optional(v.array(videoMomentSchema)),
    v.description(
      'With moments=true: the parts of the video in which the category holds, the one with the best frame first. A category holds where its similarity is in the upper third of its range over the video and, with `others`, its score reaches the threshold.',
    ),
  ),
});

export const videoDetailsSchema = v.object({
  model: modelSchema,
  video: v.object({
    duration: seconds('Length'),
    width: counted('As displayed, like the height.'),
    height: count,
    frame_rate: v.pipe(v.number(), v.description('Frames a second, on average.')),
    codec: v.string(),
    frames_considered: counted('Frames that the model has looked at.'),
    scenes: counted('How many scenes were found.'),
  }),
  results: v.array(videoResultSchema),
  warnings: v.pipe(
    v.array(v.string()),
    v.description('Which parts of the video could not be used, in sentences for a person.'),
  ),
  category_warnings: categoryWarnings,
});

export const videoProgressSchema = v.object({
  stage: v.pipe(
    v.picklist(['waiting', 'uploading', 'indexing', 'searching', 'rendering']),
    v.description(
      'waiting: other videos come first. uploading: the body arrives. indexing: the table of frames is read. searching: the model looks at frames. rendering: the best ones become pictures.',
    ),
  ),
  bytes_done: v.optional(count),
  bytes_total: v.optional(counted('Absent where the request has no Content-Length.')),
  seconds_done: v.optional(seconds('Part of the video that was searched')),
  seconds_total: v.optional(seconds('Length of the video')),
  frames: v.optional(counted('Frames worth looking at that were found so far.')),
  images_done: v.optional(count),
  images_total: v.optional(count),
});

const videoProgressEventSchema = v.object({ event: v.picklist(['progress']), data: videoProgressSchema });
const videoResultEventSchema = v.object({
  event: v.picklist(['result']),
  data: v.union([videoDetailsSchema, videoAnswerSchema]),
});
export const videoEventSchema = v.variant('event', [
  videoProgressEventSchema,
  videoResultEventSchema,
  errorEventSchema,
]);

const agreementSchema = v.object({
  count,
  mean_cosine: v.pipe(v.number(), v.examples([0.9996])),
  min_cosine: v.pipe(v.number(), v.examples([0.9992])),
});

const precisionReportSchema = v.pipe(
  v.object({
    accepted: v.pipe(v.boolean(), v.description('Whether int8 is close enough to fp32, by all limits.')),
    reasons: v.pipe(v.array(v.string()), v.description('A clause for each limit that was missed.')),
    pictures: agreementSchema,
    texts: agreementSchema,
    best_labels: v.object({
      clear: counted('Choices among ten labels, and among all, of which fp32 is not in doubt.'),
      agreeing: counted('In how many of them int8 chooses the same.'),
    }),
    fp32_products: v.pipe(
      v.array(v.string()),
      v.description('Matrix products that stay in fp32, because int8 would lose too much in them.'),
    ),
    row_scale_products: v.pipe(
      v.array(v.string()),
      v.description(
        'Matrix products in int8 with a scale for each row, because one scale for all rows would lose too much in them.',
      ),
    ),
  }),
  v.description(
    'How int8 compared with fp32 on synthetic pictures and texts when the model was compiled; null where nothing was compared.',
  ),
);

export const healthSchema = v.object({
  status: v.pipe(v.picklist(['ok']), v.description('The process runs and answers.')),
  state: v.pipe(
    v.picklist(['loading', 'unavailable', 'ready', 'shutting_down']),
    v.description('/ready answers 200 where this is `ready`.'),
  ),
  message: v.optional(v.string()),
  progress: v.optional(loadingProgressSchema),
  // In OpenAPI 3.0, a reference cannot be null.
  model: v.nullable(v.object(modelSchema.entries)),
  precision_report: v.nullable(precisionReportSchema),
  needs_key: v.pipe(v.boolean(), v.description('Whether questions need the operator’s API key.')),
  version: v.string(),
  uptime_seconds: count,
});

export const readySchema = v.object({
  ready: v.pipe(v.boolean(), v.description('Always true: otherwise the answer is an error.')),
  model: modelSchema,
});

/** The schemas by their names in the API document, which generated clients use for their types. */
export const namedSchemas = {
  Error: errorSchema,
  ErrorCode: errorCodeSchema,
  FileError: fileErrorSchema,
  Model: modelSchema,
  Background: backgroundSchema,
  Synonyms: synonymsSchema,
  CategorizeAnswer: categorizeAnswerSchema,
  CategorizeSeveralAnswer: categorizeSeveralAnswerSchema,
  CategorizeDetails: categorizeDetailsSchema,
  CategorizeResult: categorizeResultSchema,
  ImageAnswer: imageAnswerSchema,
  ImageDetails: imageDetailsSchema,
  ImageResult: imageResultSchema,
  CategorizeEvent: categorizeEventSchema,
  CategorizeAnswerEvent: categorizeAnswerEventSchema,
  LabelScore: labelScoreSchema,
  EmbeddingsAnswer: embeddingsAnswerSchema,
  EmbeddingResult: embeddingResultSchema,
  EmbeddingsEvent: embeddingsEventSchema,
  EmbeddingEvent: embeddingEventSchema,
  EmbeddingList: embeddingListSchema,
  PictureProgress: pictureProgressSchema,
  PictureProgressEvent: pictureProgressEventSchema,
  BrokenEvent: brokenEventSchema,
  EndEvent: endEventSchema,
  VideoAnswer: videoAnswerSchema,
  VideoDetails: videoDetailsSchema,
  VideoResult: videoResultSchema,
  VideoMoment: videoMomentSchema,
  VideoEvent: videoEventSchema,
  VideoProgressEvent: videoProgressEventSchema,
  VideoResultEvent: videoResultEventSchema,
  ErrorEvent: errorEventSchema,
  VideoProgress: videoProgressSchema,
  Health: healthSchema,
  Ready: readySchema,
  LoadingProgress: loadingProgressSchema,
} as const satisfies Record<string, v.GenericSchema>;

export type WireError = v.InferOutput<typeof errorSchema>;
export type WireModel = v.InferOutput<typeof modelSchema>;
export type WirePrecisionReport = v.InferOutput<typeof precisionReportSchema>;
export type WireProgress = v.InferOutput<typeof loadingProgressSchema>;
export type Health = v.InferOutput<typeof healthSchema>;
export type Ready = v.InferOutput<typeof readySchema>;
export type WireSynonyms = v.InferOutput<typeof synonymsSchema>;
export type CategorizeDetails = v.InferOutput<typeof categorizeDetailsSchema>;
export type ImageDetails = v.InferOutput<typeof imageDetailsSchema>;
export type PictureProgress = v.InferOutput<typeof pictureProgressSchema>;
export type CategorizeEvent = v.InferOutput<typeof categorizeEventSchema>;
export type EmbeddingsAnswer = v.InferOutput<typeof embeddingsAnswerSchema>;
export type EmbeddingsEvent = v.InferOutput<typeof embeddingsEventSchema>;
export type EmbeddingList = v.InferOutput<typeof embeddingListSchema>;
export type LabelScores = v.InferOutput<typeof labelScoresSchema>;
export type VideoMoment = v.InferOutput<typeof videoMomentSchema>;
export type VideoDetails = v.InferOutput<typeof videoDetailsSchema>;
export type VideoProgress = v.InferOutput<typeof videoProgressSchema>;
export type VideoEvent = v.InferOutput<typeof videoEventSchema>;
