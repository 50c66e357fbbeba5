import { version } from '../../../package.json';
import type { embeddingsOptionsSchema, optionsSchema, videoOptionsSchema } from '../../contract/options.ts';
import type {
  CategorizeDetails,
  CategorizeEvent,
  EmbeddingList,
  EmbeddingsAnswer,
  EmbeddingsEvent,
  Health,
  ImageDetails,
  LabelScores,
  VideoDetails,
  VideoEvent,
  WireError,
  WireModel,
} from '../../contract/schemas.ts';
import type { ErrorCode } from '../../errors.ts';
import { welcome as welcomeText } from '../health.ts';

/** What the API document shows. Errors are recorded answers; tests compare everything here with a running service. */

const model: WireModel = {
  name: 'ViT-B/32',
  sha256: '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af',
  precision: 'int8',
  embedding_dimension: 512,
  image_resolution: 224,
};

const errors = [
  {
    file: 'broken.jpg',
    code: 'image_broken' as const,
    error: 'The JPEG picture is truncated: 53 % of its pixels are missing, at most 5 % may be.',
  },
];

/** What the page fills its form with. Except for `background`, it is the same as leaving them all out. */
export const options: Readonly<
  Record<
    | keyof typeof optionsSchema.entries
    | keyof typeof embeddingsOptionsSchema.entries
    | keyof typeof videoOptionsSchema.entries,
    unknown
  >
> = {
  details: false,
  top_k: 5,
  template: ['{}'],
  threshold: 0,
  others: false,
  several: false,
  background: 'white',
  fit: 'crop',
  on_error: 'fail',
  encoding_format: 'float',
  images: true,
  thorough: false,
  moments: false,
  thumbnails: false,
};

export const welcome = welcomeText;

export const metrics = `# HELP classify_images_requests_waiting Requests with a complete picture or video that waits for the engine.
# TYPE classify_images_requests_waiting gauge
classify_images_requests_waiting{queue="pictures"} 3
classify_images_requests_waiting{queue="videos"} 0
`;

export const healthReady: Health = {
  status: 'ok',
  state: 'ready',
  model,
  precision_report: {
    accepted: true,
    reasons: [],
    pictures: { count: 98, mean_cosine: 0.9999, min_cosine: 0.9999 },
    texts: { count: 1000, mean_cosine: 0.9996, min_cosine: 0.9995 },
    best_labels: { clear: 816, agreeing: 816 },
    fp32_products: [],
    row_scale_products: [],
  },
  needs_key: false,
  version,
  uptime_seconds: 86_400,
};

const loading = 'The model is being downloaded (42 %), about 20 s left.';
const progress = {
  stage: 'downloading' as const,
  bytes_done: 148_670_139,
  bytes_total: 353_976_522,
  seconds_left: 20,
};

export const healthLoading: Health = {
  status: 'ok',
  state: 'loading',
  message: loading,
  progress,
  model: null,
  precision_report: null,
  needs_key: false,
  version,
  uptime_seconds: 14,
};

export const ready = { ready: true as const, model };

export const categorizeAnswer = { 'IMG_0001.jpg': 'cat', 'IMG_0002.jpg': 'dog' };

export const categorizeDetails: CategorizeDetails = {
  model,
  results: [
    {
      file: 'IMG_0001.jpg',
      category: 'cat',
      score: 0.97,
      similarity: 0.281,
      scores: [
        { category: 'cat', score: 0.97, similarity: 0.281 },
        { category: 'dog', score: 0.03, similarity: 0.246 },
      ],
    },
  ],
  errors,
};

export const categorizeSeveral = { 'IMG_0001.jpg': ['cat', 'something black'], 'IMG_0002.jpg': [] };

/** With others=true and several=true. The same photo as above: its scores do not depend on the other categories. */
export const categorizeOthers: CategorizeDetails = {
  model,
  results: [
    {
      file: 'IMG_0001.jpg',
      category: 'cat',
      categories: ['cat', 'kitten'],
      score: 0.998,
      similarity: 0.281,
      background: { phrase: 'object', similarity: 0.219 },
      scores: [
        { category: 'cat', score: 0.998, similarity: 0.281 },
        { category: 'kitten', score: 0.997, similarity: 0.277 },
        { category: 'dog', score: 0.937, similarity: 0.246 },
      ],
    },
  ],
  errors: [],
  category_warnings: [
    {
      categories: ['cat', 'kitten'],
      similarity: 0.983,
      warning:
        '"cat" and "kitten" mean almost the same to the model (cosine 0.983), so they share one score. Leave one of them out, or make them phrases of one category.',
    },
  ],
};

export const imageAnswer = { cat: 'IMG_0001.jpg', dog: 'IMG_0002.jpg' };

