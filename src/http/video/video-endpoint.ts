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
import {
  answerFormatOf,
  type EventNotation,
  errorEvent,
  eventHeaders,
  eventText,
  type NewsPace,
  notations,
  tellWhile,
} from '../events.ts';
import { MAX_DOCUMENT_BYTES, readBody, readForm, takeLabelMemory } from '../form.ts';
import type { RequestTally } from '../metrics.ts';
import { boundaryOf, readParts } from '../multipart.ts';
import type { Admission, Lease, Resources } from '../resources.ts';
import type { Spool, StoredFile } from '../spool.ts';
import {
  answerJson,
  composeAnswer,
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
      let last: VideoProgress | undefined;
      const outcome = await tellWhile<VideoProgress, PreparedAnswer>((tell) => prepareAnswer(job, tell), {
        pace: endpoint.pace,
        lease,
        async send(item) {
          // `waiting` comes before the upload and before the search; after a short upload, one follows the other.
          if (item !== 'quiet' && Bun.deepEquals(item, last)) return;
          if (item !== 'quiet') last = item;
          await write(
            encode(item === 'quiet' ? notation.quiet(last) : eventText(notation, 'progress', item)),
          );
        },
        discard: (prepared) => prepared[Symbol.asyncDispose](),
      });
      if ('fault' in outcome) {
        write.last(encode(errorEvent(notation, endpoint.explain(outcome.fault))));
        return;
      }
      await using prepared = outcome.result;
      const json = answerJson(prepared.answer, options.details);
      for await (const chunk of inChunks(resultEvent(notation, json))) await write(chunk);
    },
    { lease, beforeClose: endpoint.beforeClose },
  );
  return streamedResponse(body, eventHeaders(notation));
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
    const synonyms = options.details ? await classifier.findSynonyms(categories, options, lease) : [];
    const answer = composeAnswer(search, { model: classifier.model, videoName: name, options, synonyms });
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
  const each = options.others ? 2 * SCORE_BYTES : SCORE_BYTES;
  const scores = options.details ? lists * options.top_k * each : 0;
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
  if (declared > maxVideoBytes + MAX_DOCUMENT_BYTES + FORM_BYTES) throw videoTooLarge(maxVideoBytes);
}
