import { ServiceError } from '../errors.ts';
import type { RequestTally } from './request-record.ts';

export interface StallLimit {
  /** The client may keep us waiting this long for each stretch of bytes. */
  readonly waitMs: number;
  /** As long as others wait for the place that it holds, only this long. */
  readonly contendedWaitMs: number;
  /** Length of a stretch: a byte now and then does not keep a place. */
  readonly stretchBytes: number;
}

/**
 * A request's body, chunk by chunk and never ahead of the reader: what is not asked for stays in the
 * client's socket. Only time spent waiting for the client counts as stalling, not our own work.
 * @param isContended whether others wait for this request's place
 * @param tally the time spent waiting for the client is added to
 * @throws ServiceError client_gone, upload_stalled
 */
export async function* readBody(
  request: Request,
  limit: StallLimit,
  isContended: () => boolean,
  tally: Pick<RequestTally, 'uploadMs'>,
): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  let waitedMs = 0;
  let stretch = 0;
  const patienceMs = () => (isContended() ? limit.contendedWaitMs : limit.waitMs) - waitedMs;
  try {
    for (;;) {
      const askedAt = performance.now();
      const chunk = await within(patienceMs, reader.read());
      const ms = performance.now() - askedAt;
      tally.uploadMs += ms;
      if (chunk.done) return;
      stretch += chunk.value.byteLength;
      if (stretch < limit.stretchBytes) {
        waitedMs += ms;
      } else {
        stretch = 0;
        waitedMs = 0;
      }
      yield chunk.value;
    }
  } catch (fault) {
    if (fault instanceof ServiceError) throw fault;
    // The stream only fails when the connection does.
    throw new ServiceError(
      'client_gone',
      'The client left before its body was complete.',
      {},
      { cause: fault },
    );
  }
}

/**
 * A body whose beginning is there, so that nobody who sends nothing comes to hold a place, or to wait for one.
 * @param arrival what the body's first `next()` promised
 */
export async function* resumeBody(
  arrival: Promise<IteratorResult<Uint8Array>>,
  body: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const first = await arrival;
  if (first.done) return;
  yield first.value;
  yield* body;
}

/** How soon a client notices that others wait. */
const RECHECK_MS = 1000;

/** @param patienceMs how long the work may take from its beginning; asked again and again */
async function within<T>(patienceMs: () => number, work: Promise<T>): Promise<T> {
  const stalled = Promise.withResolvers<never>();
  const begunAt = performance.now();
  let timer: Timer | undefined;
  const check = () => {
    const leftMs = patienceMs() - (performance.now() - begunAt);
    if (leftMs > 0) timer = setTimeout(check, Math.min(leftMs, RECHECK_MS));
    else stalled.reject(uploadStalled());
  };
  check();
  try {
    return await Promise.race([work, stalled.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function uploadStalled(): ServiceError {
  return new ServiceError(
    'upload_stalled',
    'The upload stopped: too few bytes of the body came in too long a time.',
  );
}
