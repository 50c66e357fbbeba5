import type { ModelSummary, Synonyms } from '../classify/classifier.ts';
import { DECIDING_CANDIDATES } from '../classify/decide.ts';
import { statusOf } from '../contract/codes.ts';
import type { PictureOptions } from '../contract/options.ts';
import type { WireModel, WireSynonyms } from '../contract/schemas.ts';
import { ServiceError } from '../errors.ts';
import { takeTurns } from '../turns.ts';
import { clientGone, type Lease } from './resources.ts';

/** A JSON text that is generated while it is sent. */
export interface JsonText {
  /** Generates the text in small pieces. Every call yields the same text. */
  readonly pieces: () => Iterable<string>;
  /** A sentence that says how the client could get a shorter answer. */
  readonly advice: () => string;
}

/** 10,000 pictures with their five best categories need 5 MB. */
export const MAX_ANSWER_BYTES = 32 * 1024 ** 2;
/** About what a client's socket accepts at once. */
const CHUNK_LENGTH = 64 * 1024;
/** Answers up to this size are generated once. Larger ones are generated to measure them, then again to send them. */
const MADE_AT_ONCE_BYTES = 1024 ** 2;
/** How long a large answer waits for memory that other answers use. */
const ROOM_WAIT_MS = 60_000;

/**
 * Sends a JSON text. A large one holds `answerBytes` until its client has received it.
 * @param lease disposed when all is sent; for a small answer, before this returns
 * @param beforeClose see streamBody
 * @throws ServiceError option_invalid if the text is too long, overloaded; the signal's reason
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
  for await (const chunk of generate(pieces(), lease.signal)) {
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
    for await (const chunk of generate(pieces(), lease.signal)) chunks.push(chunk);
  }
  // Only the text is needed now.
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

/**
 * Sends a JSON text of any length, which is generated at the speed of its reader. Until its end, the lease keeps what
 * the text is made from.
 */
export async function streamJson(
  pieces: Iterable<string>,
  headers: Record<string, string>,
  lease: Lease,
  beforeClose: () => void,
): Promise<StreamedResponse> {
  const init = {
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers },
  };
  const chunks = generate(pieces, lease.signal);
  const first = await chunks.next();
  const second = await chunks.next();
  if (second.done) {
    lease[Symbol.dispose]();
    return { response: new Response(first.value ?? '', init), ended: undefined };
  }
  const { stream, ended } = streamBody(
    async (write) => {
      if (first.value) await write(first.value);
      await write(second.value);
      for await (const chunk of chunks) await write(chunk);
    },
    { lease, beforeClose },
  );
  return { response: new Response(stream, init), ended };
}

/** @param advice a sentence */
export function answerTooLarge(advice: string): ServiceError {
  return new ServiceError(
    'option_invalid',
    `The answer would have more than ${MAX_ANSWER_BYTES} bytes, the limit for an answer. ${advice}`,
  );
}

/** Joins small pieces of text into chunks of a size that is efficient to send. */
export async function* inChunks(pieces: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
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

/** Like `inChunks`, for pieces that are computed: other requests have their turns of the event loop in between. */
export async function* generate(pieces: Iterable<string>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  const turns = takeTurns(signal);
  let gathered = '';
  for (const piece of pieces) {
    gathered += piece;
    if (turns.isOver) await turns.next();
    if (gathered.length < CHUNK_LENGTH) continue;
    yield encoder.encode(gathered);
    gathered = '';
  }
  if (gathered !== '') yield encoder.encode(gathered);
}

/** The JSON body of every error: `{"error", "code", …}`. */
export function errorBody({ code, message, details }: ServiceError) {
  return { error: message, code, ...details };
}

/** The answer for an error. */
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
 * Turns anything that was thrown into the error that the client gets.
 * @param hasLeft whether the client has left: that explains any other fault
 */
export function publicError(thrown: unknown, requestId: string, hasLeft: boolean): ServiceError {
  if (hasLeft) return clientGone('The client left before the answer.', thrown);
  if (thrown instanceof ServiceError) return thrown;
  return new ServiceError(
    'internal',
    `This is a bug: the service failed. Please report it with the request id ${requestId}.`,
    { request_id: requestId },
    { cause: thrown },
  );
}

/** Sends a chunk. Resolves when the client has room for it. */
interface Write {
  (chunk: Uint8Array): Promise<void>;
  /** Sends the last chunk without waiting, even after the request was aborted. */
  last(chunk: Uint8Array): void;
}

/** A body that is generated while it is sent. */
export interface StreamedBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** Resolves when the body has ended: with undefined, or with the fault that ended it early. */
  readonly ended: Promise<unknown>;
}

/** A response whose body may still be generated after its head was sent. */
export interface StreamedResponse {
  readonly response: Response;
  /** See StreamedBody; undefined for a complete body. */
  readonly ended: Promise<unknown> | undefined;
}

interface StreamOptions {
  /** Of the request. It is disposed when the body has ended. Its signal is aborted when the client leaves. */
  readonly lease: Pick<Lease, 'signal' | 'abort' | 'awaitClient' | 'credit' | typeof Symbol.dispose>;
  /**
   * Resolves when the request's body is complete, or will not be read any more. Until then, a client that does not
   * receive its answer is busy with sending, and uses up no patience.
   */
  readonly uploaded?: Promise<void>;
  /** Called when everything is written and the connection is still open for this answer. */
  readonly beforeClose?: () => void;
}

