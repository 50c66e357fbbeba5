import type { EngineState } from '../classify/engine-state.ts';
import type { Config } from '../config.ts';
import type { Log } from '../log.ts';
import { type AdmissionLimits, createAdmission } from './admission.ts';
import { wireModel } from './answers.ts';
import { createGuard } from './api-key.ts';
import { createApp } from './app.ts';
import type { StallLimit } from './body.ts';
import { allowOrigin, preflightResponse } from './cors.ts';
import { describeOperations } from './docs/operations.ts';
import { errorResponse, publicError } from './error-response.ts';
import { healthOf, readyClassifier } from './health.ts';
import { classifyPictures, type RequestTally } from './pictures.ts';
import { requestIdOf } from './request-id.ts';
import { urlOf } from './request-url.ts';
import { statusOf } from './status.ts';

export interface HttpServer {
  /** Answers one request; never throws. */
  fetch(request: Request): Promise<Response>;
  /** Opens the port. @throws when it is taken */
  listen(): { readonly url: URL; readonly port: number };
  /** Stops accepting, sends those who wait away, resolves when all that runs is answered. */
  drain(): Promise<void>;
}

/** What no operator needs to set. */
export interface ServerTuning {
  readonly admission: AdmissionLimits;
  readonly stall: StallLimit;
  /** A connection on which nothing happens between requests is closed. */
  readonly idleTimeoutSeconds: number;
  /** How long the last answers may take on their way out when the service stops. */
  readonly closeGraceMs: number;
}

export const defaultTuning: ServerTuning = {
  // Each running request holds one picture (at most 64 MiB, mostly some 5 MB) beside those in the engine;
  // eight keep it busy also where some clients are slow. Waiting ones hold a socket's buffer (30 KB).
  admission: { running: 8, waiting: 64 },
  // About 1 KiB a second: the slowest phone line does five times that.
  stall: { waitMs: 60_000, stretchBytes: 64 * 1024 },
  idleTimeoutSeconds: 30,
  closeGraceMs: 1000,
};

interface RequestRecord extends RequestTally {
  readonly id: string;
}

/**
 * The HTTP shell around the classifier.
 * @param engine asked at every request what the service can do right now
 */
export function createServer(
  config: Config,
  engine: () => EngineState,
  log: Log,
  tuning: ServerTuning = defaultTuning,
): HttpServer {
  const startedAt = performance.now();
  const admission = createAdmission(tuning.admission);
  const guard = createGuard(config.apiKey);
  const records = new WeakMap<Request, RequestRecord>();
  let isDraining = false;
  let server: Bun.Server<undefined> | undefined;

  const recordOf = (request: Request): RequestRecord => {
    const known = records.get(request);
    if (known) return known;
    const record = { id: requestIdOf(request.headers), files: 0, bytes: 0 };
    records.set(request, record);
    return record;
  };

  const fail = (thrown: unknown, request: Request): Response => {
    const { id } = recordOf(request);
    const error = publicError(thrown, id, request.signal.aborted);
    if (error.code === 'internal') log.error({ id, err: thrown }, 'this is a bug');
    return errorResponse(error);
  };

  const classify = async (use: 'categorize' | 'image', request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine(), isDraining);
    const endpoint = { admission, limits: config.limits, stall: tuning.stall };
    // A long upload or a long wait is no idle connection; readBody watches over it instead.
    server?.timeout(request, 0);
    try {
      return await classifyPictures(use, request, classifier, endpoint, recordOf(request));
    } finally {
      // Bun would keep the connection without a timeout from here on.
      server?.timeout(request, tuning.idleTimeoutSeconds);
    }
  };

  const app = createApp(
    {
      health: () => healthOf(engine(), isDraining, Math.floor((performance.now() - startedAt) / 1000)),
      ready: () => {
        const { model } = readyClassifier(engine(), isDraining);
        return Response.json(
          { ready: true, model: wireModel(model) },
          { headers: { 'cache-control': 'no-store' } },
        );
      },
      categorize: (request) => classify('categorize', request),
      image: (request) => classify('image', request),
    },
    describeOperations(config),
    fail,
  );

  const answer = async (request: Request): Promise<Response> => {
    if (request.method === 'OPTIONS') return preflightResponse();
    try {
      urlOf(request); // Elysia would read a path out of a broken one
      return await app.handle(request);
    } catch (thrown) {
      return fail(thrown, request);
    }
  };

  const respond = async (request: Request): Promise<Response> => {
    const receivedAt = performance.now();
    const record = recordOf(request);
    const response = await answer(request);
    allowOrigin(response.headers, config.corsOrigin);
    response.headers.set('x-request-id', record.id);
    response.headers.set('x-content-type-options', 'nosniff');
    log.info(
      {
        id: record.id,
        method: request.method,
        path: URL.parse(request.url, 'http://localhost')?.pathname,
        status: request.signal.aborted ? statusOf('client_gone') : response.status,
        ms: Math.round(performance.now() - receivedAt),
        files: record.files,
        bytes: record.bytes,
      },
      'request',
    );
    return response;
  };

  const running = new Set<Promise<Response>>();
  const fetch = (request: Request): Promise<Response> => {
    const response = respond(request).finally(() => running.delete(response));
    running.add(response);
    return response;
  };

  return {
    fetch,
    listen() {
      // Not Elysia's listen(): its routes bypass `fetch`.
      server = Bun.serve({
        hostname: config.host,
        port: config.port,
        fetch,
        // Pictures and categories have limits of their own; their sum has none.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        idleTimeout: tuning.idleTimeoutSeconds,
        development: false,
        // Without it, `development: false` shares the port with any other process that asks for it.
        reusePort: false,
      });
      return { url: server.url, port: server.port ?? config.port };
    },
    async drain() {
      isDraining = true;
      admission.close();
      const closed = server?.stop();
      while (running.size > 0) await Promise.all(running);
      // A client that was answered early and neither sends the rest nor leaves would keep us here.
      await Promise.race([closed, Bun.sleep(tuning.closeGraceMs)]);
      await server?.stop(true);
    },
  };
}
