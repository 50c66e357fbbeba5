import type { Classifier, EngineState } from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import { statusOf } from '../contract/codes.ts';
import type { ServiceError } from '../errors.ts';
import type { Log } from '../log.ts';
import { errorResponse, publicError, type StreamedResponse } from './answers.ts';
import { allowOrigin, createApp, createGuard, preflightResponse, urlOf } from './app.ts';
import { describeOperations } from './docs/operations.ts';
import { embed } from './embeddings.ts';
import type { NewsPace } from './events.ts';
import { healthOf, notReady, readiness } from './health.ts';
import { ignoreNewConnections } from './listening-socket.ts';
import {
  createRecords,
  type Metrics,
  probeEndpoints,
  type RequestRecord,
  serverTiming,
  timingOf,
} from './metrics.ts';
import type { PictureEndpoint } from './picture-upload.ts';
import { classifyPictures } from './pictures.ts';
import {
  type AdmissionLimits,
  closedPeers,
  createAdmission,
  createResources,
  type Lease,
  type Patience,
  peerOf,
  type ResourceLimits,
} from './resources.ts';
import { createSpaceGauge, createSpools, type SpoolOptions, storageFull } from './spool.ts';
import { respondToVideo } from './video/video-endpoint.ts';

/** Settings for tests; operators have no need to change them. */
export interface ServerTuning {
  readonly admission: AdmissionLimits;
  readonly videoAdmission: AdmissionLimits;
  /** Replaces budgets of the memory plan. */
  readonly resources: Partial<ResourceLimits>;
  readonly spool: SpoolOptions;
  /** If a picture is too large, at most this much more of it is read to reach the parts behind it. */
  readonly passedOverBytes: number;
  readonly progress: NewsPace;
  readonly patience: Patience;
  /** Used while the service shuts down. */
  readonly hurriedPatience: Patience;
  /** Connections without a request are closed after this time. */
  readonly idleTimeoutSeconds: number;
  /** At shutdown, the last answers have this long to reach their clients. */
  readonly closeGraceMs: number;
}

export const defaultTuning: ServerTuning = {
  // With the two dozen pictures in the engine, this is a second or two of work on two cores. Many accepted uploads may
  // become complete at the same moment, hence the larger second limit.
  admission: { waiting: 48, waitingAtMost: 256, waitMs: 60_000 },
  // One or two videos are searched at a time, each for seconds or minutes.
  videoAdmission: { waiting: 16, waitingAtMost: 64, waitMs: 600_000 },
  resources: {},
  spool: {},
  // Four times the size of the largest picture: enough for a camera's raw file between photos.
  passedOverBytes: 256 * 1024 ** 2,
  // Fast enough for a moving progress bar. Proxies drop silent connections after 30 seconds or more.
  progress: { paceMs: 300, quietMs: 10_000 },
  // 1 KiB a second: the slowest phone line is five times faster.
  patience: { waitMs: 60_000, msPerKibibyte: 1000 },
  // 13 KiB a second.
  hurriedPatience: { waitMs: 5000, msPerKibibyte: 80 },
  idleTimeoutSeconds: 30,
  closeGraceMs: 1000,
};

export interface HttpServer {
  /** Opens the port. @returns the address of the service @throws the system's error, e.g. EADDRINUSE */
  listen(): URL;
  /**
   * Shuts down: `/ready` answers 503 at once, and every answer closes its connection. Resolves when all accepted
   * requests, waiting ones included, are answered.
   * @param lingerMs new requests are still accepted for this long, until load balancers have noticed
   */
  drain(lingerMs?: number): Promise<void>;
}

/** A connection that was opened just before the port closes has this time to send its head. */
const LAST_HEAD_MS = 250;

/** The log warns about the temporary folder at most this often. */
const STORAGE_FAULT_MS = 60_000;
/** On a disk, uploads may fill the space of this many of the largest videos. */
const VIDEOS_STORED = 8;
/** Clients choose both. The longest path of the service has 30 characters. */
const MAX_PATH_LENGTH = 200;
const MAX_METHOD_LENGTH = 20;

