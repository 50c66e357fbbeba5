import type { Categories, Classifier, PictureCollection } from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import { statusOf } from '../contract/codes.ts';
import { type PictureOptions, parseOptions } from '../contract/options.ts';
import { invariant, ServiceError } from '../errors.ts';
import { type Answer, answerCategorize, answerImage, refusalOf } from './answers.ts';
import {
  categoriesMissing,
  checkFileName,
  fieldOf,
  held,
  holdLabels,
  isLeftAlone,
  readCategories,
  takeLabelMemory,
  unexpectedPart,
} from './form-parts.ts';
import { type StreamedResponse, sendJson } from './json-answer.ts';
import { boundaryOf, type Part, readBody, readParts } from './multipart.ts';
import { type RequestTally, urlOf } from './request-record.ts';
import type { Admission, EngineWork, Lease, Resources } from './resources.ts';
import {
  type IncomingPart,
  type PartMemory,
  type PartRoom,
  receivePart,
  type Spool,
  type SpoolSpace,
  type Spools,
} from './spool.ts';

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

async function answerOf(use: keyof typeof answers, job: PictureJob): Promise<Answer> {
  const { endpoint, request, boundary, options, lease, record } = job;
  const { classifier, admission, spools, spaceOf, onStorageFault } = endpoint;
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
  try {
    const categories = await receiveUpload(readParts(readBody(request, lease, record), boundary), {
      endpoint,
      collection,
      room: { lease, spool, onStorageFault },
      work,
      endsWithFault: options.on_error === 'fail',
      checkLabels: (sent) => classifier.checkLabels(sent, options, lease),
    });
    lease.give('pictureUploads', 1);
    if (!categories) {
      const refusal = refusalOf(await collection.broken(), options);
      invariant(refusal, 'an upload ended early without a fault.');
      return refusal;
    }
    takeLabelMemory(categories, options, classifier.model.embeddingDimension, lease);
    return await answers[use]({ model: classifier.model, collection, categories, options, lease });
  } finally {
    record.files = collection.names().length;
  }
}

interface Upload {
  readonly endpoint: PictureEndpoint;
  readonly collection: PictureCollection;
  readonly room: PartRoom;
  readonly work: EngineWork;
  /** Whether one broken picture makes the request fail. */
  readonly endsWithFault: boolean;
  /** Refuses categories before the rest of the form arrives. */
  readonly checkLabels: (categories: Categories) => Promise<void>;
}

/** The objects around a picture's embedding and its name. */
const PICTURE_BYTES = 400;

/**
 * Reads the parts of the form, in any order. A complete picture goes to the collection at once, so that it is encoded
 * while the rest arrives.
 * @returns undefined if a picture is too large and makes the request fail: the rest is not read
 * @throws ServiceError for everything except faults of single pictures
 */
async function receiveUpload(parts: AsyncIterable<Part>, upload: Upload): Promise<Categories | undefined> {
  const { endpoint, collection, room, work, endsWithFault, checkLabels } = upload;
  const { classifier, limits, partMemory, passedOverBytes } = endpoint;
  const { lease } = room;
  const pictureBytes = classifier.model.embeddingDimension * 4 + PICTURE_BYTES;
  let categories: Categories | undefined;
  let fileCount = 0;
  for await (const part of parts) {
    switch (fieldOf(part)) {
      case 'files': {
        if (await isLeftAlone(part)) break;
        const name = checkFileName(part, 'curl -F files=@photo.jpg');
        fileCount += 1;
        if (fileCount > limits.files) {
          throw new ServiceError(
            'files_too_many',
            `More than ${limits.files} files were sent; at most ${limits.files} are accepted in one request.`,
          );
        }
        lease.take('keptBytes', pictureBytes + 2 * name.length);
        const content = part.content[Symbol.asyncIterator]();
        const picture = await receivePart(content, limits.imageBytes, partMemory, room);
        if (picture) {
          await submit(picture, work, () => collection.add(name, picture));
          break;
        }
        collection.refuse(name, imageTooLarge(limits.imageBytes));
        if (endsWithFault) return undefined;
        await passOver(content, passedOverBytes, () =>
          endlessPicture(name, passedOverBytes, limits.imageBytes),
        );
        break;
      }
      case 'categories': {
        const sent = await readCategories(held(part, lease), categories, (text) =>
          classifier.parseCategories(text),
        );
        if (!sent) break;
        categories = sent;
        holdLabels(categories, lease);
        await checkLabels(categories);
        break;
      }
      default:
        throw unexpectedPart(part, 'files (pictures, one part each) and categories (a file or a text field)');
    }
  }
  if (fileCount === 0) {
    throw new ServiceError(
      'files_missing',
      'No picture was sent; send each as a part named files, e.g. curl -F files=@photo.jpg.',
    );
  }
  if (!categories) throw categoriesMissing();
  return categories;
}

async function submit(
  picture: IncomingPart,
  work: EngineWork,
  start: Parameters<EngineWork['submit']>[0],
): Promise<void> {
  await using _ = picture;
  await work.submit(start);
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
