import type {
  Categories,
  Classifier,
  RankingOptions,
  SearchProgress,
  VideoSearch,
} from '../../classify/classifier.ts';
import type { Config } from '../../config.ts';
import type { VideoOptions } from '../../contract/options.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import { adviceOf, rankingOptions } from '../answers.ts';
import { held, holdLabels, takeLabelMemory } from '../form-parts.ts';
import { answerTooLarge, MAX_ANSWER_BYTES } from '../json-answer.ts';
import { type Part, readBody, readParts } from '../multipart.ts';
import type { RequestTally } from '../request-record.ts';
import type { Admission, Lease } from '../resources.ts';
import type { Spool, SpoolSpace, Spools, StoredFile } from '../spool.ts';
import { type ReceivedVideo, receiveVideo } from './receive-video.ts';
import { composeAnswer, type VideoAnswer, winningTimestamps } from './video-answer.ts';

/** What a search needs of the server. */
export interface SearchRoom {
  readonly classifier: Classifier;
  /** Videos that are complete wait in it. */
  readonly admission: Admission;
  readonly spools: Spools;
  readonly spaceOf: (lease: Lease) => SpoolSpace;
  readonly limits: Config['limits'];
}

/** One request to /video. */
export interface SearchJob {
  readonly request: Request;
  readonly boundary: string;
  readonly options: VideoOptions;
  readonly tally: RequestTally;
  /** Its signal is aborted when nobody wants the answer any more. */
  readonly lease: Lease;
  readonly report: (progress: VideoProgress) => void;
}

/** An answer with the pictures it refers to; they are there until it is disposed of. */
export interface PreparedAnswer extends AsyncDisposable {
  readonly answer: VideoAnswer;
}

/**
 * One request to /video, from its body to its answer: the upload, the search when its turn comes, and the
 * best frames as pictures. All that can go wrong goes wrong here, before an answer begins; an answer that is
 * read slowly holds its pictures, and neither its video nor a place.
 * @throws ServiceError; the signal's reason
 */
export async function findFrames(room: SearchRoom, job: SearchJob): Promise<PreparedAnswer> {
  const { classifier, spools, spaceOf, limits } = room;
  const { request, boundary, options, tally, lease, report } = job;

  report({ stage: 'waiting' });
  tally.isAdmitted = true;
  await using files = new AsyncDisposableStack();
  const spool = files.use(await spools.open(spaceOf(lease)));

  const parts = heldCategories(readParts(reported(readBody(request, lease, tally), job), boundary), lease);
  const received = await receiveVideo(parts, spool, limits.videoBytes, async (document) => {
    const categories = classifier.parseCategories(document);
    holdLabels(categories, lease);
    // What is wrong with them is said before the rest of a large upload.
    await classifier.checkLabels(categories, searchOptions(options, categories), lease.signal);
    return categories;
  });
  lease.give('videoUploads', 1);
  tally.files = 1;

  const answer = await searchStored(room, job, received, spool);
  await spool.remove(received.file);
  const kept = files.move();
  return { answer, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function* heldCategories(parts: AsyncIterable<Part>, lease: Lease): AsyncGenerator<Part> {
  for await (const part of parts) yield part.name === 'categories' ? held(part, lease) : part;
}

async function searchStored(
  { classifier, admission }: SearchRoom,
  { options, tally, lease, report }: SearchJob,
  { file, name, categories }: ReceivedVideo,
  spool: Spool,
): Promise<VideoAnswer> {
  const { threshold, images } = options;
  const asked = searchOptions(options, categories);
  checkAnswerBytes(options, categories, name);
  lease.take('keptBytes', categories.labels.length * asked.limit * SCORE_BYTES);
  takeLabelMemory(categories, asked, classifier.model.embeddingDimension, lease);

  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  try {
    const searching = classifier.searchVideo(file.path, categories, {
      ...asked,
      signal: lease.signal,
      onProgress: (progress) => report(wireProgress(progress)),
      onBegin: begun.resolve,
      times: tally.work,
    });
    await admission
      .createWork(lease)
      .submit(async () => {
        await Promise.race([begun.promise, searching]);
        return { settled: ended.promise };
      })
      .catch(async (fault: unknown) => {
        // It has been told by the signal, or was refused before it began.
        lease.abort(fault);
        await searching.then((search) => search[Symbol.asyncDispose]()).catch(() => undefined);
        throw fault;
      });
    await using search = await searching;
    const winners = images
      ? await render(search, winningTimestamps(search, threshold), spool, report)
      : undefined;
    return composeAnswer(classifier.model, search, name, winners, threshold);
  } finally {
    ended.resolve();
  }
}

/** The object around a score and a similarity; and as much as they take in JSON. */
const SCORE_BYTES = 100;
/** Of a result beside its names and scores. */
const RESULT_BYTES = 200;

/**
 * The pictures of an answer lie on the disk and go out as they are taken; its words are made in memory.
 * @throws ServiceError option_invalid
 */
function checkAnswerBytes(options: VideoOptions, { labels }: Categories, videoName: string): void {
  const escaped = (text: string) => Buffer.byteLength(JSON.stringify(text));
  const scores = options.details ? options.topK * SCORE_BYTES : 0;
  const perLabel = escaped(videoName) + scores + RESULT_BYTES;
  let bytes = labels.length * perLabel;
  for (const label of labels) bytes += escaped(label);
  if (bytes > MAX_ANSWER_BYTES) throw answerTooLarge(adviceOf(options, [videoName], labels)());
}

/** @throws ServiceError option_invalid where the answer would be enormous, however many frames there are */
function searchOptions(
  options: VideoOptions,
  { labels }: Categories,
): RankingOptions & { readonly limit: number } {
  return rankingOptions(options, labels.length, options.topK);
}

/** Makes a picture of each frame, once, however many categories it is the best one for. */
async function render(
  search: VideoSearch,
  timestamps: readonly number[],
  spool: Spool,
  report: SearchJob['report'],
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

async function* reported(
  body: AsyncIterable<Uint8Array>,
  { request, tally, lease, report }: SearchJob,
): AsyncGenerator<Uint8Array> {
  const declared = request.headers.get('content-length');
  const total = declared === null ? {} : { bytes_total: Number(declared) };
  for await (const chunk of body) {
    lease.signal.throwIfAborted();
    report({ stage: 'uploading', bytes_done: tally.bytes, ...total });
    yield chunk;
  }
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

/** Seconds to the millisecond: nobody reads sixteen digits of progress. */
function toMilliseconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
