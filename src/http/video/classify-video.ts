import type { ServiceError } from '../../errors.ts';
import { MAX_CATEGORIES_BYTES } from '../form-parts.ts';
import { boundaryOf } from '../multipart.ts';
import { parseVideoOptions, type VideoOptions } from '../options.ts';
import type { RequestTally } from '../request-record.ts';
import { urlOf } from '../request-url.ts';
import type { VideoProgress } from '../schemas.ts';
import { type StreamedBody, streamBody } from '../streamed-body.ts';
import { type EventNotation, errorEvent, notations, progressEvent, resultEvent } from './answer-events.ts';
import { answerFormatOf } from './answer-format.ts';
import { answerJson, inChunks } from './answer-json.ts';
import { findFrames, type PreparedAnswer, type SearchJob, type SearchRoom } from './find-frames.ts';
import { createNews, type NewsPace } from './progress-news.ts';
import { videoTooLarge } from './receive-video.ts';

export interface VideoEndpoint extends SearchRoom {
  readonly pace: NewsPace;
  /** Called when an answer that was streamed is complete, and the connection is still its own. */
  readonly beforeClose: () => void;
  /** What a client is told of a fault; takes note of those that are ours. */
  readonly explain: (fault: unknown) => ServiceError;
}

/** A response whose body is still being made when its head is sent. */
export interface StreamedResponse {
  readonly response: Response;
  /** Resolves when the body is sent or given up, with the fault that ended it early. */
  readonly ended: Promise<unknown>;
}

/**
 * One request to /video, from its query to its answer: one JSON document when all is done, or, for those
 * who ask for it, events from the beginning.
 * @throws ServiceError; with it, all work of this request is dropped
 */
export async function classifyVideo(
  request: Request,
  endpoint: VideoEndpoint,
  tally: RequestTally,
): Promise<StreamedResponse> {
  const options = parseVideoOptions(urlOf(request).searchParams);
  const boundary = boundaryOf(request.headers);
  checkDeclaredLength(request, endpoint.limits.videoBytes);
  endpoint.admission.refuseWhenFull();
  const search: Search = (signal, report) =>
    findFrames(endpoint, { request, boundary, options, tally, signal, report });
  const format = answerFormatOf(request.headers);
  return format === 'json'
    ? await respondWithJson(request, options, search, endpoint)
    : respondWithEvents(request, options, search, endpoint, notations[format]);
}

type Search = (signal: AbortSignal, report: SearchJob['report']) => Promise<PreparedAnswer>;

async function respondWithJson(
  request: Request,
  { details }: VideoOptions,
  search: Search,
  { stall: { waitMs }, beforeClose }: VideoEndpoint,
): Promise<StreamedResponse> {
  const prepared = await search(request.signal, () => undefined);
  const body = streamBody(
    async (write) => {
      await using held = prepared;
      for await (const chunk of inChunks(answerJson(held.answer, details))) await write(chunk);
    },
    { signal: request.signal, waitMs, beforeClose },
  );
  return streamedResponse(body, { 'content-type': 'application/json; charset=utf-8' });
}

function respondWithEvents(
  request: Request,
  { details }: VideoOptions,
  search: Search,
  { stall: { waitMs }, beforeClose, pace, explain }: VideoEndpoint,
  notation: EventNotation,
): StreamedResponse {
  const body = streamBody(
    async (write, gone) => {
      const outcome = await whileTelling(search, gone, pace, async (item, last) => {
        await write(encode(item === 'quiet' ? notation.quiet(last) : progressEvent(notation, item)));
      });
      if ('fault' in outcome) {
        await write(encode(errorEvent(notation, explain(outcome.fault))));
        return;
      }
      await using prepared = outcome.prepared;
      for await (const chunk of inChunks(resultEvent(notation, answerJson(prepared.answer, details)))) {
        await write(chunk);
      }
    },
    { signal: request.signal, waitMs, beforeClose },
  );
  return streamedResponse(body, {
    'content-type': notation.contentType,
    // Proxies of nginx's kind would keep events back until there are many of them.
    'x-accel-buffering': 'no',
  });
}

type Outcome = { readonly prepared: PreparedAnswer } | { readonly fault: unknown };

/**
 * Searches, and tells how it goes. Where nobody can be told any more, the search is given up and waited for.
 * @throws what `tell` throws
 */
async function whileTelling(
  search: Search,
  gone: AbortSignal,
  pace: NewsPace,
  tell: (item: VideoProgress | 'quiet', last: VideoProgress | undefined) => Promise<void>,
): Promise<Outcome> {
  const unread = new AbortController();
  const news = createNews<VideoProgress>(pace);
  const searching = search(AbortSignal.any([gone, unread.signal]), news.tell)
    .then((prepared): Outcome => ({ prepared }))
    .catch((fault: unknown): Outcome => ({ fault }))
    .finally(news.close);
  try {
    let last: VideoProgress | undefined;
    for await (const item of news) {
      // A search waits for its turn as its upload did before it, and a short upload may go untold in between.
      if (item !== 'quiet' && Bun.deepEquals(item, last)) continue;
      if (item !== 'quiet') last = item;
      await tell(item, last);
    }
  } catch (fault) {
    unread.abort(fault);
    const outcome = await searching;
    if ('prepared' in outcome) await outcome.prepared[Symbol.asyncDispose]();
    throw fault;
  }
  return await searching;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function streamedResponse(
  { stream, ended }: StreamedBody,
  headers: Record<string, string>,
): StreamedResponse {
  return { response: new Response(stream, { headers: { ...headers, 'cache-control': 'no-store' } }), ended };
}

/** Room for the form around the video: its boundaries and headers, and what comes before and after them. */
const FORM_BYTES = 64 * 1024;

/**
 * Refuses what is bound to be too much before it is sent.
 * @throws ServiceError video_too_large
 */
function checkDeclaredLength({ headers }: Request, maxVideoBytes: number): void {
  const declared = Number(headers.get('content-length') ?? 0);
  if (declared > maxVideoBytes + MAX_CATEGORIES_BYTES + FORM_BYTES) throw videoTooLarge(maxVideoBytes);
}
