import { ServiceError } from '../errors.ts';

export interface StallLimit {
  /** The client may keep us waiting this long for each stretch of bytes. */
  readonly waitMs: number;
  /** Length of a stretch: a byte now and then does not keep a place. */
  readonly stretchBytes: number;
}

/**
 * A request's body, chunk by chunk and never ahead of the reader: what is not asked for stays in the
 * client's socket. Only time spent waiting for the client counts as stalling, not our own work.
 * @throws ServiceError client_gone, upload_stalled
 */
export async function* readBody(request: Request, limit: StallLimit): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  let waitedMs = 0;
  let stretch = 0;
  try {
    for (;;) {
      const askedAt = performance.now();
      const chunk = await within(limit.waitMs - waitedMs, reader.read());
      if (chunk.done) return;
      stretch += chunk.value.byteLength;
      if (stretch < limit.stretchBytes) {
        waitedMs += performance.now() - askedAt;
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

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const stalled = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      stalled.reject(
        new ServiceError(
          'upload_stalled',
          'The upload stopped: too few bytes of the body came in too long a time.',
        ),
      ),
    Math.max(0, milliseconds),
  );
  try {
    return await Promise.race([work, stalled.promise]);
  } finally {
    clearTimeout(timer);
  }
}
