import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { version } from '../../package.json';
import type { EngineState } from '../classify/classifier.ts';
import { pathsOf } from '../contract/endpoints.ts';
import type { EngineObserver } from '../engine-observer.ts';
import { type ErrorCode, errorCodes } from '../errors.ts';
import { memoryLimitBytes } from '../memory-plan.ts';
import type { WorkTimes } from '../work-context.ts';
import type { Admission, Resource, Resources } from './resources.ts';

const exact: ReadonlySet<string> = new Set([...pathsOf(), '/swagger', '/swagger/json']);

/** Folders of the pages' files. Each is counted as one endpoint. */
const folders = ['/assets/', '/swagger/assets/'] as const;

/** Orchestrators and Prometheus request these every few seconds. */
export const probeEndpoints: ReadonlySet<string> = new Set(pathsOf('probe'));

/** The endpoints that classify. */
const workEndpoints = pathsOf('pictures', 'embeddings', 'video');

/** @returns the label for a request: a known path, or `other` */
function endpointLabel(path: string): string {
  if (exact.has(path)) return path;
  return folders.find((folder) => path.startsWith(folder)) ?? 'other';
}

/** Ids that are safe in a log and in a header. */
const acceptable = /^[A-Za-z0-9._:+/=-]{1,64}$/;

/** The client's id if it is acceptable, otherwise a new one. */
function requestIdOf(headers: Headers): string {
  const given = headers.get('x-request-id');
  return given && acceptable.test(given) ? given : crypto.randomUUID();
}

/** Counts and times that an endpoint records while it works on a request. */
export interface RequestTally {
  files: number;
  /** Bytes of the body that were read. */
  bytes: number;
  /** Time spent waiting for bytes of the body. */
  uploadMs: number;
  /** Whether the request was admitted. */
  isAdmitted: boolean;
  /** Time spent by the engine. */
  readonly work: WorkTimes;
}

/** A request from its head to the end of its answer, for its log line and the metrics. */
export interface RequestRecord extends RequestTally {
  readonly id: string;
  readonly receivedAt: number;
  /** Why it failed. */
  fault?: ErrorCode;
  /** Whether it failed after the head of its answer was sent with status 200. */
  isLate?: boolean;
  /** Resolves when a streamed answer has ended. */
  bodyEnded?: Promise<void>;
}

/** @returns a function that makes one record for each request */
export function createRecords(): (request: Request) => RequestRecord {
  const records = new WeakMap<Request, RequestRecord>();
  return (request) => {
    const known = records.get(request);
    if (known) return known;
    const record: RequestRecord = {
      id: requestIdOf(request.headers),
      receivedAt: performance.now(),
      files: 0,
      bytes: 0,
      uploadMs: 0,
      isAdmitted: false,
      work: { queueMs: 0, decodeMs: 0, batchWaitMs: 0, inferenceMs: 0, labelsMs: 0 },
    };
    records.set(request, record);
    return record;
  };
}

/** Milliseconds, by their names in the `server-timing` header. */
type Timing = Readonly<Record<string, number>>;

/**
 * The times that are not zero. Work on pictures and frames is summed over them. As they are processed in parallel,
 * `decode` may be longer than `total`.
 */
export function timingOf({ uploadMs, work }: RequestTally): Timing {
  const timing: Record<string, number> = {};
  const add = (name: string, ms: number) => {
    const tenths = toTenths(ms);
    if (tenths > 0) timing[name] = tenths;
  };
  add('upload', uploadMs);
  add('queue', work.queueMs);
  add('decode', work.decodeMs);
  add('batch', work.batchWaitMs);
  add('inference', work.inferenceMs);
  add('labels', work.labelsMs);
  return timing;
}

/** The header's value as in W3C Server Timing: `decode;dur=12.3, total;dur=40`. */
export function serverTiming(timing: Timing, totalMs: number): string {
  let header = '';
  for (const [name, ms] of Object.entries(timing)) header += `${name};dur=${ms}, `;
  return `${header}total;dur=${toTenths(totalMs)}`;
}

function toTenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** A small picture takes a millisecond, one of 100 megapixels a second, plus waiting for memory. */
const DECODE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** A batch takes from some milliseconds (one picture, int8) to seconds (eight, a large model, one core). */
const BATCH_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Up to 8 pictures, or up to 32 texts. */
const BATCH_ITEMS = [1, 2, 3, 4, 5, 6, 7, 8, 16, 32];

const encoders = ['image', 'text'] as const;

