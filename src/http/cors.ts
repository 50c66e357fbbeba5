/** What pages of other origins may send and read. The 2021 clients are such pages. */
const METHODS = 'GET, HEAD, POST, OPTIONS';
const REQUEST_HEADERS = 'content-type, authorization, x-api-key, x-request-id';
/** A browser's list has some ten names. */
const MAX_ASKED_LENGTH = 2048;
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
export function preflightResponse(request: Request): Response {
  return new Response(null, {
    status: 204,
    headers: {
      'access-control-allow-methods': METHODS,
      'access-control-allow-headers': allowedHeaders(request.headers.get('access-control-request-headers')),
      'access-control-max-age': String(PREFLIGHT_SECONDS),
      vary: 'Access-Control-Request-Headers',
    },
  });
}

/**
 * Pages may send what headers they like, which mean nothing here: tracing (`traceparent`, `sentry-trace`, `baggage`),
 * `last-event-id`. A wildcard would not do: it leaves out `authorization`.
 * @param asked what the browser asks for; a list that is none, or a long one, is passed over
 */
function allowedHeaders(asked: string | null): string {
  if (asked === null || asked.length > MAX_ASKED_LENGTH) return REQUEST_HEADERS;
  const names = asked
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  if (!names.every((name) => /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name))) return REQUEST_HEADERS;
  return [...new Set([...REQUEST_HEADERS.split(', '), ...names])].join(', ');
}
