import { createHash, timingSafeEqual } from 'node:crypto';
import { Elysia } from 'elysia';
import { type EndpointName, endpointNames, endpoints } from '../contract/endpoints.ts';
import type { Health, Ready } from '../contract/schemas.ts';
import { ServiceError } from '../errors.ts';
import { createDocument } from './docs/document.ts';
import type { Operations } from './docs/operations.ts';
import { assets, pageHtml, pagePolicy } from './docs/page.ts';
import { welcome } from './health.ts';
import { asksForPage, createPage } from './page.ts';

/** The handlers of the endpoints, without the welcome. */
interface Handlers extends Record<Exclude<EndpointName, 'welcome'>, (request: Request) => unknown> {
  health(): Health;
  ready(): Ready;
}

const DAY_SECONDS = 24 * 3600;

/**
 * The routes.
 * @param fail makes the answer for anything that is thrown, by a handler or by Elysia
 */
export function createApp(
  handlers: Handlers,
  operations: Operations,
  fail: (thrown: unknown, request: Request) => Response,
) {
  const page = createPage();
  const handle: Readonly<Record<EndpointName, (request: Request) => unknown>> = {
    ...handlers,
    welcome: (request) => (asksForPage(request.headers) ? page.index(request) : welcomeResponse()),
    health: () => stateResponse(handlers.health()),
    ready: () => stateResponse(handlers.ready()),
  };
  const api = new Elysia({ name: 'api' });
  for (const name of endpointNames) {
    const { method, path } = endpoints[name];
    // `parse: 'none'` keeps the body a stream.
    api.route(method, path, ({ request }) => handle[name](request), {
      parse: 'none',
      detail: operations[name],
    });
  }

  const document = createDocument(api, operations.image.security !== undefined);
  // With the default, Elysia misreads the path if the host has fewer than four letters and no port.
  const app: Elysia = new Elysia({ handler: { standardHostname: false } });
  app
    .onError(({ code, error, request }) =>
      fail(code === 'NOT_FOUND' ? noSuchRoute(request, app.routes) : error, request),
    )
    .use(api)
    .get('/assets/:name', ({ request, params }) => page.asset(request, params.name))
    .get('/swagger', ({ request }) =>
      textResponse(pageHtml(urlOf(request).pathname), 'text/html; charset=utf-8', {
        'content-security-policy': pagePolicy,
      }),
    )
    .get('/swagger/json', async () => textResponse(await document(), 'application/json; charset=utf-8'));
  for (const { path, contentType, content } of assets) {
    app.get(
      `/swagger/assets/${path}`,
      () =>
        new Response(content(), {
          headers: { 'content-type': contentType, 'cache-control': `public, max-age=${DAY_SECONDS}` },
        }),
    );
  }
  return app;
}

/**
 * A request's URL. Bun copies the Host header into it unchecked: an invalid one makes the URL invalid. Without a Host
 * header (HTTP/1.0, as some load balancers' health checks send) only the path is left.
 * @throws ServiceError bad_request
 */
export function urlOf({ url, headers }: Request): URL {
  const parsed = URL.parse(url, 'http://localhost');
  if (parsed) return parsed;
  const host = headers.get('host')?.slice(0, 100) ?? null;
  throw new ServiceError('bad_request', `The Host header ${JSON.stringify(host)} is not a valid host.`);
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** Distinguishes a wrong path from a wrong method. */
function noSuchRoute(request: Request, routes: readonly Route[]): ServiceError {
  const { pathname, href } = urlOf(request);
  // Elysia treats a fragment as a part of the path. `hash` lacks an empty one.
  const path = pathname + (/#.*/.exec(href)?.[0] ?? '');
  const shown = JSON.stringify(path.length > 100 ? `${path.slice(0, 100)}…` : path);
  const methods = routes.filter((route) => route.path === path).map((route) => route.method);
  if (methods.length === 0) {
    return new ServiceError(
      'not_found',
      `The path ${shown} does not exist; see /swagger for the paths that do.`,
    );
  }
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'];
  return new ServiceError(
    'method_not_allowed',
    `${shown} does not accept ${request.method}; it accepts ${allow.join(', ')}.`,
    {
      allow,
    },
  );
}

function stateResponse(state: Health | Ready): Response {
  return Response.json(state, { headers: { 'cache-control': 'no-store' } });
}

function welcomeResponse(): Response {
  return textResponse(welcome, 'text/plain; charset=utf-8', { vary: 'accept' });
}

function textResponse(text: string, contentType: string, headers: Record<string, string> = {}): Response {
  return new Response(text, { headers: { 'content-type': contentType, ...headers } });
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Guards endpoints with the operator's key. It compares digests, so that neither the time nor the length reveals
 * anything about the key.
 * @param apiKey undefined: no key is needed
 * @returns a function that throws ServiceError unauthorized if the key is missing or wrong
 */
export function createGuard(apiKey: string | undefined): (headers: Headers) => void {
  if (apiKey === undefined) return () => undefined;
  const expected = digestOf(apiKey);
  return (headers) => {
    const bearer = /^bearer +(.+)$/i.exec(headers.get('authorization') ?? '')?.[1];
    const given = headers.get('x-api-key') ?? bearer;
    if (given === undefined) {
      throw new ServiceError(
        'unauthorized',
        'This service needs an API key: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.',
      );
    }
    if (!timingSafeEqual(digestOf(given), expected)) {
      throw new ServiceError('unauthorized', 'The API key is not the one of this service.');
    }
  };
}

// Cross-origin requests. The clients of 2021 are pages of other origins.
const METHODS = 'GET, HEAD, POST, OPTIONS';
const REQUEST_HEADERS = 'content-type, authorization, x-api-key, x-request-id';
/** Browsers ask for some ten names. */
const MAX_ASKED_LENGTH = 2048;
const ANSWER_HEADERS = 'x-request-id, x-broken-files, server-timing, retry-after, allow';
const PREFLIGHT_SECONDS = 24 * 3600;

/** Allows pages of `origin` to read this answer. A named origin may also send cookies, for a proxy that asks for them. */
export function allowOrigin(headers: Headers, origin: string): void {
  headers.set('access-control-allow-origin', origin);
  if (origin !== '*') headers.set('access-control-allow-credentials', 'true');
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
 * Allows every header that the browser asks for: libraries add ones that this service ignores (`traceparent`,
 * `sentry-trace`, `baggage`, `last-event-id`). The wildcard `*` is not enough, as it excludes `authorization`.
 * @param asked the browser's list; a malformed or very long one is ignored
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
