/** What pages of other origins may send and read. The 2021 clients are such pages. */
const METHODS = 'GET, HEAD, POST, OPTIONS';
const REQUEST_HEADERS = 'content-type, authorization, x-api-key, x-request-id';
const ANSWER_HEADERS = 'x-request-id, x-broken-files, server-timing, retry-after, allow';
const PREFLIGHT_SECONDS = 24 * 3600;

/** Lets pages of `origin` read this answer. */
export function allowOrigin(headers: Headers, origin: string): void {
  headers.set('access-control-allow-origin', origin);
  headers.set('access-control-expose-headers', ANSWER_HEADERS);
  headers.set('timing-allow-origin', origin);
  if (origin !== '*') headers.append('vary', 'Origin');
}

/** The answer to OPTIONS, at any path. */
export function preflightResponse(): Response {
  return new Response(null, {
    status: 204,
    headers: {
      'access-control-allow-methods': METHODS,
      'access-control-allow-headers': REQUEST_HEADERS,
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    },
  });
}
