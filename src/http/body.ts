import { ServiceError } from '../errors.ts';
import type { RequestTally } from './request-record.ts';
import type { Lease } from './resources.ts';

/** Hands a chunk over; resolves when the client wants more than it was given before. */
interface Write {
  (chunk: Uint8Array): Promise<void>;
  /** A last word, also of a request that was ended: it waits for nobody. */
  last(chunk: Uint8Array): void;
}

/** A body that is made while it is sent. */
export interface StreamedBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** Resolves, when all is sent or given up, with the fault that ended it early. */
  readonly ended: Promise<unknown>;
}

/** A response, and, where its body is still being made when its head is sent, when that is over. */
export interface StreamedResponse {
  readonly response: Response;
  /** See StreamedBody. */
  readonly ended: Promise<unknown> | undefined;
}

interface StreamOptions {
  /** Of the request; disposed of when the body has come to its end. Its signal is aborted when the client leaves. */
  readonly lease: Pick<Lease, 'signal' | 'abort' | 'awaitClient' | 'credit' | typeof Symbol.dispose>;
  /** Called when all is written, and the connection is still this answer's. */
  readonly beforeClose?: () => void;
}

/**
 * Lets a function write a response's body at the speed of its reader. It begins at once, and comes to its
 * end whatever the client does: once that has left, or is too slow, writing fails.
 * @param produce what it throws breaks the body off, so that no client takes a part for the whole
 */
export function streamBody(
  produce: (write: Write) => Promise<void>,
  { lease, beforeClose }: StreamOptions,
): StreamedBody {
  let demand = Promise.withResolvers<void>();
  let given = 0;
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isCancelled = false;
  const stream = new ReadableStream<Uint8Array>(
    {
      start(own) {
        controller = own;
      },
      pull() {
        demand.resolve();
      },
      cancel(cause) {
        isCancelled = true;
        const sentence = 'The client left before its answer was complete.';
        lease.abort(new ServiceError('client_gone', sentence, {}, { cause }));
      },
    },
    { highWaterMark: 0 },
  );

  let isOver = false;
  const writeNext = async (chunk: Uint8Array) => {
    await lease.awaitClient(demand.promise, 'answer');
    lease.credit('answer', given);
    demand = Promise.withResolvers();
    given = chunk.byteLength;
    controller?.enqueue(chunk);
  };
  const write: Write = Object.assign(writeNext, {
    last(chunk: Uint8Array) {
      isOver = true;
      controller?.enqueue(chunk);
    },
  });
  const run = async (): Promise<unknown> => {
    try {
      await produce(write);
      if (!isOver) lease.signal.throwIfAborted();
      beforeClose?.();
      controller?.close();
      return undefined;
    } catch (fault) {
      if (!isCancelled) controller?.error(fault);
      return fault;
    } finally {
      lease[Symbol.dispose]();
    }
  };
  return { stream, ended: run() };
}

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
