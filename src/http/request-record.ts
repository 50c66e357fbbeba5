import { type ErrorCode, ServiceError } from '../errors.ts';
import type { WorkTimes } from '../work-context.ts';

const acceptable = /^[A-Za-z0-9._:+/=-]{1,64}$/;

/** The client's id if it is safe in a log and in a header, otherwise a new one. */
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
