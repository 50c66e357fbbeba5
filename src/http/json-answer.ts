import { statusOf } from '../contract/codes.ts';
import { ServiceError } from '../errors.ts';
import type { Lease } from './resources.ts';

/** A JSON text that is made when it is sent. */
export interface JsonText {
  /** The text in small pieces; the same ones each time. */
  readonly pieces: () => Iterable<string>;
  /** A sentence: what could be made shorter. */
  readonly advice: () => string;
}

/** Some 10,000 pictures with their five best categories take 5 MB. */
export const MAX_ANSWER_BYTES = 32 * 1024 ** 2;
/** What goes out at once; a client's socket takes about as much. */
const CHUNK_LENGTH = 64 * 1024;
/** Up to so much is made once, larger answers are measured before they are made. */
const MADE_AT_ONCE_BYTES = 1024 ** 2;
/** How long others wait for their turn of the event loop. */
const TURN_MS = 10;
/** How long a large answer waits until others have been taken. */
const ROOM_WAIT_MS = 60_000;

/**
 * Sends a JSON text. A large one holds its share of the memory for answers until its client has taken it.
 * @param lease held until all is sent; given back here where the answer is small
 * @param beforeClose see streamBody
 * @throws ServiceError option_invalid where it would be enormous, overloaded; the signal's reason
 */
export async function sendJson(
  { pieces, advice }: JsonText,
  { status, headers }: { readonly status: number; readonly headers: Record<string, string> },
  lease: Lease,
  beforeClose: () => void,
): Promise<StreamedResponse> {
  const init = {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers },
  };
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of inChunks(inTurns(pieces(), lease.signal))) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw answerTooLarge(advice());
    if (bytes <= MADE_AT_ONCE_BYTES) chunks.push(chunk);
    else chunks = [];
  }
  const [only] = chunks;
  if (only && chunks.length === 1) {
    lease[Symbol.dispose]();
    return { response: new Response(only, init), ended: undefined };
  }
  await lease.takeInTurn('answerBytes', bytes, ROOM_WAIT_MS);
  if (chunks.length === 0) {
    for await (const chunk of inChunks(inTurns(pieces(), lease.signal))) chunks.push(chunk);
  }
  // From here on it holds nothing but its text.
  for (const resource of ['keptBytes', 'labelBytes'] as const) lease.give(resource, lease.held(resource));
  const { stream, ended } = streamBody(
    async (write) => {
      for (let chunk = chunks.shift(); chunk; chunk = chunks.shift()) {
        await write(chunk);
        lease.give('answerBytes', chunk.byteLength);
      }
    },
    { lease, beforeClose },
  );
  return { response: new Response(stream, init), ended };
}

/** @param advice a sentence */
export function answerTooLarge(advice: string): ServiceError {
  return new ServiceError(
    'option_invalid',
    `The answer would have more than ${MAX_ANSWER_BYTES} bytes, the most that is sent. ${advice}`,
  );
}

/** Gathers pieces of text into chunks that are worth sending. */
export async function* inChunks(
  pieces: AsyncIterable<string> | Iterable<string>,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let gathered = '';
  for await (const piece of pieces) {
    gathered += piece;
    if (gathered.length < CHUNK_LENGTH) continue;
    yield encoder.encode(gathered);
    gathered = '';
  }
  if (gathered !== '') yield encoder.encode(gathered);
}

/** Hands pieces on in groups, and lets others have their turn of the event loop in between. */
async function* inTurns(pieces: Iterable<string>, signal: AbortSignal): AsyncGenerator<string> {
  let beganAt = performance.now();
  let gathered = '';
  for (const piece of pieces) {
    gathered += piece;
    const isOver = performance.now() - beganAt >= TURN_MS;
    if (!isOver && gathered.length < CHUNK_LENGTH) continue;
    yield gathered;
    gathered = '';
    if (!isOver) continue;
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
    beganAt = performance.now();
  }
  if (gathered !== '') yield gathered;
}

/** Every failure's body: `{"error", "code", …}`. */
export function errorBody({ code, message, details }: ServiceError) {
  return { error: message, code, ...details };
}

/** A failure's answer. */
export function errorResponse(error: ServiceError): Response {
  const { code, details } = error;
  const { retry_after_seconds: retryAfterSeconds, allow } = details;
  const headers: Record<string, string> = {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  };
  if (typeof retryAfterSeconds === 'number') headers['retry-after'] = String(retryAfterSeconds);
  if (Array.isArray(allow)) headers.allow = allow.join(', ');
  if (code === 'unauthorized') headers['www-authenticate'] = 'Bearer realm="classify-images"';
  return new Response(JSON.stringify(errorBody(error)), { status: statusOf(code), headers });
}

/**
 * What a client is told of anything that was thrown.
 * @param hasLeft whether the client is gone: then whatever broke, broke because of that
 */
export function publicError(thrown: unknown, requestId: string, hasLeft: boolean): ServiceError {
  if (hasLeft)
    return new ServiceError('client_gone', 'The client left before its answer.', {}, { cause: thrown });
  if (thrown instanceof ServiceError) return thrown;
  return new ServiceError(
    'internal',
    `This is a bug: something broke inside the service. Please report it with the request id ${requestId}.`,
    { request_id: requestId },
    { cause: thrown },
  );
}

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
