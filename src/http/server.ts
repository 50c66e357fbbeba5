import type { EngineState } from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import { statusOf } from '../contract/codes.ts';
import type { ServiceError } from '../errors.ts';
import type { Log } from '../log.ts';
import { allowOrigin, createApp, createGuard, preflightResponse } from './app.ts';
import { closedPeers, peerOf } from './closed-peers.ts';
import { describeOperations } from './docs/operations.ts';
import { healthOf, readiness, readyClassifier } from './health.ts';
import { errorResponse, publicError, type StreamedResponse } from './json-answer.ts';
import { type Metrics, probeEndpoints } from './metrics.ts';
import { classifyPictures } from './pictures.ts';
import { createRecords, type RequestRecord, serverTiming, timingOf, urlOf } from './request-record.ts';
import {
  type AdmissionLimits,
  createAdmission,
  createResources,
  type Lease,
  type Patience,
  type ResourceLimits,
} from './resources.ts';
import { createSpaceGauge, createSpools, type SpoolOptions, storageFull } from './spool.ts';
import { classifyVideo } from './video/classify-video.ts';
import type { NewsPace } from './video/progress-news.ts';

/** What no operator needs to set. */
export interface ServerTuning {
  readonly admission: AdmissionLimits;
  readonly videoAdmission: AdmissionLimits;
  /** Takes the place of what is made of the memory that there is (tests). */
  readonly resources: Partial<ResourceLimits>;
  readonly spool: SpoolOptions;
  /** Of a picture that is too large, so much more is read for the sake of those behind it. */
  readonly passedOverBytes: number;
  readonly progress: NewsPace;
  readonly patience: Patience;
  /** When the service stops. */
  readonly hurriedPatience: Patience;
  /** A connection on which nothing happens between requests is closed. */
  readonly idleTimeoutSeconds: number;
  /** How long the last answers may take on their way out when the service stops. */
  readonly closeGraceMs: number;
}

export const defaultTuning: ServerTuning = {
  // Together with the two dozen that the engine has in hand, a second or two of work on two cores. Of those that are
  // let in, many may become complete in the same moment.
  admission: { waiting: 48, waitingAtMost: 256, waitMs: 60_000 },
  // One or two are looked through at a time, each for seconds or minutes.
  videoAdmission: { waiting: 16, waitingAtMost: 64, waitMs: 600_000 },
  resources: {},
  spool: {},
  // Four times what a picture may have: some camera's raw file among the others.
  passedOverBytes: 256 * 1024 ** 2,
  // Fast enough for a moving bar; proxies take a connection for dead after 30 seconds or more.
  progress: { paceMs: 300, quietMs: 10_000 },
  // 1 KiB a second: the slowest phone line does five times that.
  patience: { waitMs: 60_000, msPerKibibyte: 1000 },
  // 13 KiB a second.
  hurriedPatience: { waitMs: 5000, msPerKibibyte: 80 },
  idleTimeoutSeconds: 30,
  closeGraceMs: 1000,
};

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

/** How often the log is told that the temporary folder cannot be used. */
const STORAGE_FAULT_MS = 60_000;
/** On a disk, uploads may fill the space of this many of the largest videos. */
const VIDEOS_STORED = 8;
/** Clients choose both. The longest path of the service has 30 characters. */
const MAX_PATH_LENGTH = 200;
const MAX_METHOD_LENGTH = 20;
interface ServerOptions {
  readonly config: Config;
  /** Asked at every request what the service can do right now. */
  readonly engine: () => EngineState;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tuning?: ServerTuning;
}

