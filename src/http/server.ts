import type { EngineState } from '../classify/engine-state.ts';
import type { Config } from '../config.ts';
import type { ServiceError } from '../errors.ts';
import type { Log } from '../log.ts';
import { createSemaphore } from '../semaphore.ts';
import { type AdmissionLimits, createAdmission } from './admission.ts';
import { wireModel } from './answers.ts';
import { createGuard } from './api-key.ts';
import { createApp } from './app.ts';
import type { StallLimit } from './body.ts';
import { allowOrigin, preflightResponse } from './cors.ts';
import { describeOperations } from './docs/operations.ts';
import { errorResponse, publicError } from './error-response.ts';
import { healthOf, readyClassifier } from './health.ts';
import { classifyPictures } from './pictures.ts';
import { requestIdOf } from './request-id.ts';
import type { RequestTally } from './request-tally.ts';
import { urlOf } from './request-url.ts';
import { statusOf } from './status.ts';
import { classifyVideo } from './video/classify-video.ts';
import type { NewsPace } from './video/progress-news.ts';
import { createSpools, type SpoolOptions } from './video/spool.ts';

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
  readonly videoAdmission: AdmissionLimits;
  readonly spool: SpoolOptions;
  readonly progress: NewsPace;
  readonly stall: StallLimit;
  /** A connection on which nothing happens between requests is closed. */
  readonly idleTimeoutSeconds: number;
  /** How long the last answers may take on their way out when the service stops. */
  readonly closeGraceMs: number;
}

export const defaultTuning: ServerTuning = {
  // Each running request holds one picture (at most 64 MiB, mostly some 5 MB) beside those in the engine;
  // eight keep it busy also where some clients are slow. Waiting ones hold a socket's buffer (30 KB).
  admission: { running: 8, waiting: 64, silent: 512 },
  // Each has its video on the disk: one or two are looked through, the others arrive meanwhile.
  videoAdmission: { running: 4, waiting: 16, silent: 128 },
  spool: {},
  // Fast enough for a moving bar; proxies take a connection for dead after 30 seconds or more.
  progress: { paceMs: 300, quietMs: 10_000 },
  // About 1 KiB a second: the slowest phone line does five times that.
  // Whoever is slower than 13 KiB a second must not hold the place that somebody else waits for.
  stall: { waitMs: 60_000, contendedWaitMs: 5000, stretchBytes: 64 * 1024 },
  idleTimeoutSeconds: 30,
  closeGraceMs: 1000,
};

/** An eighth of the memory is for large pictures that arrive; each is there twice while it is put together. */
function largePicturesAtOnce({ memoryBytes, limits }: Config): number {
  return Math.max(1, Math.floor(memoryBytes / 8 / (2 * limits.imageBytes)));
}

interface RequestRecord extends RequestTally {
  readonly id: string;
  /** Resolves when a body that is made while it is sent has come to its end. */
  bodyEnded?: Promise<void>;
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
  const largePictures = createSemaphore(largePicturesAtOnce(config));
  const videoAdmission = createAdmission(tuning.videoAdmission);
  const spools = createSpools(tuning.spool);
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

  const explain = (thrown: unknown, request: Request): ServiceError => {
    const { id } = recordOf(request);
    const error = publicError(thrown, id, request.signal.aborted);
    if (error.code === 'internal') log.error({ id, err: thrown }, 'this is a bug');
    return error;
  };
  const fail = (thrown: unknown, request: Request) => errorResponse(explain(thrown, request));

  const classify = async (use: 'categorize' | 'image', request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine(), isDraining);
    const endpoint = { admission, largePictures, limits: config.limits, stall: tuning.stall };
    // A long upload or a long wait is no idle connection; readBody watches over it instead.
    server?.timeout(request, 0);
    try {
      return await classifyPictures(use, request, classifier, endpoint, recordOf(request));
    } finally {
      // Bun would keep the connection without a timeout from here on.
      server?.timeout(request, tuning.idleTimeoutSeconds);
    }
  };

  const classifyVideoOf = async (request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine(), isDraining);
    const record = recordOf(request);
    const noteLate = (fault: unknown): ServiceError => {
      const error = explain(fault, request);
      record.lateFault = error.code;
      return error;
    };
    // As for the others; but here the answer may take its time, too, on its way to a slow client.
    server?.timeout(request, 0);
    const restoreTimeout = () => server?.timeout(request, tuning.idleTimeoutSeconds);
    const endpoint = {
      classifier,
      admission: videoAdmission,
      spools,
      limits: config.limits,
      stall: tuning.stall,
      pace: tuning.progress,
      beforeClose: restoreTimeout,
      explain: noteLate,
    };
    try {
      const { response, ended } = await classifyVideo(request, endpoint, record);
      record.bodyEnded = ended.then((fault) => {
        if (fault !== undefined) noteLate(fault);
      });
      return response;
    } catch (fault) {
      restoreTimeout();
      throw fault;
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
      video: classifyVideoOf,
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
    const writeLine = () => {
      log.info(
        {
          id: record.id,
          method: request.method,
          path: URL.parse(request.url, 'http://localhost')?.pathname,
          status: request.signal.aborted ? statusOf('client_gone') : response.status,
          ...(record.lateFault && { lateFault: record.lateFault }),
          ms: Math.round(performance.now() - receivedAt),
          files: record.files,
          bytes: record.bytes,
        },
        'request',
      );
    };
    if (record.bodyEnded) void record.bodyEnded.then(writeLine);
    else writeLine();
    return response;
  };

  const running = new Set<Promise<void>>();
  const fetch = (request: Request): Promise<Response> => {
    const response = respond(request);
    const done = response
      .then(() => recordOf(request).bodyEnded)
      .finally(() => {
        running.delete(done);
      });
    running.add(done);
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
        // `fetch` never throws, but bodies may break off: then Bun would write an account of its own.
        error: () => new Response(null, { status: 500 }),
        // Without it, `development: false` shares the port with any other process that asks for it.
        reusePort: false,
      });
      void spools.removeStale().then((folders) => {
        if (folders > 0)
          log.warn({ folders }, 'removed what a killed process had left in the temporary folder');
      });
      return { url: server.url, port: server.port ?? config.port };
    },
    async drain() {
      isDraining = true;
      admission.close();
      videoAdmission.close();
      const closed = server?.stop();
      while (running.size > 0) await Promise.all(running);
      // A client that was answered early and neither sends the rest nor leaves would keep us here.
      await Promise.race([closed, Bun.sleep(tuning.closeGraceMs)]);
      await server?.stop(true);
    },
  };
}
