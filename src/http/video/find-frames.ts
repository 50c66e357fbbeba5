import type { Categories, Classifier, RankingOptions } from '../../classify/classifier.ts';
import type { SearchProgress, VideoSearch } from '../../classify/video-search.ts';
import type { Config } from '../../config.ts';
import type { Admission } from '../admission.ts';
import { rankingOptions } from '../answers.ts';
import { readBody, resumeBody, type StallLimit } from '../body.ts';
import { readParts } from '../multipart.ts';
import type { VideoOptions } from '../options.ts';
import type { RequestTally } from '../request-record.ts';
import type { VideoProgress } from '../schemas.ts';
import { type ReceivedVideo, receiveVideo } from './receive-video.ts';
import type { Spool, Spools, StoredFile } from './spool.ts';
import { composeAnswer, type VideoAnswer, winningTimestamps } from './video-answer.ts';

/** What a search needs of the server. */
export interface SearchRoom {
  readonly classifier: Classifier;
  /** Videos that may lie on the disk at the same time. */
  readonly admission: Admission;
  readonly spools: Spools;
  readonly limits: Config['limits'];
  readonly stall: StallLimit;
}

/** One request to /video. */
export interface SearchJob {
  readonly request: Request;
  readonly boundary: string;
  readonly options: VideoOptions;
  readonly tally: RequestTally;
  /** Aborted when nobody wants the answer any more. */
  readonly signal: AbortSignal;
  readonly report: (progress: VideoProgress) => void;
}

/** An answer with the pictures it refers to; they are there until it is disposed of. */
export interface PreparedAnswer extends AsyncDisposable {
  readonly answer: VideoAnswer;
}

/**
 * One request to /video, from its body to its answer: a place on the disk, the upload, the search, and the
 * best frames as pictures. All that can go wrong goes wrong here, before an answer begins; and nobody who
 * reads an answer slowly keeps a video, or a place for one, from others.
 * @throws ServiceError; the signal's reason
 */
export async function findFrames(room: SearchRoom, job: SearchJob): Promise<PreparedAnswer> {
  const { classifier, admission, spools, limits, stall } = room;
  const { request, boundary, options, tally, signal, report } = job;

  report({ stage: 'waiting' });
  const body = readBody(request, stall, () => admission.isContended, tally);
  const arrival = body.next();
  using place = await admission.enter(signal, arrival);
  tally.isAdmitted = true;
  tally.work.queueMs += place.waitedMs;
  await using held = new AsyncDisposableStack();
  const spool = held.use(await spools.open());

  const parts = readParts(reported(resumeBody(arrival, body), job), boundary);
  const received = await receiveVideo(parts, spool, limits.videoBytes, async (document) => {
    const categories = classifier.parseCategories(document);
    // What is wrong with them is said before the rest of a large upload.
    await classifier.checkLabels(categories, searchOptions(options, categories), signal);
    return categories;
  });
  tally.files = 1;

  const answer = await searchStored(room, job, received, spool);
  await spool.remove(received.file);
  const kept = held.move();
  return { answer, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function searchStored(
  { classifier }: SearchRoom,
  { options, tally, signal, report }: SearchJob,
  { file, name, categories }: ReceivedVideo,
  spool: Spool,
): Promise<VideoAnswer> {
  const { threshold, images } = options;
  await using search = await classifier.searchVideo(file.path, categories, {
    ...searchOptions(options, categories),
    signal,
    onProgress: (progress) => report(wireProgress(progress)),
    times: tally.work,
  });
  const winners = images
    ? await render(search, winningTimestamps(search, threshold), spool, report)
    : undefined;
  return composeAnswer(classifier.model, search, name, winners, threshold);
}

/** @throws ServiceError option_invalid where the answer would be enormous, however many frames there are */
function searchOptions(options: VideoOptions, { labels }: Categories): RankingOptions {
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
  { request, tally, signal, report }: SearchJob,
): AsyncGenerator<Uint8Array> {
  const declared = request.headers.get('content-length');
  const total = declared === null ? {} : { bytes_total: Number(declared) };
  for await (const chunk of body) {
    signal.throwIfAborted();
    tally.bytes += chunk.byteLength;
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
