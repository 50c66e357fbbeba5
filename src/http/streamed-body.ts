import { ServiceError } from '../errors.ts';
import type { Lease } from './resources.ts';

/** Hands a chunk over; resolves when the client wants more than it was given before. */
export interface Write {
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

export interface StreamOptions {
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
