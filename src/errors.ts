/** Every code the service can answer with. Stable: clients may branch on them. */
export const errorCodes = [
  // the request's form
  'bad_request',
  'unauthorized',
  'not_found',
  'method_not_allowed',
  'content_type_unsupported',
  'multipart_malformed',
  'multipart_too_large',
  'json_invalid',
  'upload_stalled',
  'option_invalid',
  'part_unexpected',
  'client_gone',
  // categories
  'categories_missing',
  'categories_malformed',
  'categories_too_many',
  'label_too_long',
  // embeddings
  'embeddings_invalid',
  'embeddings_mismatch',
  // pictures
  'files_missing',
  'files_too_many',
  'files_broken',
  'file_name_invalid',
  'ids_invalid',
  'image_empty',
  'image_unsupported',
  'image_too_large',
  'image_broken',
  // video
  'video_missing',
  'video_unsupported',
  'video_too_large',
  'video_broken',
  'storage_full',
  // the service's own state
  'model_loading',
  'model_missing',
  'engine_restarting',
  'overloaded',
  'shutting_down',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** Further fields of an error's JSON body, in addition to `error` and `code`. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/**
 * An error with a stable code and one sentence for a person: what was sent, and what is accepted.
 * The code that detects the fault throws it; the HTTP shell maps its code to a status.
 */
export class ServiceError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, sentence: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(sentence, options);
    this.name = 'ServiceError';
    this.code = code;
    this.details = details;
  }
}

/**
 * Checks an assumption of the code. Not for input of clients or operators: that gets a `ServiceError`.
 * @throws Error "This is a bug: …"
 */
export function invariant(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new Error(`This is a bug: ${sentence}`);
}

/** The system's code of a fault of the file system or the network, such as ENOENT; undefined where it has none. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
