import type { WorkTimes } from '../classify/classifier.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';

const acceptable = /^[A-Za-z0-9._:+/=-]{1,64}$/;

/** The caller's own id where it is harmless in a log and a header, otherwise a new one. */
function requestIdOf(headers: Headers): string {
  const given = headers.get('x-request-id');
  return given && acceptable.test(given) ? given : crypto.randomUUID();
}

/** What an endpoint notes of a request while it works on it. */
export interface RequestTally {
  files: number;
  /** Of the body, as far as it was read. */
  bytes: number;
  /** How long the client kept us waiting for its body. */
  uploadMs: number;
  /** Whether it was given a place. */
  isAdmitted: boolean;
  /** Where the time of what was asked for went. */
  readonly work: WorkTimes;
}

/** A request, from its head to the end of its answer: what its log line and the metrics say of it. */
export interface RequestRecord extends RequestTally {
  readonly id: string;
  readonly receivedAt: number;
  /** Why it was not answered as it was asked. */
  fault?: ErrorCode;
  /** Whether the answer's head, with status 200, had been sent before that was known. */
  isLate?: boolean;
  /** Resolves when a body that is made while it is sent has come to its end. */
  bodyEnded?: Promise<void>;
}

/** @returns the one record of each request */
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

/** Where a request's time went, in milliseconds, under the names of its `server-timing` header. */
type Timing = Readonly<Record<string, number>>;

/**
 * What took any time at all. The work on pictures and frames is added up over them: many are worked on at a time,
 * so that `decode` may well be longer than `total`.
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

/** As W3C's Server Timing has it: `decode;dur=12.3, total;dur=40`. */
export function serverTiming(timing: Timing, totalMs: number): string {
  let header = '';
  for (const [name, ms] of Object.entries(timing)) header += `${name};dur=${ms}, `;
  return `${header}total;dur=${toTenths(totalMs)}`;
}

function toTenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/**
 * A request's address. Bun takes the Host header into it as it comes: a wrong one breaks it, and without
 * one (HTTP/1.0, as health checks of load balancers write) only the path is left.
 * @throws ServiceError bad_request
 */
export function urlOf({ url, headers }: Request): URL {
  const parsed = URL.parse(url, 'http://localhost');
  if (parsed) return parsed;
  const host = headers.get('host')?.slice(0, 100) ?? null;
  throw new ServiceError('bad_request', `The Host header ${JSON.stringify(host)} is no host.`);
}
