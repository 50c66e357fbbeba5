import type { EngineState } from '../classify/engine-state.ts';
import type { Config } from '../config.ts';
import type { ServiceError } from '../errors.ts';
import type { Log } from '../log.ts';
import { createSemaphore } from '../semaphore.ts';
import { createAdmission } from './admission.ts';
import { createGuard } from './api-key.ts';
import { createApp } from './app.ts';
import { allowOrigin, preflightResponse } from './cors.ts';
import { describeOperations } from './docs/operations.ts';
import { errorResponse, publicError } from './error-response.ts';
import { healthOf, readiness, readyClassifier } from './health.ts';
import type { Metrics } from './metrics/metrics.ts';
import { classifyPictures } from './pictures.ts';
import { noteEnd } from './request-end.ts';
import { createRecords } from './request-record.ts';
import { urlOf } from './request-url.ts';
import { serverTiming, timingOf } from './server-timing.ts';
import { defaultTuning, type ServerTuning } from './server-tuning.ts';
import { classifyVideo } from './video/classify-video.ts';
import { createSpools } from './video/spool.ts';

export interface HttpServer {
  /** Answers one request; never throws. */
  fetch(request: Request): Promise<Response>;
  /** Opens the port. @throws when it is taken */
  listen(): { readonly url: URL; readonly port: number };
  /**
   * Says at once that it is not ready, then stops accepting; resolves when everything that was accepted is
   * answered, those who wait for their turn included. Connections are closed after their current answer.
   * @param lingerMs how long new requests are still taken, until everybody has heard that they should not come
   */
  drain(lingerMs?: number): Promise<void>;
}

/** An eighth of the memory is for large pictures that arrive; each is there twice while it is put together. */
function largePicturesAtOnce({ memoryBytes, limits }: Config): number {
  return Math.max(1, Math.floor(memoryBytes / 8 / (2 * limits.imageBytes)));
}

/**
 * The HTTP shell around the classifier.
 * @param engine asked at every request what the service can do right now
 */
export function createServer(
  config: Config,
  engine: () => EngineState,
  log: Log,
  metrics: Metrics,
  tuning: ServerTuning = defaultTuning,
): HttpServer {
  const startedAt = performance.now();
  const admission = createAdmission(tuning.admission);
  const largePictures = createSemaphore(largePicturesAtOnce(config));
  const videoAdmission = createAdmission(tuning.videoAdmission);
  const spools = createSpools(tuning.spool);
  const guard = createGuard(config.apiKey);
  const recordOf = createRecords();
  let isDraining = false;
  let server: Bun.Server<undefined> | undefined;
  metrics.watch({
    queues: { pictures: admission, videos: videoAdmission },
    engine,
    isReady: () => !isDraining && engine().state === 'ready',
  });

  const explain = (thrown: unknown, request: Request): ServiceError => {
    const record = recordOf(request);
    const error = publicError(thrown, record.id, request.signal.aborted);
    record.fault = error.code;
    if (error.code === 'internal') log.error({ id: record.id, err: thrown }, 'this is a bug');
    return error;
  };
  const fail = (thrown: unknown, request: Request) => errorResponse(explain(thrown, request));

  /** Says with an answer, or with a refusal, where the time until then went. */
  const timed = async (request: Request, work: Promise<Response>): Promise<Response> => {
    const response = await work.catch((fault: unknown) => fail(fault, request));
    const record = recordOf(request);
    const totalMs = performance.now() - record.receivedAt;
    response.headers.set('server-timing', serverTiming(timingOf(record), totalMs));
    return response;
  };

  const classify = async (use: 'categorize' | 'image', request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine());
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

  const searchVideo = async (request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine());
    const record = recordOf(request);
    const noteLate = (fault: unknown): ServiceError => {
      record.isLate = true;
      return explain(fault, request);
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
      ready: () => readiness(engine(), isDraining),
      metrics: metrics.exposition,
      categorize: (request) => timed(request, classify('categorize', request)),
      image: (request) => timed(request, classify('image', request)),
      video: (request) => timed(request, searchVideo(request)),
    },
    describeOperations(config),
    fail,
  );

  const answer = async (request: Request): Promise<Response> => {
    if (request.method === 'OPTIONS') return preflightResponse(request);
    try {
      urlOf(request); // Elysia would read a path out of a broken one
      return await app.handle(request);
    } catch (thrown) {
      return fail(thrown, request);
    }
  };

  const respond = async (request: Request): Promise<Response> => {
    const record = recordOf(request);
    const response = await answer(request);
    allowOrigin(response.headers, config.corsOrigin);
    response.headers.set('x-request-id', record.id);
    response.headers.set('x-content-type-options', 'nosniff');
    // Whoever keeps connections open learns that this one will not be of use again.
    if (isDraining) response.headers.set('connection', 'close');
    const end = () => noteEnd(request, record, response.status, log, metrics);
    if (record.bodyEnded) void record.bodyEnded.then(end);
    else end();
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
    async drain(lingerMs = 0) {
      isDraining = true;
      await Bun.sleep(lingerMs);
      const closed = server?.stop();
      admission.hurry();
      videoAdmission.hurry();
      while (running.size > 0) await Promise.all(running);
      // A client that was answered early and neither sends the rest nor leaves would keep us here.
      await Promise.race([closed, Bun.sleep(tuning.closeGraceMs)]);
      await server?.stop(true);
    },
  };
}
