import { ServiceError } from '../errors.ts';
import type { RequestTally } from './request-record.ts';
import type { Lease } from './resources.ts';

/**
 * A request's body, chunk by chunk and never ahead of the reader: what is not asked for stays in the
 * client's socket. Only time spent waiting for the client tries the patience for it, not our own work.
 * @param tally the bytes, and the time spent waiting for the client, are added to
 * @throws ServiceError client_gone, upload_stalled
 */
export async function* readBody(
  request: Request,
  lease: Pick<Lease, 'awaitClient' | 'credit'>,
  tally: Pick<RequestTally, 'uploadMs' | 'bytes'>,
): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  for (;;) {
    const askedAt = performance.now();
    const chunk = await lease.awaitClient(reader.read(), 'upload').catch(bodyFault);
    tally.uploadMs += performance.now() - askedAt;
    if (chunk.done) return;
    tally.bytes += chunk.value.byteLength;
    lease.credit('upload', chunk.value.byteLength);
    yield chunk.value;
  }
}

/** The stream only fails when the connection does. */
function bodyFault(fault: unknown): never {
  if (fault instanceof ServiceError) throw fault;
  throw new ServiceError(
    'client_gone',
    'The client left before its body was complete.',
    {},
    { cause: fault },
  );
}
