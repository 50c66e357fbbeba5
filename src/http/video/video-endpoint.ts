import type { Categories, Classifier, SearchProgress, VideoSearch } from '../../classify/classifier.ts';
import type { Config } from '../../config.ts';
import { parseVideoOptions, type VideoOptions } from '../../contract/options.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import { invariant, ServiceError } from '../../errors.ts';
import {
  adviceOf,
  answerTooLarge,
  inChunks,
  MAX_ANSWER_BYTES,
  rankingLimit,
  SCORE_BYTES,
  type StreamedBody,
  type StreamedResponse,
  streamBody,
} from '../answers.ts';
import { urlOf } from '../app.ts';
import { MAX_CATEGORIES_BYTES, readBody, readForm, takeLabelMemory } from '../form.ts';
import type { RequestTally } from '../metrics.ts';
import { boundaryOf, readParts } from '../multipart.ts';
import type { Admission, Lease, Resources } from '../resources.ts';
import type { Spool, StoredFile } from '../spool.ts';
import {
  answerFormatOf,
  answerJson,
  composeAnswer,
  type EventNotation,
  errorEvent,
  notations,
  progressEvent,
  resultEvent,
  type VideoAnswer,
  winningTimestamps,
  withImages,
} from './video-answer.ts';

interface VideoEndpoint {
  readonly classifier: Classifier;
  /** Complete videos wait here. */
  readonly admission: Admission;
  readonly resources: Resources;
  readonly openSpool: (lease: Lease) => Promise<Spool>;
  readonly limits: Config['limits'];
  readonly pace: NewsPace;
  /** Called when a streamed answer is complete and its connection is still open. */
  readonly beforeClose: () => void;
  /** Makes the error that the client receives, and logs bugs of the service. */
  readonly explain: (fault: unknown) => ServiceError;
}

/** One request to /video, after its head was accepted. */
interface VideoJob {
  readonly endpoint: VideoEndpoint;
  readonly request: Request;
  readonly boundary: string;
  readonly options: VideoOptions;
  readonly record: RequestTally;
  /** Its signal is aborted when the client has left or the request was ended. */
  readonly lease: Lease;
}

type Report = (progress: VideoProgress) => void;

/**
 * Answers one request to /video: with one JSON document at the end or, if the request asks for them, with events from
 * the beginning.
 * @throws ServiceError; all work of this request is dropped then
 */
export async function respondToVideo(
  request: Request,
  endpoint: VideoEndpoint,
  record: RequestTally,
): Promise<StreamedResponse> {
  const options = parseVideoOptions(urlOf(request).searchParams);
  const boundary = boundaryOf(request.headers);
  checkDeclaredLength(request, endpoint.limits.videoBytes);
  endpoint.admission.refuseWhenFull();
  const lease = endpoint.resources.enter('videoUploads', request);
  const job = { endpoint, request, boundary, options, record, lease };
  const format = answerFormatOf(request.headers);
  return format === 'json' ? await respondWithJson(job) : respondWithEvents(job, notations[format]);
}

async function respondWithJson(job: VideoJob): Promise<StreamedResponse> {
  const { endpoint, options, lease } = job;
  const prepared = await prepareAnswer(job, () => undefined).catch((fault: unknown) => {
    lease.abort(fault);
    throw fault;
  });
  const body = streamBody(
    async (write) => {
      await using answered = prepared;
      for await (const chunk of inChunks(answerJson(answered.answer, options.details))) await write(chunk);
    },
    { lease, beforeClose: endpoint.beforeClose },
  );
  return streamedResponse(body, { 'content-type': 'application/json; charset=utf-8' });
}

function respondWithEvents(job: VideoJob, notation: EventNotation): StreamedResponse {
  const { endpoint, options, lease } = job;
  const body = streamBody(
    async (write) => {
      const outcome = await whileTelling(job, async (item, last) => {
        await write(encode(item === 'quiet' ? notation.quiet(last) : progressEvent(notation, item)));
      });
      if ('fault' in outcome) {
        write.last(encode(errorEvent(notation, endpoint.explain(outcome.fault))));
        return;
      }
      await using prepared = outcome.prepared;
      const json = answerJson(prepared.answer, options.details);
      for await (const chunk of inChunks(resultEvent(notation, json))) await write(chunk);
    },
    { lease, beforeClose: endpoint.beforeClose },
  );
  return streamedResponse(body, {
    'content-type': notation.contentType,
    // nginx would buffer the events until there are many of them.
    'x-accel-buffering': 'no',
  });
}

