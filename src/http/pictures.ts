import type {
  BrokenFile,
  Categories,
  Classifier,
  FileThumbnail,
  FileWarning,
  PictureCollection,
  Ranking,
} from '../classify/classifier.ts';
import { decide } from '../classify/decide.ts';
import type { Config } from '../config.ts';
import { statusOf } from '../contract/codes.ts';
import { type PictureOptions, parseOptions } from '../contract/options.ts';
import { invariant, ServiceError } from '../errors.ts';
import {
  adviceOf,
  answerTooLarge,
  type JsonText,
  jsonItems,
  jsonObject,
  MAX_ANSWER_BYTES,
  rankingLimit,
  SCORE_BYTES,
  type StreamedResponse,
  sendJson,
  wireModel,
} from './answers.ts';
import { urlOf } from './app.ts';
import { type PartRoom, readBody, readForm, receivePart, takeLabelMemory } from './form.ts';
import type { RequestRecord } from './metrics.ts';
import { boundaryOf, readParts } from './multipart.ts';
import type { Admission, EngineWork, Lease, Resources } from './resources.ts';
import type { Spool } from './spool.ts';

interface PictureEndpoint {
  readonly classifier: Classifier;
  readonly admission: Admission;
  readonly resources: Resources;
  readonly openSpool: (lease: Lease) => Promise<Spool>;
  readonly onStorageFault: (fault: ServiceError) => void;
  readonly limits: Config['limits'];
  /** If a picture is too large, at most this much more of it is read to reach the parts behind it. */
  readonly passedOverBytes: number;
  /** Called when a large answer is complete and its connection is still open. */
  readonly beforeClose: () => void;
}

/** For every subject, the best candidate is the answer. */
const sidesOf = {
  categorize: { subject: 'file', candidate: 'category' },
  image: { subject: 'category', candidate: 'file' },
} as const;

/**
 * Answers one request to /categorize or /image. Pictures are encoded while the form arrives; the ranking follows.
 * @param record gets the request's counts and times, and the code of a refusal that is not thrown
 * @throws ServiceError; all work of this request is dropped then
 */
export async function classifyPictures(
  use: keyof typeof sidesOf,
  request: Request,
  endpoint: PictureEndpoint,
  record: RequestRecord,
): Promise<StreamedResponse> {
  const options = parseOptions(urlOf(request).searchParams);
  const boundary = boundaryOf(request.headers);
  endpoint.admission.refuseWhenFull();
  const lease = endpoint.resources.enter('pictureUploads', request);
  record.isAdmitted = true;
  try {
    const answer = await answerOf({ use, endpoint, request, boundary, options, lease, record });
    const { refusal, brokenFiles } = answer;
    if (refusal) record.fault = refusal.code;
    return await sendJson(
      answer,
      {
        status: refusal ? statusOf(refusal.code) : 200,
        headers: brokenFiles > 0 ? { 'x-broken-files': String(brokenFiles) } : {},
      },
      lease,
      endpoint.beforeClose,
    );
  } catch (fault) {
    lease.abort(fault); // ends the work that is still running
    throw fault;
  }
}

/** One request, after its head was accepted. */
interface PictureJob {
  readonly use: keyof typeof sidesOf;
  readonly endpoint: PictureEndpoint;
  readonly request: Request;
  readonly boundary: string;
  readonly options: PictureOptions;
  readonly lease: Lease;
  readonly record: RequestRecord;
}

/** The objects around a picture's embedding and its name. */
const PICTURE_BYTES = 400;

async function answerOf(job: PictureJob): Promise<Answer> {
  const { endpoint, request, boundary, options, lease, record } = job;
  const { classifier, admission, openSpool, onStorageFault } = endpoint;
  const { embeddingDimension } = classifier.model;
  const collection = classifier.collect(
    { signal: lease.signal, times: record.work },
    {
      background: options.background,
      ...(options.details && options.thumbnails && { onThumbnail: thumbnailKeeper(lease) }),
    },
  );
  await using stored = new AsyncDisposableStack();
  let opening: Promise<Spool> | undefined;
  const spool = () => {
    opening ??= openSpool(lease).then((opened) => stored.use(opened));
    return opening;
  };
  const work = admission.createWork(lease, (ms) => {
    record.work.queueMs += ms;
  });
  const upload: Upload = {
    endpoint,
    collection,
    room: { lease, spool, onStorageFault },
    work,
    pictureBytes: embeddingDimension * 4 + PICTURE_BYTES,
    endsWithFault: options.on_error === 'fail',
  };
  try {
    const parts = readParts(readBody(request, lease, record), boundary);
    const categories = await readForm(parts, lease, {
      field: 'files',
      receive: (name, content) => receivePicture(name, content, upload),
      parseCategories: classifier.parseCategories,
      checkCategories: (sent) => classifier.checkLabels(sent, options, lease),
    });
    lease.give('pictureUploads', 1);
    if (categories) takeLabelMemory(categories, options, embeddingDimension, lease);
    const broken = await collection.broken();
    const refusal = refusalOf(broken, options);
    if (refusal) return refusal;
    invariant(categories, 'an upload ended early without a fault.');
    return await rankedAnswer(job, collection, categories, broken);
  } finally {
    record.files = collection.names().length;
  }
}

