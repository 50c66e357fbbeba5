import { statusOf } from '../contract/codes.ts';
import type { Log } from '../log.ts';
import { type Metrics, probeEndpoints } from './metrics.ts';
import { type RequestRecord, timingOf } from './request-record.ts';

/** Clients choose both; the longest path of the service has 30 characters. */
const MAX_PATH_LENGTH = 200;
const MAX_METHOD_LENGTH = 20;

/**
 * The one log line of a request, and its place in the metrics, when all of it is over. Neither names files,
 * categories, options or keys.
 */
export function noteEnd(
  request: Request,
  record: RequestRecord,
  answeredStatus: number,
  log: Log,
  metrics: Metrics,
): void {
  const hasLeft = request.signal.aborted;
  if (hasLeft) record.fault ??= 'client_gone';
  const { id, fault, isLate, files, bytes, isAdmitted } = record;
  const path = URL.parse(request.url, 'http://localhost')?.pathname;
  const status = hasLeft ? statusOf('client_gone') : answeredStatus;
  const ms = performance.now() - record.receivedAt;
  // A line every few seconds that all is well would bury the others.
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