interface ServerOptions {
  readonly config: Config;
  /** Read at every request: what the service can do now. */
  readonly engine: () => EngineState;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tuning?: ServerTuning;
}

/** The HTTP shell around the classifier. */
export function createServer(options: ServerOptions): HttpServer {
  const { config, engine, log, metrics, tuning = defaultTuning } = options;
  const startedAt = performance.now();
  // What all requests share.
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
  const openSpool = (lease: Lease) =>
    spools.open({
      async take(bytes) {
        await gauge.refresh();
        if (lease.tryTake('temporaryBytes', bytes)) return;
        // No other upload uses the space, so waiting would not help.
        if (lease.isAlone('temporaryBytes')) throw storageFull();
        lease.take('temporaryBytes', bytes);
      },
      give: (bytes) => lease.give('temporaryBytes', bytes),
    });
  let storageFaultAt = Number.NEGATIVE_INFINITY;
  const onStorageFault = ({ message }: ServiceError) => {
    if (performance.now() - storageFaultAt < STORAGE_FAULT_MS) return;
    storageFaultAt = performance.now();
    log.warn({ reason: message }, 'the temporary folder cannot be used: uploads are kept in memory only');
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

  // What becomes of faults.
  const explain = (thrown: unknown, request: Request): ServiceError => {
    const record = recordOf(request);
    const error = publicError(thrown, record.id, request.signal.aborted);
    record.fault = error.code;
    if (error.code === 'internal')
      log.error({ id: record.id, err: thrown }, 'This is a bug: a request failed inside the service');
    return error;
  };
  const fail = (thrown: unknown, request: Request) => errorResponse(explain(thrown, request));

  /** Records a fault that occurs after the head of the answer was sent. */
  const noteLate = (fault: unknown, request: Request): ServiceError => {
    recordOf(request).isLate = true;
    return explain(fault, request);
  };

  // One request, from the inside to the outside: its work, its route, its answer's head and end.
  type Work = (
    classifier: Classifier,
    record: RequestRecord,
    beforeClose: () => void,
  ) => Promise<StreamedResponse>;

  /**
   * Runs work without the time limit for idle connections, which would end long uploads, long waits and slow answers.
   * The patience of the request's lease replaces it.
   */
  const untimed = async (request: Request, work: Work): Promise<Response> => {
    guard(request.headers);
    const state = engine();
    if (state.state !== 'ready') throw notReady(state);
    const record = recordOf(request);
    server?.timeout(request, 0);
    // Without this, Bun would never close the connection when it is idle later.
    const restoreTimeout = () => server?.timeout(request, tuning.idleTimeoutSeconds);
    try {
      const { response, ended } = await work(state.classifier, record, restoreTimeout);
      if (!ended) restoreTimeout();
      else {
        record.bodyEnded = ended.then((fault) => {
          if (fault !== undefined) noteLate(fault, request);
        });
      }
      return response;
    } catch (fault) {
      restoreTimeout();
      throw fault;
    }
  };

  /** Answers a request to an endpoint that classifies. The `server-timing` header is in errors, too. */
  const classify = async (request: Request, work: Work): Promise<Response> => {
    const response = await untimed(request, work).catch((fault: unknown) => fail(fault, request));
    const record = recordOf(request);
    const totalMs = performance.now() - record.receivedAt;
    response.headers.set('server-timing', serverTiming(timingOf(record), totalMs));
    return response;
  };

  const shared = { resources, openSpool, limits: config.limits };
  const { passedOverBytes, progress: pace } = tuning;
  const pictureEndpoint = (
    classifier: Classifier,
    request: Request,
    beforeClose: () => void,
  ): PictureEndpoint => ({
    ...shared,
    classifier,
    admission,
    onStorageFault,
    passedOverBytes,
    pace,
    beforeClose,
    explain: (fault) => noteLate(fault, request),
  });
  const pictures = (use: 'categorize' | 'image') => (request: Request) =>
    classify(request, (classifier, record, beforeClose) =>
      classifyPictures(use, request, pictureEndpoint(classifier, request, beforeClose), record),
    );
  const embeddings = (request: Request) =>
    classify(request, (classifier, record, beforeClose) =>
      embed(request, pictureEndpoint(classifier, request, beforeClose), record),
    );
  const video = (request: Request) =>
    classify(request, (classifier, record, beforeClose) => {
      const explainLate = (fault: unknown) => noteLate(fault, request);
      const own = { classifier, admission: videoAdmission, pace, beforeClose, explain: explainLate };
      return respondToVideo(request, { ...shared, ...own }, record);
    });

  const app = createApp(
    {
      health: () =>
        healthOf(engine(), {
          isDraining,
          needsKey: config.apiKey !== undefined,
          uptimeSeconds: Math.floor((performance.now() - startedAt) / 1000),
        }),
      ready: () => readiness(engine(), isDraining),
      metrics: metrics.exposition,
      categorize: pictures('categorize'),
      image: pictures('image'),
      embeddings,
      embeddings_v1: embeddings,
      video,
    },
    describeOperations(config),
    fail,
  );

  /** Never throws. */
  const route = async (request: Request): Promise<Response> => {
    if (request.method === 'OPTIONS') return preflightResponse(request);
    try {
      urlOf(request); // refuses a broken URL; Elysia would find some path in it
      return await app.handle(request);
    } catch (thrown) {
      return fail(thrown, request);
    }
  };

  /** Completes the headers of an answer, and reports the request when its answer has ended. */
  const respond = async (request: Request): Promise<Response> => {
    const record = recordOf(request);
    const response = await route(request);
    allowOrigin(response.headers, config.corsOrigin);
    response.headers.set('x-request-id', record.id);
    response.headers.set('x-content-type-options', 'nosniff');
    // Clients that keep connections open must not use this one again.
    if (isDraining) response.headers.set('connection', 'close');
    const end = () => reportEnd(options, request, record, response.status);
    if (record.bodyEnded) void record.bodyEnded.then(end);
    else end();
    return response;
  };

  // From the open port to the last answer.
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
    listen() {
      // Not Elysia's listen(): its routes bypass `fetch`.
      server = Bun.serve({
        hostname: config.host,
        port: config.port,
        fetch,
        // Each picture and the categories have a limit; the whole request has none.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        idleTimeout: tuning.idleTimeoutSeconds,
        development: false,
        // `fetch` never throws, but a body may break off. Bun would send its own error page then.
        error: () => new Response(null, { status: 500 }),
        // Otherwise, without `development`, Bun would share the port with other processes.
        reusePort: false,
      });
      void spools.removeStale().then((folders) => {
        if (folders > 0) log.warn({ folders }, 'removed temporary folders that killed processes had left');
      });
      return server.url;
    },
    async drain(lingerMs = 0) {
      isDraining = true;
      await Bun.sleep(lingerMs);
      // Closing the port resets connections that the server has not read from, and proxies cannot resend a request
      // whose body they do not keep. So no new ones come while the last ones are read.
      if (lingerMs > 0 && server?.port !== undefined && ignoreNewConnections(server.port)) {
        await Bun.sleep(LAST_HEAD_MS);
      }
      const closed = server?.stop();
      resources.hurry();
      while (running.size > 0) await Promise.all(running);
      // A client that was answered early, but neither sends the rest nor leaves, would delay the shutdown.
      await Promise.race([closed, Bun.sleep(tuning.closeGraceMs)]);
      await server?.stop(true);
    },
  };
}

/** Writes the one log line of a request and counts it. The line names no files, categories, options or keys. */
function reportEnd(
  { log, metrics }: ServerOptions,
  request: Request,
  record: RequestRecord,
  answeredStatus: number,
): void {
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
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