type Outcome = { readonly prepared: PreparedAnswer } | { readonly fault: unknown };

/**
 * Searches and reports the progress. If reporting fails, the search is aborted and waited for.
 * @throws what `tell` throws
 */
async function whileTelling(
  job: VideoJob,
  tell: (item: VideoProgress | 'quiet', last: VideoProgress | undefined) => Promise<void>,
): Promise<Outcome> {
  const { endpoint, lease } = job;
  const news = createNews<VideoProgress>(endpoint.pace);
  const searching = prepareAnswer(job, news.tell)
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
    // If the service has ended the request, the client is still there and receives the reason.
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

/** An answer and its pictures, which stay on the disk until it is disposed of. */
interface PreparedAnswer extends AsyncDisposable {
  readonly answer: VideoAnswer;
}

/**
 * Prepares the answer: receives the upload, searches the video when its turn comes, and renders the best frames. All
 * errors are thrown here, before the answer begins. An answer that is read slowly holds its pictures, but neither its
 * video nor a place.
 * @throws ServiceError; the signal's reason
 */
async function prepareAnswer(job: VideoJob, report: Report): Promise<PreparedAnswer> {
  const { endpoint, request, boundary, options, record, lease } = job;
  const { classifier, limits } = endpoint;
  report({ stage: 'waiting' });
  record.isAdmitted = true;
  await using files = new AsyncDisposableStack();
  const spool = files.use(await endpoint.openSpool(lease));

  const declared = request.headers.get('content-length');
  const total = declared === null ? {} : { bytes_total: Number(declared) };
  const body = readBody(request, lease, record, () => {
    lease.signal.throwIfAborted();
    report({ stage: 'uploading', bytes_done: record.bytes, ...total });
  });
  let video: Omit<ReceivedVideo, 'categories'> | undefined;
  const categories = await readForm(readParts(body, boundary), lease, {
    field: 'video',
    async receive(name, content) {
      if (video) {
        throw new ServiceError(
          'part_unexpected',
          'The part video was sent twice; send one video in one request.',
        );
      }
      const file = await spool.write('video', content, (bytes) => {
        if (bytes > limits.videoBytes) throw videoTooLarge(limits.videoBytes);
      });
      if (file.bytes === 0) throw new ServiceError('video_broken', 'The video is empty: it has no bytes.');
      video = { file, name };
      return true;
    },
    parseCategories: classifier.parseCategories,
    async checkCategories(sent) {
      searchLimit(options, sent);
      await classifier.checkLabels(sent, options, lease);
    },
  });
  invariant(video && categories, 'a form without its parts was not refused.');
  const received = { ...video, categories };
  lease.give('videoUploads', 1);
  record.files = 1;

  const answer = await searchStored(job, received, spool, report);
  await spool.remove(received.file);
  const kept = files.move();
  return { answer, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** A complete /video form. */
interface ReceivedVideo {
  readonly file: StoredFile;
  /** The video's name on the client's side. */
  readonly name: string;
  readonly categories: Categories;
}

function videoTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'video_too_large',
    `The video has more than ${maxBytes} bytes, the most that is accepted.`,
  );
}

async function searchStored(
  { endpoint, options, record, lease }: VideoJob,
  { file, name, categories }: ReceivedVideo,
  spool: Spool,
  report: Report,
): Promise<VideoAnswer> {
  const { classifier, admission } = endpoint;
  const limit = searchLimit(options, categories);
  checkAnswerBytes(options, categories, name);
  lease.take('keptBytes', categories.labels.length * 2 * limit * SCORE_BYTES);
  takeLabelMemory(categories, options, classifier.model.embeddingDimension, lease);

  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  try {
    const searching = classifier.searchVideo(
      file.path,
      categories,
      {
        ...options,
        limit,
        onProgress: (progress) => report(wireProgress(progress)),
        onBegin: begun.resolve,
      },
      { signal: lease.signal, times: record.work },
    );
    await admission
      .createWork(lease)
      .submit(async () => {
        await Promise.race([begun.promise, searching]);
        return { settled: ended.promise };
      })
      .catch(async (fault: unknown) => {
        // The signal has ended the search, or it was refused before it began.
        lease.abort(fault);
        await searching.then((search) => search[Symbol.asyncDispose]()).catch(() => undefined);
        throw fault;
      });
    await using search = await searching;
    const answer = composeAnswer(search, { model: classifier.model, videoName: name, options });
    if (!options.images) return answer;
    const pictures = await render(search, winningTimestamps(answer), spool, report);
    // Pictures may have added warnings.
    return withImages({ ...answer, warnings: [...search.warnings] }, pictures);
  } finally {
    ended.resolve();
  }
}

/** A result's JSON without its names and scores. */
const RESULT_BYTES = 200;

/**
 * Refuses answers whose text is too large for memory. Their pictures do not count: they are sent from the disk.
 * @throws ServiceError option_invalid
 */
function checkAnswerBytes(options: VideoOptions, { labels }: Categories, videoName: string): void {
  const escaped = (text: string) => Buffer.byteLength(JSON.stringify(text));
  const lists = options.moments ? 2 : 1;
  const scores = options.details ? lists * options.top_k * SCORE_BYTES : 0;
  const perLabel = escaped(videoName) + scores + RESULT_BYTES;
  let bytes = labels.length * perLabel;
  for (const label of labels) bytes += escaped(label);
  if (bytes > MAX_ANSWER_BYTES) throw answerTooLarge(adviceOf(options, [videoName], labels)());
}

/** @throws ServiceError option_invalid if the answer would be enormous with `top_k` frames for each category */
function searchLimit(options: VideoOptions, { labels }: Categories): number {
  return rankingLimit(options, labels.length, options.top_k);
}

/** Makes one picture of each frame, even if the frame is the answer to several categories. */
async function render(
  search: VideoSearch,
  timestamps: readonly number[],
  spool: Spool,
  report: Report,
): Promise<ReadonlyMap<number, StoredFile>> {
  const images = new Map<number, StoredFile>();
  const tell = () =>
    report({ stage: 'rendering', images_done: images.size, images_total: timestamps.length });
  tell();
  for await (const { timestamp, jpeg } of search.jpegs(timestamps)) {
    images.set(timestamp, await spool.write(`${images.size}.jpg`, [jpeg]));
    tell();
  }
  return images;
}

function wireProgress(progress: SearchProgress): VideoProgress {
  switch (progress.stage) {
    case 'waiting':
      return progress;
    case 'indexing':
      return { stage: 'indexing', seconds_done: toMilliseconds(progress.secondsDone) };
    case 'searching': {
      const { stage, secondsDone, secondsTotal, frames } = progress;
      return {
        stage,
        seconds_done: toMilliseconds(secondsDone),
        seconds_total: toMilliseconds(secondsTotal),
        frames,
      };
    }
  }
}

/** Rounds seconds to milliseconds. */
function toMilliseconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/** The rest of the form: boundaries, headers, a preamble and an epilogue. */
const FORM_BYTES = 64 * 1024;

/**
 * Refuses a body whose declared length is too large, before it is sent.
 * @throws ServiceError video_too_large
 */
function checkDeclaredLength({ headers }: Request, maxVideoBytes: number): void {
  const declared = Number(headers.get('content-length') ?? 0);
  if (declared > maxVideoBytes + MAX_CATEGORIES_BYTES + FORM_BYTES) throw videoTooLarge(maxVideoBytes);
}

export interface NewsPace {
  /** Least time between two items. */
  readonly paceMs: number;
  /** After this time without an item, `quiet` is given. */
  readonly quietMs: number;
}

/** The latest progress of some work, at the pace of its reader. */
interface News<Item> extends AsyncIterable<Item | 'quiet'> {
  tell(item: Item): void;
  /** Ends the iteration; an item that was not read yet is dropped. */
  close(): void;
}

/**
 * Keeps only the newest item, so that nothing piles up while the reader is slow. The iteration gives it, then waits. It
 * gives `quiet` if there was no item for a while.
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