/**
 * Counts the memory of thumbnails. When they are too many for an answer, the request ends at once, not after its last
 * picture.
 * @returns called with the bytes of each. @throws ServiceError option_invalid, overloaded; the signal's reason
 */
function thumbnailKeeper(lease: Lease): (bytes: number) => void {
  let characters = 0;
  return (bytes) => {
    try {
      lease.take('keptBytes', bytes);
      characters += base64Length(bytes);
      if (characters > MAX_ANSWER_BYTES) {
        throw answerTooLarge('Send less at once, or leave out the option thumbnails.');
      }
    } catch (fault) {
      lease.abort(fault);
      throw fault;
    }
  };
}

const base64Length = (bytes: number): number => Math.ceil(bytes / 3) * 4;

interface Upload {
  readonly endpoint: PictureEndpoint;
  readonly collection: PictureCollection;
  readonly room: PartRoom;
  readonly work: EngineWork;
  /** Memory that a picture keeps until the answer, without its name. */
  readonly pictureBytes: number;
  /** Whether one broken picture makes the request fail. */
  readonly endsWithFault: boolean;
}

/**
 * Receives a picture and gives it to the collection at once, so that it is encoded while the rest of the form arrives.
 * @returns false if it is too large and makes the request fail
 * @throws ServiceError for everything except faults of single pictures
 */
async function receivePicture(
  name: string,
  content: AsyncIterator<Uint8Array>,
  { endpoint, collection, room, work, pictureBytes, endsWithFault }: Upload,
): Promise<boolean> {
  const { limits, passedOverBytes } = endpoint;
  if (collection.names().length >= limits.files) {
    throw new ServiceError(
      'files_too_many',
      `More than ${limits.files} files were sent; at most ${limits.files} are accepted in one request.`,
    );
  }
  room.lease.take('keptBytes', pictureBytes + 2 * name.length);
  const picture = await receivePart(content, limits.imageBytes, room);
  if (picture) {
    await using _ = picture;
    await work.submit(() => collection.add(name, picture));
    return true;
  }
  collection.refuse(name, imageTooLarge(limits.imageBytes));
  if (endsWithFault) return false;
  await passOver(content, passedOverBytes, () => endlessPicture(name, passedOverBytes, limits.imageBytes));
  return true;
}

/** Reads to the end of a part. @throws the fault after `maxBytes` */
async function passOver(
  content: AsyncIterator<Uint8Array>,
  maxBytes: number,
  fault: () => ServiceError,
): Promise<void> {
  let bytes = 0;
  for (;;) {
    const { done, value } = await content.next();
    if (done) return;
    bytes += value.byteLength;
    if (bytes > maxBytes) throw fault();
  }
}

function endlessPicture(name: string, passedOverBytes: number, maxBytes: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The file ${JSON.stringify(name.slice(0, 100))} continues for more than ${passedOverBytes} bytes after the ${maxBytes} bytes that a picture may have, so the request was ended; leave that file out.`,
  );
}

function imageTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The file has more than ${maxBytes} bytes, the most that a picture may have.`,
  );
}

/** An answer to /categorize or /image. */
interface Answer extends JsonText {
  readonly brokenFiles: number;
  /** Set if this answer is an error. */
  readonly refusal?: ServiceError;
}