/** The HTTP shell around the classifier. */
export function createServer(options: ServerOptions): HttpServer {
  const { config, engine, log, metrics, tuning = defaultTuning } = options;
  const startedAt = performance.now();
  const admission = createAdmission(tuning.admission);
  const videoAdmission = createAdmission(tuning.videoAdmission);
  const spools = createSpools(tuning.spool);
  const gauge = createSpaceGauge(
    spools,
    { onDisk: VIDEOS_STORED * config.limits.videoBytes, inMemory: config.memory.temporaryMemoryBytes },
    () => resources.used('temporaryBytes'),
  );
  const limits: ResourceLimits = {
    ...config.memory,
    ...tuning.resources,
    get temporaryBytes() {
      return tuning.resources.temporaryBytes ?? gauge.capacity;
    },
  };
  const resources = createResources(limits, {
    patience: tuning.patience,
    hurriedPatience: tuning.hurriedPatience,
    findAbandoned: async (requests) => {
      const closed = await closedPeers(server?.port ?? 0);
      return requests.filter((request) => closed.has(peerOf(server?.requestIP(request))));
    },
  });
  const spaceOf = (lease: Lease) => ({
    async take(bytes: number) {
      await gauge.refresh();
      if (lease.tryTake('temporaryBytes', bytes)) return;
      // Nobody else's upload is in the way: waiting would not help.
      if (lease.isAlone('temporaryBytes')) throw storageFull();
      lease.take('temporaryBytes', bytes);
    },
    give: (bytes: number) => lease.give('temporaryBytes', bytes),
  });
  const partMemory = {
    get used() {
      return resources.used('partBytes');
    },
    capacity: limits.partBytes,
  };
  const guard = createGuard(config.apiKey);
  const recordOf = createRecords();
  let isDraining = false;
  let server: Bun.Server<undefined> | undefined;
  metrics.watch({
    queues: { pictures: admission, videos: videoAdmission },
    resources,
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

  let storageFaultAt = Number.NEGATIVE_INFINITY;
  const onStorageFault = ({ message }: ServiceError) => {
    if (performance.now() - storageFaultAt < STORAGE_FAULT_MS) return;
    storageFaultAt = performance.now();
    log.warn({ reason: message }, 'the temporary folder cannot be used: uploads are kept in memory alone');
  };

  /** What is noticed when the head of an answer has been sent already. */
  const noteLate = (fault: unknown, request: Request): ServiceError => {
    recordOf(request).isLate = true;
    return explain(fault, request);
  };

  /**
   * Lets an endpoint work without the time limit for idle connections, which would end long uploads, long waits
   * and slow answers; the request's own patience takes its place.
   */
  const untimed = async (
    request: Request,
    work: (restoreTimeout: () => void) => Promise<StreamedResponse>,
  ): Promise<Response> => {
    server?.timeout(request, 0);
    // Bun would keep the connection without one from here on.
    const restoreTimeout = () => server?.timeout(request, tuning.idleTimeoutSeconds);
    try {
      const { response, ended } = await work(restoreTimeout);
      if (!ended) restoreTimeout();
      else {
        recordOf(request).bodyEnded = ended.then((fault) => {
          if (fault !== undefined) noteLate(fault, request);
        });
      }
      return response;
    } catch (fault) {
      restoreTimeout();
      throw fault;
    }
  };

  const classify = async (use: 'categorize' | 'image', request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine());
    const record = recordOf(request);
    return await untimed(request, (restoreTimeout) =>
      classifyPictures(
        use,
        request,
        {
          classifier,
          admission,
          resources,
          partMemory,
          spools,
          spaceOf,
          onStorageFault,
          limits: config.limits,
          passedOverBytes: tuning.passedOverBytes,
          beforeClose: restoreTimeout,
          note: (refusal) => {
            record.fault = refusal.code;
          },
        },
        record,
      ),
    );
  };

  const searchVideo = async (request: Request): Promise<Response> => {
    guard(request.headers);
    const classifier = readyClassifier(engine());
    return await untimed(request, (restoreTimeout) =>
      classifyVideo(
        request,
        {
          classifier,
          admission: videoAdmission,
          resources,
          spools,
          spaceOf,
          limits: config.limits,
          pace: tuning.progress,
          beforeClose: restoreTimeout,
          explain: (fault) => noteLate(fault, request),
        },
        recordOf(request),
      ),
    );
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

  /** Writes the one log line of a request and counts it. Neither names files, categories, options or keys. */
  const noteEnd = (request: Request, record: RequestRecord, answeredStatus: number): void => {
    const hasLeft = request.signal.aborted;
    if (hasLeft) record.fault ??= 'client_gone';
    const { id, fault, isLate, files, bytes, isAdmitted } = record;
    const path = URL.parse(request.url, 'http://localhost')?.pathname;
    const status = hasLeft ? statusOf('client_gone') : answeredStatus;
    const ms = performance.now() - record.receivedAt;
    // Successful probes come every few seconds and would hide the other lines.
    const level = status < 400 && probeEndpoints.has(path ?? '') ? 'debug' : 'info';
    log[level](
      {
        id,
        method: shorten(request.method, MAX_METHOD_LENGTH),
        path: path === undefined ? undefined : shorten(path, MAX_PATH_LENGTH),
        status,
        ...(fault && { [isLate ? 'lateFault' : 'fault']: fault }),
        ms: Math.round(ms),
        files,
        bytes,
        ...(isAdmitted && { timing: timingOf(record) }),
      },
      'request',
    );
    metrics.requestEnded({ record, path: path ?? '', status, ms });
  };

  const respond = async (request: Request): Promise<Response> => {
    const record = recordOf(request);
    const response = await answer(request);
    allowOrigin(response.headers, config.corsOrigin);
    response.headers.set('x-request-id', record.id);
    response.headers.set('x-content-type-options', 'nosniff');
    // Whoever keeps connections open learns that this one will not be of use again.
    if (isDraining) response.headers.set('connection', 'close');
    const end = () => noteEnd(request, record, response.status);
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
      resources.hurry();
      while (running.size > 0) await Promise.all(running);
      // A client that was answered early and neither sends the rest nor leaves would keep us here.
      await Promise.race([closed, Bun.sleep(tuning.closeGraceMs)]);
      await server?.stop(true);
    },
  };
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
