import { parseVideoOptions, type VideoOptions } from '../../contract/options.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import { ServiceError } from '../../errors.ts';
import { MAX_CATEGORIES_BYTES } from '../form.ts';
import { inChunks, type StreamedBody, type StreamedResponse, streamBody } from '../json-answer.ts';
import { boundaryOf } from '../multipart.ts';
import { type RequestTally, urlOf } from '../request-record.ts';
import type { Lease, Resources } from '../resources.ts';
import {
  type PreparedAnswer,
  prepareAnswer,
  type SearchJob,
  type SearchRoom,
  videoTooLarge,
} from './prepare-answer.ts';
import {
  answerFormatOf,
  answerJson,
  type EventNotation,
  errorEvent,
  notations,
  progressEvent,
  resultEvent,
} from './video-answer.ts';

export interface NewsPace {
  /** Least time between two items. */
  readonly paceMs: number;
  /** After this time without an item, `quiet` is given. */
  readonly quietMs: number;
}

/** The latest news of some work, at the pace of its reader. */
export interface News<Item> extends AsyncIterable<Item | 'quiet'> {
  tell(item: Item): void;
  /** Ends the iteration; an item that was not read yet is dropped. */
  close(): void;
}

/**
 * Keeps only the newest item, so that nothing piles up while the reader is slow. Iterating gives it, then waits;
 * `quiet` is given where there was no item for a while.
 */
export function createNews<Item>({ paceMs, quietMs }: NewsPace): News<Item> {
  let latest: { readonly item: Item } | undefined;
  let isClosed = false;
  let wake = (_isNews: boolean) => {};

  /** @param forNews whether an item ends the pause, as `close` does */
  const pause = (ms: number, forNews: boolean) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = (isNews) => {
        if (isNews && !forNews) return;
        clearTimeout(timer);
        resolve();
      };
    });

  return {
    tell(item) {
      latest = { item };
      wake(true);
    },
    close() {
      isClosed = true;
      wake(false);
    },
    async *[Symbol.asyncIterator]() {
      while (!isClosed) {
        if (!latest) await pause(quietMs, true);
        if (isClosed) return;
        const news = latest;
        latest = undefined;
        yield news ? news.item : 'quiet';
        if (!isClosed) await pause(paceMs, false);
      }
    },
  };
}

export interface VideoEndpoint extends SearchRoom {
  readonly resources: Resources;
  readonly pace: NewsPace;
  /** Called when a streamed answer is complete, while its connection is still its own. */
  readonly beforeClose: () => void;
  /** Makes the error that the client receives; logs those that are bugs of the service. */
  readonly explain: (fault: unknown) => ServiceError;
}

/**
 * One request to /video, from its query to its answer: one JSON document at the end, or events from the beginning
 * where the request asks for them.
 * @throws ServiceError, after which all work of this request is dropped
 */
export async function respondToVideo(
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
    prepareAnswer(endpoint, { request, boundary, options, tally, lease, report });
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
    // nginx would buffer the events until there are many of them.
    'x-accel-buffering': 'no',
  });
}

type Outcome = { readonly prepared: PreparedAnswer } | { readonly fault: unknown };

/**
 * Searches and reports the progress. Where reporting fails, the search is aborted and waited for.
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
      // `waiting` comes before the upload and before the search; after a short upload, one follows the other.
      if (item !== 'quiet' && Bun.deepEquals(item, last)) continue;
      if (item !== 'quiet') last = item;
      await tell(item, last);
    }
  } catch (fault) {
    lease.abort(fault);
    const outcome = await searching;
    if ('prepared' in outcome) await outcome.prepared[Symbol.asyncDispose]();
    // Where the service has ended the request, the client is still there and receives the reason.
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

/** The form around the video: boundaries, headers, and what comes before and after them. */
const FORM_BYTES = 64 * 1024;

/**
 * Refuses a body whose declared length is too much, before it is sent.
 * @throws ServiceError video_too_large
 */
function checkDeclaredLength({ headers }: Request, maxVideoBytes: number): void {
  const declared = Number(headers.get('content-length') ?? 0);
  if (declared > maxVideoBytes + MAX_CATEGORIES_BYTES + FORM_BYTES) throw videoTooLarge(maxVideoBytes);
}
