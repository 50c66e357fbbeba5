import type { ErrorCode } from '../errors.ts';

/** What a client should do about an error, in the words of the documentation. */
export const clientActions = {
  never_retry: 'Do not send it again as it is.',
  wait: 'After `Retry-After`, send it again. Repeat that until it is answered.',
  retry: 'Send it again after a pause. Double the pause each time, and stop after five attempts.',
  send_less: 'Send less: fewer or smaller files, or fewer categories.',
} as const;
export type ClientAction = keyof typeof clientActions;

/**
 * What an error is about:
 * - `request`: how it was asked: the categories, the options, the key, the address
 * - `file`: one file, which is refused again whenever it is sent
 * - `files`: the files that were sent together; in other requests they may be accepted
 * - `service`: its state, for any request
 * - `unknown`: perhaps a file, perhaps the service or the network
 */
export type Concern = 'request' | 'file' | 'files' | 'service' | 'unknown';

/** What a client can do. */
export interface ClientAdvice {
  readonly client: ClientAction;
  readonly about: Concern;
}

/** One error: its HTTP status, its meaning, and what a client can do. */
export interface ErrorMeaning extends ClientAdvice {
  readonly status: number;
  readonly meaning: string;
}

const otherRequest = { client: 'never_retry', about: 'request' } as const;
const otherFile = { client: 'never_retry', about: 'file' } as const;
const otherFiles = { client: 'never_retry', about: 'files' } as const;
const later = { client: 'wait', about: 'service' } as const;