async function rankedAnswer(
  { use, endpoint, options, lease }: PictureJob,
  collection: PictureCollection,
  categories: Categories,
  broken: readonly BrokenFile[],
): Promise<Answer> {
  const files = collection.names();
  const { labels } = categories;
  const [subjects, candidates] = use === 'categorize' ? [files, labels] : [labels, files];
  const limit = rankingLimit(options, subjects.length, candidates.length);
  lease.take('keptBytes', subjects.length * Math.min(limit, candidates.length) * SCORE_BYTES);
  const asked = { ...options, limit };
  const rankings =
    use === 'categorize'
      ? await collection.rankCategories(categories, asked)
      : await collection.rankFiles(categories, asked);
  const { model } = endpoint.classifier;
  const warnings = await collection.warnings();
  const thumbnails = await collection.thumbnails();
  const pieces = options.details
    ? () => detailed({ model, rankings, use, options, errors: broken, warnings, thumbnails })
    : () => jsonObject(plainEntries(subjects, rankings, options));
  return { pieces, advice: adviceOf(options, files, labels), brokenFiles: broken.length };
}

/**
 * The refusal of a request with broken pictures, unless `on_error` is skip: files_broken, or image_unsupported if
 * that is the fault of all of them. It is an answer, not a thrown error, because its list of files may be long.
 */
export function refusalOf(
  broken: readonly BrokenFile[],
  { on_error }: Pick<PictureOptions, 'on_error'>,
): Answer | undefined {
  const [first] = broken;
  if (!first || on_error === 'skip') return undefined;
  const others = broken.length - 1;
  const sentence =
    others === 0
      ? `${JSON.stringify(first.file)} cannot be used: ${first.error}`
      : `${broken.length} files cannot be used, the first of them ${JSON.stringify(first.file)}: ${first.error}`;
  const code = broken.every((file) => file.code === 'image_unsupported')
    ? 'image_unsupported'
    : 'files_broken';
  const pieces = function* () {
    yield `${JSON.stringify({ error: sentence, code }).slice(0, -1)},"errors":[`;
    yield* jsonItems(broken);
    yield ']}';
  };
  return {
    pieces,
    advice: () => `It would name ${broken.length} files that cannot be used; send fewer, or shorter names.`,
    brokenFiles: 0,
    refusal: new ServiceError(code, sentence),
  };
}

/** A subject without a ranking is a broken file: its answer is null. */
function* plainEntries(
  subjects: readonly string[],
  rankings: readonly Ranking[],
  options: PictureOptions,
): Generator<readonly [string, string | null]> {
  const rankedFor = new Map(rankings.map(({ name, candidates }) => [name, candidates]));
  for (const subject of subjects) {
    yield [subject, decide(rankedFor.get(subject) ?? [], options)?.name ?? null];
  }
}

/** One at a time, because base64 takes more memory than the files. */
function* withBase64(thumbnails: readonly FileThumbnail[]): Generator<{ file: string; image: string }> {
  for (const { file, jpeg } of thumbnails) yield { file, image: jpeg.toBase64() };
}

interface DetailedAnswer {
  readonly model: Classifier['model'];
  readonly rankings: readonly Ranking[];
  readonly use: keyof typeof sidesOf;
  readonly options: PictureOptions;
  readonly errors: readonly BrokenFile[];
  readonly warnings: readonly FileWarning[];
  readonly thumbnails: readonly FileThumbnail[];
}

/** Score and similarity are those of the best candidate, even if it is not good enough to be the answer. */
function* detailed(answer: DetailedAnswer): Generator<string> {
  const { model, rankings, use, options, errors, warnings, thumbnails } = answer;
  const { subject, candidate } = sidesOf[use];
  yield `{"model":${JSON.stringify(wireModel(model))},"results":[`;
  let before = '';
  for (const { name, candidates } of rankings) {
    const [best] = candidates;
    const head = {
      [subject]: name,
      [candidate]: decide(candidates, options)?.name ?? null,
      score: best?.score ?? null,
      similarity: best?.similarity ?? null,
    };
    const scores = candidates
      .slice(0, options.top_k)
      .map(({ name, score, similarity }) => ({ [candidate]: name, score, similarity }));
    yield `${before}${JSON.stringify(head).slice(0, -1)},"scores":[`;
    yield* jsonItems(scores);
    yield ']}';
    before = ',';
  }
  yield '],"errors":[';
  yield* jsonItems(errors);
  yield ']';
  if (warnings.length > 0) {
    yield ',"warnings":[';
    yield* jsonItems(warnings);
    yield ']';
  }
  if (thumbnails.length > 0) {
    yield ',"thumbnails":[';
    yield* jsonItems(withBase64(thumbnails));
    yield ']';
  }
  yield '}';
}
