import { errorMeanings } from '../../contract/codes.ts';
import type { optionsSchema, videoOptionsSchema } from '../../contract/options.ts';
import type {
  CategorizeDetails,
  Health,
  ImageDetails,
  VideoDetails,
  VideoEvent,
  WireModel,
} from '../../contract/schemas.ts';
import type { ErrorCode } from '../../errors.ts';
import { welcome as welcomeText } from '../health.ts';

/** What the documentation shows; typed and tested against the schemas. */

const model: WireModel = {
  name: 'ViT-B/32',
  sha256: '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af',
  precision: 'int8',
  embedding_dimension: 512,
  image_resolution: 224,
};

const errors = [
  { file: 'broken.jpg', code: 'image_broken' as const, error: 'The picture ends before its last line.' },
];

/** What the page fills its form with: the same as leaving them all out. */
export const options: Readonly<
  Record<keyof typeof optionsSchema.entries | keyof typeof videoOptionsSchema.entries, unknown>
> = {
  details: false,
  top_k: 5,
  template: ['{}'],
  threshold: 0,
  on_error: 'fail',
  images: true,
};

export const welcome = welcomeText;

export const metrics = `# HELP classify_images_requests_waiting Requests that wait for a place.
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
    texts: { count: 206, mean_cosine: 0.9996, min_cosine: 0.9995 },
    best_labels: { clear: 816, agreeing: 816 },
  },
  version: '1.0.0',
  uptime_seconds: 86_400,
};

export const healthLoading: Health = {
  status: 'ok',
  state: 'loading',
  message: 'Downloading ViT-B-32.pt: 42 %.',
  progress: { stage: 'downloading', bytes_done: 148_670_139, bytes_total: 353_976_522, seconds_left: 20 },
  model: null,
  precision_report: null,
  version: '1.0.0',
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

/** The beginning of any JPEG file. */
const image = '/9j/4AAQSkZJRgABAQ…';

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
      file: 'holiday-12.480.jpg',
      timestamp: 12.48,
      score: 0.88,
      similarity: 0.279,
      scores: [
        { timestamp: 12.48, score: 0.88, similarity: 0.279 },
        { timestamp: 15.2, score: 0.07, similarity: 0.254 },
      ],
      image,
    },
  ],
  warnings: ['The video is damaged from 170.2 s on; only what comes before was looked at.'],
};

export const videoEvents: readonly VideoEvent[] = [
  {
    event: 'progress',
    data: { stage: 'searching', seconds_done: 42.5, seconds_total: 184.32, frames: 17 },
  },
  { event: 'result', data: videoAnswer },
  { event: 'error', data: { error: 'The file is cut short.', code: 'video_broken' } },
];

/** Fields that an error of this code has beside `error` and `code`. */
const furtherFields: { readonly [code in ErrorCode]?: object } = {
  files_broken: { errors },
  image_unsupported: {
    errors: [
      {
        file: 'photo.heic',
        code: 'image_unsupported' as const,
        error: 'HEIC is not accepted; send JPEG or PNG.',
      },
    ],
  },
  upload_stalled: { retry_after_seconds: 5 },
  overloaded: { retry_after_seconds: 5 },
  engine_restarting: { retry_after_seconds: 5 },
  model_loading: {
    retry_after_seconds: 20,
    progress: { stage: 'downloading', bytes_done: 148_670_139, bytes_total: 353_976_522, seconds_left: 20 },
  },
  model_missing: { retry_after_seconds: 30 },
  shutting_down: { retry_after_seconds: 5 },
  internal: { request_id: '4f9c1a52-6f0e-4d6b-9a53-2f6f3f0f8a11' },
};

export function errorBody(code: ErrorCode): { readonly error: string; readonly code: ErrorCode } {
  return { error: errorMeanings[code].meaning, code, ...furtherFields[code] };
}