/** The one table of codes. A code without a line here does not compile. */
export const errorMeanings: Readonly<Record<ErrorCode, ErrorMeaning>> = {
  bad_request: { status: 400, ...otherRequest, meaning: 'The request cannot be understood.' },
  unauthorized: { status: 401, ...otherRequest, meaning: 'The API key is missing or wrong.' },
  not_found: { status: 404, ...otherRequest, meaning: 'There is nothing at this path.' },
  method_not_allowed: {
    status: 405,
    ...otherRequest,
    meaning: 'The path exists, but not for this method; see Allow.',
  },
  content_type_unsupported: {
    status: 415,
    ...otherRequest,
    meaning: 'The body is not multipart/form-data, nor JSON where that is accepted.',
  },
  multipart_malformed: {
    status: 400,
    ...otherFiles,
    meaning: 'The multipart body breaks off or breaks the format.',
  },
  // `request`: fewer files do not help. The categories have to be shorter.
  multipart_too_large: {
    status: 413,
    client: 'send_less',
    about: 'request',
    meaning: 'A part’s headers, the categories or the texts are too large.',
  },
  json_invalid: {
    status: 400,
    ...otherRequest,
    meaning: 'The JSON body is malformed, or has a field that cannot be used.',
  },
  upload_stalled: {
    status: 408,
    client: 'retry',
    about: 'service',
    meaning: 'The body came too slowly, or not at all.',
  },
  option_invalid: {
    status: 400,
    ...otherRequest,
    meaning: 'A query option is unknown or has an impossible value, or the answer would be enormous.',
  },
  part_unexpected: {
    status: 400,
    ...otherRequest,
    meaning: 'A part has a name that this endpoint does not accept.',
  },
  // Only the log has it. The status is the one that proxies write into their logs.
  client_gone: { status: 499, ...otherRequest, meaning: 'The client left before the answer.' },
  categories_missing: {
    status: 400,
    ...otherRequest,
    meaning: 'No category was sent, or a document of texts is empty.',
  },
  categories_malformed: {
    status: 400,
    ...otherRequest,
    meaning: 'The categories or texts are not JSON, CSV or lines of text.',
  },
  categories_too_many: {
    status: 400,
    ...otherRequest,
    meaning: 'There are more categories or texts than the service accepts.',
  },
  label_too_long: {
    status: 400,
    ...otherRequest,
    meaning: 'A category or a text does not fit into the model’s context.',
  },
  embeddings_invalid: {
    status: 400,
    ...otherRequest,
    meaning: 'The embeddings are malformed, or one of them cannot be an embedding of this model.',
  },
  embeddings_mismatch: {
    status: 409,
    ...otherRequest,
    meaning: 'The embeddings are of another model, precision or fit.',
  },
  files_missing: {
    status: 400,
    ...otherRequest,
    meaning: 'No picture was sent; at /embeddings, no text either.',
  },
  files_too_many: {
    status: 400,
    client: 'send_less',
    about: 'files',
    meaning: 'There are more pictures than the service accepts in one request.',
  },
  files_broken: {
    status: 422,
    ...otherFiles,
    meaning: 'Some pictures cannot be used; `errors` names each of them.',
  },
  file_name_invalid: {
    status: 400,
    ...otherFiles,
    meaning: 'A file name is missing, empty, too long, not UTF-8, or has a control character.',
  },
  ids_invalid: {
    status: 400,
    ...otherRequest,
    meaning:
      'The ids are malformed or not as many as the files, or come after their files where answers come one by one.',
  },
  image_empty: { status: 422, ...otherFile, meaning: 'The picture has no bytes.' },
  image_unsupported: {
    status: 415,
    ...otherFile,
    meaning: 'The file is not a picture, or its format is not accepted.',
  },
  image_too_large: {
    status: 413,
    client: 'send_less',
    about: 'file',
    meaning: 'The picture has too many bytes or pixels.',
  },
  image_broken: { status: 422, ...otherFile, meaning: 'The picture is damaged or cut off.' },
  video_missing: { status: 400, ...otherRequest, meaning: 'No video was sent.' },
  video_unsupported: {
    status: 415,
    ...otherFile,
    meaning: 'The file is not a video, or its format is not accepted.',
  },
  video_too_large: {
    status: 413,
    client: 'send_less',
    about: 'file',
    meaning: 'The video is too large or too long, or decoding it needs too much memory or work.',
  },
  video_broken: { status: 422, ...otherFile, meaning: 'The video is damaged or cut off.' },
  // A smaller video may fit.
  storage_full: {
    status: 507,
    ...otherFiles,
    meaning: 'The temporary folder has no space for the upload.',
  },
  model_loading: { status: 503, ...later, meaning: 'The model is still being fetched or prepared.' },
  // Only an operator helps, so a program fails at once. The page asks /health and sends again when the model is there.
  model_missing: {
    status: 503,
    client: 'never_retry',
    about: 'service',
    meaning: 'The service has no usable model; `error` says what to do.',
  },
  engine_restarting: { status: 503, ...later, meaning: 'The model failed and is being started again.' },
  overloaded: {
    status: 503,
    ...later,
    meaning: 'Too many requests are waiting, or the service has no room for another one.',
  },
  shutting_down: { status: 503, ...later, meaning: 'The service is about to stop.' },
  internal: { status: 500, ...otherFiles, meaning: 'The service has a bug.' },
};

export function statusOf(code: ErrorCode): number {
  return errorMeanings[code].status;
}

/** @returns whether it is one of our codes */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorMeanings, code);
}

/**
 * What a client can do about an answer without one of our codes, which comes from a proxy.
 * @param status 0: no answer came
 */
export function adviceForStatus(status: number): ClientAdvice {
  switch (status) {
    // A file at which the service or a proxy dies looks like a broken connection.
    case 0:
    case 408:
    case 502:
    case 504:
      return { client: 'retry', about: 'unknown' };
    case 413:
      return { client: 'send_less', about: 'files' };
    case 429:
      return { client: 'retry', about: 'service' };
    // Balancers answer it while no replica is ready.
    case 503:
      return { client: 'wait', about: 'service' };
    // Firewalls answer it to what they find in a file, others to any request.
    case 403:
      return { client: 'never_retry', about: 'unknown' };
    case 400:
    case 415:
    case 422:
      return { client: 'never_retry', about: 'files' };
    default:
      return { client: 'never_retry', about: status >= 500 ? 'files' : 'request' };
  }
}

/** @returns whether the files are the reason, so that other files may be accepted */
export function isAboutFiles({ about }: Pick<ClientAdvice, 'about'>): boolean {
  return about === 'file' || about === 'files';
}