export const imageDetails: ImageDetails = {
  model,
  results: [
    {
      category: 'cat',
      file: 'IMG_0001.jpg',
      score: 0.91,
      similarity: 0.281,
      scores: [
        { file: 'IMG_0001.jpg', score: 0.91, similarity: 0.281 },
        { file: 'IMG_0002.jpg', score: 0.09, similarity: 0.258 },
      ],
    },
  ],
  errors,
};

export const labelScores: LabelScores = [
  { label: 'cat', score: 0.97 },
  { label: 'dog', score: 0.03 },
];

export const labelScoresOfList: LabelScores = [labelScores as { label: string; score: number }[]];

const origin = {
  model: model.name,
  sha256: model.sha256,
  precision: model.precision,
  dimension: model.embedding_dimension,
  logit_scale: 100,
};

/** Four of 512 numbers, and their base64. */
const numbers = [0.0123456791, -0.0345678888, 0.0234567896, 0.0456789024];
const base64 = 'iEVKPA+XDb10KMA8zRk7PQ==';

export const embeddingsAnswer: EmbeddingsAnswer = {
  ...origin,
  embeddings: [
    { file: 'IMG_0001.jpg', embedding: numbers },
    { text: 'a photo of a cat', embedding: numbers },
  ],
  errors: [],
};

export const embeddingList: EmbeddingList = {
  object: 'list',
  data: [{ object: 'embedding', index: 0, embedding: base64 }],
  model: model.name,
  usage: { prompt_tokens: 7, total_tokens: 7 },
  logit_scale: 100,
};

/** The beginning of any JPEG file. */
const image = '/9j/4AAQSkZJRgABAQ…';

export const embeddingRequest = {
  model: 'ViT-B/32',
  input: ['a photo of a cat', `data:image/jpeg;base64,${image}`],
  encoding_format: 'base64',
};

export const zeroShotRequest = {
  inputs: image,
  parameters: { candidate_labels: ['cat', 'dog'], hypothesis_template: 'a photo of a {}' },
};

export const videoAnswer = { cat: ['holiday-12.480.jpg', image], dog: ['holiday-97.040.jpg', image] };

export const videoAnswerNamed = { cat: ['holiday-12.480.jpg'], dog: ['holiday-97.040.jpg'] };

export const videoDetails: VideoDetails = {
  model,
  video: {
    duration: 184.32,
    width: 1920,
    height: 1080,
    frame_rate: 25,
    codec: 'h264',
    frames_considered: 61,
    scenes: 38,
  },
  results: [
    {
      category: 'cat',
      score: 0.88,
      similarity: 0.279,
      scores: [
        { timestamp: 12.48, score: 0.88, similarity: 0.279 },
        { timestamp: 15.2, score: 0.07, similarity: 0.254 },
      ],
      file: 'holiday-12.480.jpg',
      timestamp: 12.48,
      moments: [{ start: 12.2, end: 13.44, timestamp: 12.48, similarity: 0.279 }],
      image,
    },
  ],
  warnings: ['2 of the 61 decoded frames are damaged; they may be missing or distorted.'],
};

const jpegXl =
  'The file is a JPEG XL picture; JPEG, PNG, WebP, GIF (first frame), BMP, TIFF, AVIF, HEIC and camera raw (its preview) pictures are accepted.';
const requestId = '4f9c1a52-6f0e-4d6b-9a53-2f6f3f0f8a11';
const label = `${'a very '.repeat(8)}a ve…`;

