import type { Categories, Classifier, SearchProgress, VideoSearch } from '../../classify/classifier.ts';
import type { Config } from '../../config.ts';
import type { VideoOptions } from '../../contract/options.ts';
import type { VideoProgress } from '../../contract/schemas.ts';
import { invariant, ServiceError } from '../../errors.ts';
import { adviceOf, rankingLimit } from '../answers.ts';
import { readBody, readForm, takeLabelMemory } from '../form.ts';
import { answerTooLarge, MAX_ANSWER_BYTES } from '../json-answer.ts';
import { readParts } from '../multipart.ts';
import type { RequestTally } from '../request-record.ts';
import type { Admission, Lease } from '../resources.ts';
import type { Spool, SpoolSpace, Spools, StoredFile } from '../spool.ts';
import { composeAnswer, type VideoAnswer, winningTimestamps, withImages } from './video-answer.ts';

/** The parts of the server that a search uses. */
export interface SearchRoom {
  readonly classifier: Classifier;
  /** Complete videos wait here. */
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
  /** Its signal is aborted when the client has left or the request was ended. */
  readonly lease: Lease;
  readonly report: (progress: VideoProgress) => void;
}

/** An answer and its pictures, which stay on the disk until it is disposed of. */
export interface PreparedAnswer extends AsyncDisposable {
  readonly answer: VideoAnswer;
}

/**
 * One request to /video, from its body to its answer: the upload, the search when its turn comes, and the best
 * frames as pictures. All errors are thrown here, before the answer begins. An answer that is read slowly holds its
 * pictures; it holds neither its video nor a place.
 * @throws ServiceError; the signal's reason
 */
export async function prepareAnswer(room: SearchRoom, job: SearchJob): Promise<PreparedAnswer> {
  const { classifier, spools, spaceOf, limits } = room;
  const { request, boundary, options, tally, lease, report } = job;

  report({ stage: 'waiting' });
  tally.isAdmitted = true;
  await using files = new AsyncDisposableStack();
  const spool = files.use(await spools.open(spaceOf(lease)));

  const declared = request.headers.get('content-length');
  const total = declared === null ? {} : { bytes_total: Number(declared) };
  const body = readBody(request, lease, tally, () => {
    lease.signal.throwIfAborted();
    report({ stage: 'uploading', bytes_done: tally.bytes, ...total });
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
  tally.files = 1;

  const answer = await searchStored(room, job, received, spool);
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

export function videoTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'video_too_large',
    `The video has more than ${maxBytes} bytes, the most that is accepted.`,
  );
}

async function searchStored(
  { classifier, admission }: SearchRoom,
  { options, tally, lease, report }: SearchJob,
  { file, name, categories }: ReceivedVideo,
  spool: Spool,
): Promise<VideoAnswer> {
  const limit = searchLimit(options, categories);
  checkAnswerBytes(options, categories, name);
  lease.take('keptBytes', categories.labels.length * limit * SCORE_BYTES);
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
      { signal: lease.signal, times: tally.work },
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
    return withImages(answer, pictures);
  } finally {
    ended.resolve();
  }
}

/** A score and a similarity, as an object in memory and as JSON. */
const SCORE_BYTES = 100;
/** A result's JSON without its names and scores. */
const RESULT_BYTES = 200;

/**
 * Refuses answers whose text is too large for memory. Their pictures do not count: they are sent from the disk.
 * @throws ServiceError option_invalid
 */
function checkAnswerBytes(options: VideoOptions, { labels }: Categories, videoName: string): void {
  const escaped = (text: string) => Buffer.byteLength(JSON.stringify(text));
  const scores = options.details ? options.top_k * SCORE_BYTES : 0;
  const perLabel = escaped(videoName) + scores + RESULT_BYTES;
  let bytes = labels.length * perLabel;
  for (const label of labels) bytes += escaped(label);
  if (bytes > MAX_ANSWER_BYTES) throw answerTooLarge(adviceOf(options, [videoName], labels)());
}

/** @throws ServiceError option_invalid where the answer would be enormous with `top_k` frames for each category */
function searchLimit(options: VideoOptions, { labels }: Categories): number {
  return rankingLimit(options, labels.length, options.top_k);
}

/** Makes one picture of each frame, also where the frame is the answer to several categories. */
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