/** Metrics of the engine's work. */
function createEngineMetrics(registry: Registry): EngineObserver {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const byEncoder = (name: string, help: string, buckets: number[]) => {
    const histogram = new Histogram({ name, help, buckets, labelNames: ['encoder'], registers });
    for (const encoder of encoders) histogram.zero({ encoder });
    return histogram;
  };

  const decodeSeconds = new Histogram({
    name: 'classify_images_decode_duration_seconds',
    help: 'Time for decoding one picture, waiting for memory included.',
    buckets: DECODE_SECONDS,
    registers,
  });
  const batchWait = byEncoder(
    'classify_images_batch_wait_seconds',
    'Time that the first item of a batch waited.',
    BATCH_SECONDS,
  );
  const batchSeconds = byEncoder(
    'classify_images_inference_duration_seconds',
    'Time of one run of the model, for a whole batch.',
    BATCH_SECONDS,
  );
  const batchItems = byEncoder(
    'classify_images_batch_size',
    'Pictures and frames, or texts, in one run of the model.',
    BATCH_ITEMS,
  );
  const pictures = counter('classify_images_pictures_total', 'Pictures that were encoded.');
  const broken = new Counter({
    name: 'classify_images_pictures_broken_total',
    help: 'Pictures that could not be used, by error code.',
    labelNames: ['code'],
    registers,
  });
  const frames = counter('classify_images_frames_total', 'Frames of videos that were encoded.');
  const textHits = counter(
    'classify_images_text_cache_hits_total',
    'Texts whose embedding was in the cache.',
  );
  const textMisses = counter(
    'classify_images_text_cache_misses_total',
    'Texts that had to be encoded, including one at the start.',
  );
  const breakdowns = counter(
    'classify_images_inference_breakdowns_total',
    'Restarts of the inference thread after it failed.',
  );

  return {
    pictureDecoded: (ms) => decodeSeconds.observe(ms / 1000),
    pictureEncoded: () => pictures.inc(),
    pictureBroken: (code) => broken.inc({ code }),
    framesEncoded: (count) => frames.inc(count),
    textsLookedUp(known, unknown) {
      textHits.inc(known);
      textMisses.inc(unknown);
    },
    batchRun(encoder, items, ms, waitedMs) {
      batchItems.observe({ encoder }, items);
      batchSeconds.observe({ encoder }, ms / 1000);
      batchWait.observe({ encoder }, waitedMs / 1000);
    },
    inferenceBrokeDown: () => breakdowns.inc(),
  };
}

/**
 * Metrics of the process, under the names that all Prometheus clients use. The library's own collection would add some
 * thirty metrics of V8 and libuv, which Bun does not have.
 */
function addProcessMetrics(registry: Registry): void {
  longestStall ??= watchStalls();
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });

  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time in user and system mode, without video decoders.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  gauge('process_resident_memory_bytes', 'Resident memory including the model, without video decoders.', () =>
    process.memoryUsage.rss(),
  );
  const startedAt = Date.now() / 1000 - process.uptime();
  gauge(
    'process_start_time_seconds',
    'Start time of the process, in seconds since the Unix epoch.',
    () => startedAt,
  );
  gauge(
    'classify_images_memory_limit_bytes',
    'Memory limit of the control group, or the memory of the machine if there is no limit.',
    memoryLimitBytes,
  );
  gauge(
    'classify_images_event_loop_stall_seconds',
    'Longest time in the last one to two minutes in which the event loop was blocked.',
    longestStall,
  );
}

/** Each look wakes the main thread, while photos are decoded, too. */
const STALL_RESOLUTION_MS = 50;
const STALL_WINDOW_MS = 60_000;

/** One for the process, because it has one event loop. */
let longestStall: (() => number) | undefined;

/** @returns reads seconds. Any number of readers may call it: reading resets nothing. */
function watchStalls(): () => number {
  const delays = monitorEventLoopDelay({ resolution: STALL_RESOLUTION_MS });
  delays.enable();
  let before = 0;
  setInterval(() => {
    before = delays.max;
    delays.reset();
  }, STALL_WINDOW_MS).unref();
  return () => Math.max(before, delays.max) / 1e9;
}

/** The state of the running service. */
interface ServiceView {
  readonly queues: Readonly<Record<'pictures' | 'videos', Admission>>;
  readonly resources: Pick<Resources, 'used'>;
  readonly engine: () => EngineState;
  readonly isReady: () => boolean;
}