/** What the service says where an operation fails. */
const sentences = {
  option_invalid: 'Query options cannot be used: top_k="0" must be at least 1.',
  multipart_malformed:
    'The multipart body is malformed: it ends before its closing boundary; the upload may have been cut off.',
  part_unexpected:
    'The form has a part named "image"; accepted are files (pictures, one part each), categories (a file or a text field), and also embeddings and ids.',
  categories_missing:
    'No categories were sent, or only an empty part; send them as a part named categories: a JSON, CSV or text file, or text such as cat,dog.',
  categories_malformed:
    'The categories document starts as JSON but is not valid JSON: line 1, column 15: value expected. Accepted are JSON, ["a","b"] or {"categories":["a","b"]} or, with several phrases for a category, {"categories":{"a":["b","c"]}}, and text with the categories separated by commas, semicolons, tabs or lines.',
  categories_too_many: '1001 categories came; at most 1000 are accepted.',
  label_too_long: `The label "${label}" has 84 tokens; the model takes at most 77 tokens (words and parts of words), start and end included.`,
  file_name_invalid: 'A part named files has no file name; send it as a file, e.g. curl -F files=@photo.jpg.',
  unauthorized:
    'This service needs an API key: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.',
  upload_stalled: 'The upload stopped: the body arrived too slowly.',
  multipart_too_large: 'The categories have more than 4194304 bytes, the most that is accepted.',
  content_type_unsupported:
    'The body has the type "text/plain"; send a form as multipart/form-data, e.g. curl -F files=@photo.jpg -F categories=cat,dog.',
  json_invalid: 'The JSON body is malformed: it ends at byte 12, too early.',
  embeddings_invalid: 'The embedding of "IMG_0001.jpg" has 2 numbers; those of this model have 64.',
  embeddings_mismatch: `The embedding of "IMG_0001.jpg" (entry 1) is of another model, with the sha256 "${model.sha256}"; the service has demo in fp32, with the sha256 "292e8c9e3ef20ea0740849b89d49302aa36a87f9ba00bec7e85b6cd3d2dbe559". Make it again from the picture, with /embeddings.`,
  ids_invalid:
    'There are 2 ids for 1 files. Send an id for each file, as text in a part named ids, or one JSON list of strings; before the files, if answers come one by one.',
  internal: `This is a bug: the service failed. Please report it with the request id ${requestId}.`,
  overloaded: '48 requests are waiting; try again in a moment.',
  engine_restarting: 'Inference broke down and is being restarted; try again in a moment.',
  model_loading: `${loading} Try again soon.`,
  model_missing:
    'CLIP_MODEL names the file /models/ViT-L-14.pt, which does not exist. Put the checkpoint there, or set CLIP_MODEL=demo to try the API without it.',
  shutting_down: 'The service is shutting down; it finishes accepted requests.',
  files_missing: 'No picture was sent; send each as a part named files, e.g. curl -F files=@photo.jpg.',
  files_too_many: 'More than 10000 files were sent; at most 10000 are accepted in one request.',
  image_unsupported: `"photo.jxl" cannot be used: ${jpegXl}`,
  image_too_large:
    'The file "raw.jpg" continues for more than 268435456 bytes after the 67108864 bytes that a picture may have, so the request was ended; leave that file out.',
  files_broken: `"broken.jpg" cannot be used: ${errors[0]?.error}`,
  video_missing: 'No video was sent; send it as a part named video, e.g. curl -F video=@film.mp4.',
  video_unsupported:
    'The file is a Flash video; MP4, M4V, MOV, 3GP, WebM, MKV, AVI and MPEG-TS videos are accepted.',
  video_too_large: 'The video has more than 4294967296 bytes, the most that is accepted.',
  video_broken:
    'The video is cut short or damaged: the index of its frames (the moov box) is missing or cannot be read.',
  storage_full:
    'The disk of the temporary folder is full: there is no room for the video. Free some space, or set TMPDIR to a folder with more space.',
} satisfies { readonly [code in ErrorCode]?: string };

export type DocumentedCode = keyof typeof sentences;

/** Fields beside `error` and `code`. */
const furtherFields: { readonly [code in DocumentedCode]?: object } = {
  categories_malformed: { line: 1, column: 15 },
  categories_too_many: { categories: 1001, limit: 1000 },
  label_too_long: { label, tokens: 84, limit: 77 },
  files_broken: { errors },
  image_unsupported: { errors: [{ file: 'photo.jxl', code: 'image_unsupported', error: jpegXl }] },
  upload_stalled: { retry_after_seconds: 5 },
  overloaded: { retry_after_seconds: 5 },
  engine_restarting: { retry_after_seconds: 5 },
  model_loading: { retry_after_seconds: 20, progress },
  model_missing: { retry_after_seconds: 5 },
  shutting_down: { retry_after_seconds: 5 },
  internal: { request_id: requestId },
};

/** The body of a failing answer. */
export function failure(code: DocumentedCode): WireError {
  return { error: sentences[code], code, ...furtherFields[code] };
}

const pictureProgress = {
  stage: 'uploading' as const,
  bytes_done: 4_194_304,
  bytes_total: 31_457_280,
  files_received: 12,
  files_done: 9,
};
const end = { event: 'end' as const, data: { model, files: 2, broken: 1 } };
const broken = errors.map((fault) => ({ event: 'broken' as const, data: { index: 1, ...fault } }));

export const categorizeEvents: readonly CategorizeEvent[] = [
  { event: 'progress', data: pictureProgress },
  { event: 'answer', data: { index: 0, file: 'IMG_0001.jpg', category: 'cat' } },
  ...broken,
  end,
  { event: 'error', data: failure('files_broken') },
];

export const embeddingsEvents: readonly EmbeddingsEvent[] = [
  { event: 'progress', data: pictureProgress },
  { event: 'embedding', data: { index: 0, file: 'IMG_0001.jpg', ...origin, embedding: numbers } },
  ...broken,
  end,
  { event: 'error', data: failure('files_broken') },
];

export const videoEvents: readonly VideoEvent[] = [
  {
    event: 'progress',
    data: { stage: 'searching', seconds_done: 42.5, seconds_total: 184.32, frames: 17 },
  },
  { event: 'result', data: videoAnswer },
  { event: 'error', data: failure('video_broken') },
];
