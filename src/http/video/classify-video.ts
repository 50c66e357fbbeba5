import { parseVideoOptions, type VideoOptions } from '../../contract/options.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import { ServiceError } from '../../errors.ts';
import { MAX_CATEGORIES_BYTES } from '../form-parts.ts';
import { inChunks, type StreamedBody, type StreamedResponse, streamBody } from '../json-answer.ts';
import { boundaryOf } from '../multipart.ts';
import { type RequestTally, urlOf } from '../request-record.ts';
import type { Lease, Resources } from '../resources.ts';
import { findFrames, type PreparedAnswer, type SearchJob, type SearchRoom } from './find-frames.ts';
import { createNews, type NewsPace } from './progress-news.ts';
import { videoTooLarge } from './receive-video.ts';
import {
  answerFormatOf,
  answerJson,
  type EventNotation,
  errorEvent,
  notations,
  progressEvent,
  resultEvent,
} from './video-answer.ts';

export interface VideoEndpoint extends SearchRoom {
  readonly resources: Resources;
  readonly pace: NewsPace;
  /** Called when an answer that was streamed is complete, and the connection is still its own. */
  readonly beforeClose: () => void;
  /** What a client is told of a fault; takes note of those that are ours. */
  readonly explain: (fault: unknown) => ServiceError;
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
  const lease = endpoint.resources.enter('videoUploads', request);
  const search: Search = (report) =>
    findFrames(endpoint, { request, boundary, options, tally, lease, report });
  const format = answerFormatOf(request.headers);
  const job = { options, search, lease };
  return format === 'json'
    ? await respondWithJson(job, endpoint)
    : respondWithEvents(job, endpoint, notations[format]);
}

type Search = (report: SearchJob['report']) => Promise<PreparedAnswer>;

interface VideoJob {
  readonly options: VideoOptions;
  readonly search: Search;
  readonly lease: Lease;
}

async function respondWithJson(
  { options, search, lease }: VideoJob,
  { beforeClose }: VideoEndpoint,
): Promise<StreamedResponse> {
  const prepared = await search(() => undefined).catch((fault: unknown) => {
    lease.abort(fault);
    throw fault;
  });
  const body = streamBody(
    async (write) => {
      await using answered = prepared;
      for await (const chunk of inChunks(answerJson(answered.answer, options.details))) await write(chunk);
    },
    { lease, beforeClose },
  );
  return streamedResponse(body, { 'content-type': 'application/json; charset=utf-8' });
}

function respondWithEvents(
  { options, search, lease }: VideoJob,
  { beforeClose, pace, explain }: VideoEndpoint,
  notation: EventNotation,
): StreamedResponse {
  const body = streamBody(
    async (write) => {
      const outcome = await whileTelling(search, lease, pace, async (item, last) => {
        await write(encode(item === 'quiet' ? notation.quiet(last) : progressEvent(notation, item)));
      });
      if ('fault' in outcome) {
        write.last(encode(errorEvent(notation, explain(outcome.fault))));
        return;
      }
      await using prepared = outcome.prepared;
      const json = answerJson(prepared.answer, options.details);
      for await (const chunk of inChunks(resultEvent(notation, json))) await write(chunk);
    },
    { lease, beforeClose },
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
  lease: Lease,
  pace: NewsPace,
  tell: (item: VideoProgress | 'quiet', last: VideoProgress | undefined) => Promise<void>,
): Promise<Outcome> {
  const news = createNews<VideoProgress>(pace);
  const searching = search(news.tell)
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
    lease.abort(fault);
    const outcome = await searching;
    if ('prepared' in outcome) await outcome.prepared[Symbol.asyncDispose]();
    // The client is still there to be told where it was the request that was ended.
    else if (!hasLeft(lease.signal.reason)) return outcome;
    throw fault;
  }
  return await searching;
}

function hasLeft(reason: unknown): boolean {
  return !(reason instanceof ServiceError) || reason.code === 'client_gone';
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
