import { ServiceError } from '../errors.ts';
import { type StreamedResponse, streamBody } from './body.ts';
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
