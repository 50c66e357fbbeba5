import type { ErrorCode } from '../errors.ts';

/** How an error travels: its HTTP status, and what it means (shown in the documentation). */
export interface ErrorMeaning {
  readonly status: number;
  readonly meaning: string;
}

/** The one place where codes become statuses. A code without a line here does not compile. */
export const errorMeanings: Readonly<Record<ErrorCode, ErrorMeaning>> = {
  bad_request: { status: 400, meaning: 'The request cannot be understood.' },
  unauthorized: { status: 401, meaning: 'The API key is missing or wrong.' },
  not_found: { status: 404, meaning: 'There is nothing at this path.' },
  method_not_allowed: { status: 405, meaning: 'The path exists, but not for this method; see Allow.' },
  content_type_unsupported: { status: 415, meaning: 'The body is not multipart/form-data.' },
  multipart_malformed: { status: 400, meaning: 'The multipart body breaks off or breaks the format.' },
  multipart_too_large: { status: 413, meaning: 'A part’s headers or the categories are too large.' },
  upload_stalled: { status: 408, meaning: 'The body came too slowly, or not at all.' },
  option_invalid: {
    status: 400,
    meaning: 'A query option is unknown or has an impossible value, or the answer would be enormous.',
  },
  part_unexpected: { status: 400, meaning: 'A part has a name that this endpoint does not take.' },
  // Nobody reads this one; the status is the one that proxies write into their logs.
  client_gone: { status: 499, meaning: 'The client left before the answer.' },
  categories_missing: { status: 400, meaning: 'No category was sent.' },
  categories_malformed: { status: 400, meaning: 'The categories are not JSON, CSV or lines of text.' },
  categories_too_many: { status: 400, meaning: 'More categories than the service takes.' },
  label_too_long: { status: 400, meaning: 'A category does not fit into the model’s context.' },
  files_missing: { status: 400, meaning: 'No picture was sent.' },
  files_too_many: { status: 400, meaning: 'More pictures than the service takes in one request.' },
  files_broken: { status: 422, meaning: 'Pictures that cannot be used; `errors` names every one of them.' },
  file_name_invalid: {
    status: 400,
    meaning: 'A file name is missing, empty, too long, not UTF-8, or has a control character.',
  },
  image_empty: { status: 422, meaning: 'A picture of no bytes.' },
  image_unsupported: { status: 415, meaning: 'Not a picture, or of a format that is not accepted.' },
  image_too_large: { status: 413, meaning: 'A picture of too many bytes or pixels.' },
  image_broken: { status: 422, meaning: 'A picture that is damaged or cut off.' },
  video_missing: { status: 400, meaning: 'No video was sent.' },
  video_unsupported: { status: 415, meaning: 'Not a video, or of a format that is not accepted.' },
  video_too_large: { status: 413, meaning: 'A video that is too large or too long.' },
  video_broken: { status: 422, meaning: 'A video that is damaged or cut off.' },
  storage_full: { status: 507, meaning: 'There is no room to keep the upload while it is read.' },
  model_loading: { status: 503, meaning: 'The model is still being fetched or prepared.' },
  model_missing: { status: 503, meaning: 'The model cannot be had; `error` says what to do.' },
  engine_restarting: { status: 503, meaning: 'The model broke down and is being started again.' },
  overloaded: {
    status: 503,
    meaning: 'Too many requests wait already, or there is no room for another one.',
  },
  shutting_down: { status: 503, meaning: 'The service is about to stop.' },
  internal: { status: 500, meaning: 'A bug of the service.' },
};

export function statusOf(code: ErrorCode): number {
  return errorMeanings[code].status;
}