/**
 * Streams a response's body at the speed of its reader. `produce` starts at once and always ends: writing fails when
 * the client has left or is too slow.
 * @param produce a fault that it throws breaks the connection, so that clients see that the body is incomplete
 */
export function streamBody(
  produce: (write: Write) => Promise<void>,
  { lease, uploaded, beforeClose }: StreamOptions,
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
        lease.abort(clientGone('The client left before its answer was complete.', cause));
      },
    },
    { highWaterMark: 0 },
  );

  let isOver = false;
  const writeNext = async (chunk: Uint8Array) => {
    if (uploaded) await Promise.race([demand.promise, uploaded]);
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
 * The text of a JSON object with its keys in the given order, in pieces. A JavaScript object would move keys such
 * as "10" to the front and lose "__proto__"; both are valid file names and labels.
 * @param entries distinct keys, each with a JSON value
 */
export function* jsonObject(entries: Iterable<readonly [string, unknown]>): Generator<string> {
  let before = '{';
  for (const [key, value] of entries) {
    yield `${before}${JSON.stringify(key)}:${JSON.stringify(value)}`;
    before = ',';
  }
  yield before === '{' ? '{}' : '}';
}

/** The items of a JSON array with the commas between them, in pieces. */
export function* jsonItems(items: Iterable<object>): Generator<string> {
  let before = '';
  for (const item of items) {
    yield before + JSON.stringify(item);
    before = ',';
  }
}

/** A score and a similarity, as an object in memory and as JSON. */
export const SCORE_BYTES = 100;
/** Some 20 MB of JSON. The five best of every subject may always be listed. */
const MAX_LISTED_SCORES = 250_000;
const ALWAYS_LISTED = 5;

export function wireModel(model: ModelSummary): WireModel {
  return {
    name: model.name,
    sha256: model.sha256,
    precision: model.precision,
    embedding_dimension: model.embeddingDimension,
    image_resolution: model.imageResolution,
  };
}

/** The field of a detailed answer that is absent where there are none. */
export function wireSynonyms(found: readonly Synonyms[]): { category_warnings?: WireSynonyms[] } {
  if (found.length === 0) return {};
  return { category_warnings: found.map((pair) => ({ ...pair, categories: [...pair.categories] })) };
}

/**
 * Counts the candidates of all rankings of an answer with several categories, of which it cannot be known before how
 * many are kept.
 * @returns called with the candidates of each. @throws ServiceError option_invalid, overloaded
 */
export function keptCounter(lease: Pick<Lease, 'take'>): (candidates: number) => void {
  let kept = 0;
  return (candidates) => {
    kept += candidates;
    if (kept > MAX_LISTED_SCORES) {
      throw new ServiceError(
        'option_invalid',
        `The answer would have more than ${MAX_LISTED_SCORES} categories; raise the threshold, or send less at once.`,
      );
    }
    lease.take('keptBytes', candidates * SCORE_BYTES);
  };
}

/**
 * How many candidates of each ranking the answer needs.
 * @throws ServiceError option_invalid if the answer would be enormous
 */
export function rankingLimit(
  { details, top_k }: Pick<PictureOptions, 'details' | 'top_k'>,
  subjects: number,
  candidates: number,
): number {
  const limit = Math.max(details ? top_k : 1, DECIDING_CANDIDATES);
  const listed = subjects * Math.min(limit, candidates);
  if (limit > ALWAYS_LISTED && listed > MAX_LISTED_SCORES) {
    throw new ServiceError(
      'option_invalid',
      `The option top_k=${top_k} would list ${listed} scores, at most ${MAX_LISTED_SCORES} are accepted; ask for a smaller top_k or send less at once.`,
    );
  }
  return limit;
}

/** @returns makes a sentence that says how to get a shorter answer, with numbers */
export function adviceOf(
  { details, top_k }: Pick<PictureOptions, 'details' | 'top_k'>,
  names: readonly string[],
  labels: readonly string[],
): () => string {
  return () => {
    const cures = details && top_k > 1 ? [`ask for a smaller top_k than ${top_k}`] : [];
    const longest = longestOf([
      ...names.map((text) => ({ kind: 'file name', text })),
      ...labels.map((text) => ({ kind: 'category', text })),
    ]);
    if (longest) {
      const { kind, text, bytes } = longest;
      const shown = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
      cures.push(`shorten names (the longest, the ${kind} ${shown}, takes ${bytes} bytes in JSON)`);
    }
    cures.push('send less at once');
    const sentence = cures.join(', or ');
    return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`;
  };
}

interface Named {
  readonly kind: string;
  readonly text: string;
}

function longestOf(candidates: readonly Named[]): (Named & { readonly bytes: number }) | undefined {
  let longest: (Named & { readonly bytes: number }) | undefined;
  for (const { kind, text } of candidates) {
    // A character takes at most six bytes.
    if (longest && 6 * text.length + 2 <= longest.bytes) continue;
    const bytes = Buffer.byteLength(JSON.stringify(text));
    if (!longest || bytes > longest.bytes) longest = { kind, text, bytes };
  }
  return longest;
}
