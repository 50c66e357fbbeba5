import { ServiceError } from '../errors.ts';

/** Hands a chunk over; resolves when the client wants more than it was given before. */
export type Write = (chunk: Uint8Array) => Promise<void>;

/** A body that is made while it is sent. */
export interface StreamedBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** Resolves, when all is sent or given up, with the fault that ended it early. */
  readonly ended: Promise<unknown>;
}

export interface StreamOptions {
  /** Aborted when the connection is lost. */
  readonly signal: AbortSignal;
  /** A client that takes nothing for so long has left without a word. */
  readonly waitMs: number;
  /** Called when all is written, and the connection is still this answer's. */
  readonly beforeClose?: () => void;
}

/**
 * Lets a function write a response's body at the speed of its reader. It begins at once, and comes to its
 * end whatever the client does: once that has left, writing fails.
 * @param produce `gone` is aborted when the client leaves. What it throws breaks the body off, so that no
 *   client takes a part for the whole
 */
export function streamBody(
  produce: (write: Write, gone: AbortSignal) => Promise<void>,
  { signal, waitMs, beforeClose }: StreamOptions,
): StreamedBody {
  const cancelled = new AbortController();
  const gone = AbortSignal.any([signal, cancelled.signal]);
  let demand = Promise.withResolvers<void>();
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const stream = new ReadableStream<Uint8Array>(
    {
      start(own) {
        controller = own;
      },
      pull() {
        demand.resolve();
      },
      cancel(cause) {
        cancelled.abort(clientGone('The client left before its answer was complete.', cause));
      },
    },
    { highWaterMark: 0 },
  );

  const write: Write = async (chunk) => {
    await waitFor(demand.promise, gone, waitMs);
    demand = Promise.withResolvers();
    controller?.enqueue(chunk);
  };
  const run = async (): Promise<unknown> => {
    try {
      await produce(write, gone);
      gone.throwIfAborted();
      beforeClose?.();
      controller?.close();
      return undefined;
    } catch (fault) {
      if (!gone.aborted) controller?.error(fault);
      return fault;
    }
  };
  return { stream, ended: run() };
}

async function waitFor(demand: Promise<void>, gone: AbortSignal, waitMs: number): Promise<void> {
  gone.throwIfAborted();
  const refused = Promise.withResolvers<never>();
  const leave = () => refused.reject(gone.reason);
  const timer = setTimeout(() => refused.reject(clientGone('The client stopped taking its answer.')), waitMs);
  gone.addEventListener('abort', leave, { once: true });
  try {
    await Promise.race([demand, refused.promise]);
  } finally {
    clearTimeout(timer);
    gone.removeEventListener('abort', leave);
  }
}

function clientGone(sentence: string, cause?: unknown): ServiceError {
  return new ServiceError('client_gone', sentence, {}, { cause });
}