/** Metrics of the service's state, read at each request to /metrics. */
function addServiceMetrics(registry: Registry, { queues, resources, engine, isReady }: ServiceView): void {
  const registers = [registry];
  const ofQueues = (name: string, help: string, read: (queue: Admission) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['queue'],
      registers,
      collect() {
        for (const [queue, admission] of Object.entries(queues)) this.set({ queue }, read(admission));
      },
    });
  const ofResources = (
    name: string,
    help: string,
    label: 'queue' | 'use' | 'place',
    read: Readonly<Record<string, Resource>>,
  ) =>
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        for (const [value, resource] of Object.entries(read)) {
          this.set({ [label]: value }, resources.used(resource));
        }
      },
    });
  const flag = (name: string, help: string, read: () => boolean) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read() ? 1 : 0);
      },
    });

  ofQueues(
    'classify_images_requests_running',
    'Requests with a picture or a video that is being processed.',
    ({ running }) => running,
  );
  ofQueues(
    'classify_images_requests_waiting',
    'Requests with a complete picture or video that waits for the engine.',
    ({ waiting }) => waiting,
  );
  ofQueues(
    'classify_images_requests_waiting_limit',
    'New requests are refused when this many wait.',
    ({ limits }) => limits.waiting,
  );
  ofResources('classify_images_uploads_running', 'Admitted requests whose bodies are incomplete.', 'queue', {
    pictures: 'pictureUploads',
    videos: 'videoUploads',
  });
  ofResources('classify_images_upload_bytes', 'Bytes of uploads, by where they are stored.', 'place', {
    memory: 'partBytes',
    temporary_folder: 'temporaryBytes',
  });
  ofResources(
    'classify_images_request_memory_bytes',
    'Memory that requests hold in addition to uploads.',
    'use',
    {
      kept: 'keptBytes',
      labels: 'labelBytes',
      answers: 'answerBytes',
    },
  );
  flag('classify_images_model_ready', '1 when the model is loaded.', () => engine().state === 'ready');
  flag('classify_images_ready', '1 when /ready answers 200.', isReady);
  new Gauge({
    name: 'classify_images_build_info',
    help: 'Always 1; the labels describe the build. The model is empty until it is loaded.',
    labelNames: ['version', 'bun', 'model', 'precision', 'sha256'],
    registers,
    collect() {
      const state = engine();
      const { name, precision, sha256 } =
        state.state === 'ready' ? state.classifier.model : { name: '', precision: '', sha256: '' };
      this.reset();
      this.set({ version, bun: Bun.version, model: name, precision, sha256 }, 1);
    },
  });
}

/**
 * Metrics for Prometheus. Every label has a small set of values. Clients cannot add values, and no value reveals what
 * they have sent.
 */
export interface Metrics {
  /** The engine reports its work here. */
  readonly engine: EngineObserver;
  /** Counts a request that has ended, its answer included. */
  requestEnded(request: EndedRequest): void;
  /** Adds the metrics of the service's state. Call it once. */
  watch(view: ServiceView): void;
  /** All metrics in Prometheus' text format, version 0.0.4. */
  exposition(): Promise<Response>;
}

interface EndedRequest {
  readonly record: RequestRecord;
  /** As sent, unchecked. */
  readonly path: string;
  readonly status: number;
  readonly ms: number;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  addProcessMetrics(registry);
  const engine = createEngineMetrics(registry);
  const requestEnded = createRequestMetrics(registry);
  return {
    engine,
    requestEnded,
    watch: (view) => addServiceMetrics(registry, view),
    async exposition() {
      return new Response(await registry.metrics(), {
        headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
      });
    },
  };
}

/** From one small picture to thousands of them, or a film. */
const REQUEST_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const QUEUE_SECONDS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Metrics of the requests and their outcomes. */
function createRequestMetrics(registry: Registry): Metrics['requestEnded'] {
  const registers = [registry];
  const requests = new Counter({
    name: 'classify_images_http_requests_total',
    help: 'Requests, by endpoint and status; 499 if the client left before the answer.',
    labelNames: ['endpoint', 'status'],
    registers,
  });
  const durations = new Histogram({
    name: 'classify_images_http_request_duration_seconds',
    help: 'Time of requests to the endpoints that classify, from the request head to the end of the answer, streaming included.',
    labelNames: ['endpoint', 'status'],
    buckets: REQUEST_SECONDS,
    registers,
  });
  const failures = new Counter({
    name: 'classify_images_request_failures_total',
    help: 'Requests to the endpoints that classify that were refused, failed or abandoned, by error code.',
    labelNames: ['code'],
    registers,
  });
  const queueSeconds = new Histogram({
    name: 'classify_images_queue_wait_seconds',
    help: 'Time that admitted requests waited for their turns.',
    labelNames: ['endpoint'],
    buckets: QUEUE_SECONDS,
    registers,
  });
  const uploadedBytes = new Counter({
    name: 'classify_images_received_bytes_total',
    help: 'Bytes of request bodies that were read.',
    labelNames: ['endpoint'],
    registers,
  });

  // Series that start at zero show their first increase.
  for (const code of errorCodes) failures.inc({ code }, 0);
  for (const endpoint of workEndpoints) {
    requests.inc({ endpoint, status: '200' }, 0);
    durations.zero({ endpoint, status: '200' });
    queueSeconds.zero({ endpoint });
    uploadedBytes.inc({ endpoint }, 0);
  }

  return ({ record, path, status, ms }) => {
    const endpoint = endpointLabel(path);
    requests.inc({ endpoint, status: String(status) });
    if (!workEndpoints.includes(endpoint)) return;
    durations.observe({ endpoint, status: String(status) }, ms / 1000);
    if (record.fault) failures.inc({ code: record.fault });
    if (record.isAdmitted) queueSeconds.observe({ endpoint }, record.work.queueMs / 1000);
    uploadedBytes.inc({ endpoint }, record.bytes);
  };
}
