import type { Classifier, PictureCollection } from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import { statusOf } from '../contract/codes.ts';
import { type PictureOptions, parseOptions } from '../contract/options.ts';
import { invariant, ServiceError } from '../errors.ts';
import { type Answer, answerCategorize, answerImage, refusalOf } from './answers.ts';
import { type PartMemory, type PartRoom, readBody, readForm, receivePart, takeLabelMemory } from './form.ts';
import { type StreamedResponse, sendJson } from './json-answer.ts';
import { boundaryOf, readParts } from './multipart.ts';
import { type RequestTally, urlOf } from './request-record.ts';
import type { Admission, EngineWork, Lease, Resources } from './resources.ts';
import type { Spool, SpoolSpace, Spools } from './spool.ts';

interface PictureEndpoint {
  readonly classifier: Classifier;
  readonly admission: Admission;
  readonly resources: Resources;
  readonly partMemory: PartMemory;
  readonly spools: Spools;
  readonly spaceOf: (lease: Lease) => SpoolSpace;
  readonly onStorageFault: (fault: ServiceError) => void;
  readonly limits: Config['limits'];
  /** If a picture is too large, at most this much more of it is read to reach the parts behind it. */
  readonly passedOverBytes: number;
  /** Called when a large answer is complete and its connection is still open. */
  readonly beforeClose: () => void;
  /** Told of refusals that are not thrown. */
  readonly note: (refusal: ServiceError) => void;
}

const answers = { categorize: answerCategorize, image: answerImage };

/**
 * Answers one request to /categorize or /image. Pictures are encoded while the form arrives; the ranking follows.
 * @param record gets the request's counts and times
 * @throws ServiceError; all work of this request is dropped then
 */
export async function classifyPictures(
  use: keyof typeof answers,
  request: Request,
  endpoint: PictureEndpoint,
  record: RequestTally,
): Promise<StreamedResponse> {
  const options = parseOptions(urlOf(request).searchParams);
  const boundary = boundaryOf(request.headers);
  endpoint.admission.refuseWhenFull();
  const lease = endpoint.resources.enter('pictureUploads', request);
  record.isAdmitted = true;
  try {
    const answer = await answerOf(use, { endpoint, request, boundary, options, lease, record });
    const { refusal, brokenFiles } = answer;
    if (refusal) endpoint.note(refusal);
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
  readonly endpoint: PictureEndpoint;
  readonly request: Request;
  readonly boundary: string;
  readonly options: PictureOptions;
  readonly lease: Lease;
  readonly record: RequestTally;
}

/** The objects around a picture's embedding and its name. */
const PICTURE_BYTES = 400;

async function answerOf(use: keyof typeof answers, job: PictureJob): Promise<Answer> {
  const { endpoint, request, boundary, options, lease, record } = job;
  const { classifier, admission, spools, spaceOf, onStorageFault } = endpoint;
  const { model } = classifier;
  const collection = classifier.collect({ signal: lease.signal, times: record.work });
  await using stored = new AsyncDisposableStack();
  let opening: Promise<Spool> | undefined;
  const spool = () => {
    opening ??= spools.open(spaceOf(lease)).then((opened) => stored.use(opened));
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
    pictureBytes: model.embeddingDimension * 4 + PICTURE_BYTES,
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
    if (!categories) {
      const refusal = refusalOf(await collection.broken(), options);
      invariant(refusal, 'an upload ended early without a fault.');
      return refusal;
    }
    takeLabelMemory(categories, options, model.embeddingDimension, lease);
    return await answers[use]({ model, collection, categories, options, lease });
  } finally {
    record.files = collection.names().length;
  }
}

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
  const { limits, partMemory, passedOverBytes } = endpoint;
  if (collection.names().length >= limits.files) {
    throw new ServiceError(
      'files_too_many',
      `More than ${limits.files} files were sent; at most ${limits.files} are accepted in one request.`,
    );
  }
  room.lease.take('keptBytes', pictureBytes + 2 * name.length);
  const picture = await receivePart(content, limits.imageBytes, partMemory, room);
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
