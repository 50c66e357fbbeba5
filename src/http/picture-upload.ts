import { isUtf8 } from 'node:buffer';
import type {
  Classifier,
  CollectOptions,
  FileThumbnail,
  PictureCollection,
  PictureOutcome,
} from '../classify/classifier.ts';
import type { Config } from '../config.ts';
import type { PictureOptions } from '../contract/options.ts';
import { ServiceError } from '../errors.ts';
import { answerTooLarge, MAX_ANSWER_BYTES, type StreamedResponse } from './answers.ts';
import type { IdOf } from './broken-pictures.ts';
import type { NewsPace } from './events.ts';
import {
  checkFileName,
  fileField,
  type PartRoom,
  type ReceivePart,
  readDocument,
  receivePart,
} from './form.ts';
import { JsonReader } from './json-reader.ts';
import type { RequestRecord } from './metrics.ts';
import type { Admission, Lease, Resources } from './resources.ts';
import type { Spool } from './spool.ts';
import { readStoredEmbeddings } from './stored-embeddings.ts';

/** What the endpoints for pictures need of the service. */
export interface PictureEndpoint {
  readonly classifier: Classifier;
  readonly admission: Admission;
  readonly resources: Resources;
  readonly openSpool: (lease: Lease) => Promise<Spool>;
  readonly onStorageFault: (fault: ServiceError) => void;
  readonly limits: Config['limits'];
  /** If a picture is too large, at most this much more of it is read to reach the parts behind it. */
  readonly passedOverBytes: number;
  readonly pace: NewsPace;
  /** Called when a large answer is complete and its connection is still open. */
  readonly beforeClose: () => void;
  /** Makes the error that the client receives after the head of the answer was sent, and logs bugs of the service. */
  readonly explain: (fault: unknown) => ServiceError;
}

/** One request with pictures, after its head was accepted. */
export interface PictureJob {
  readonly endpoint: PictureEndpoint;
  readonly request: Request;
  readonly lease: Lease;
  readonly record: RequestRecord;
}

/**
 * Admits a request and answers it.
 * @throws ServiceError; all work of the request is dropped then
 */
export async function admitPictures(
  request: Request,
  endpoint: PictureEndpoint,
  record: RequestRecord,
  answer: (job: PictureJob) => Promise<StreamedResponse>,
): Promise<StreamedResponse> {
  endpoint.admission.refuseWhenFull();
  const lease = endpoint.resources.enter('pictureUploads', request);
  record.isAdmitted = true;
  try {
    return await answer({ endpoint, request, lease, record });
  } catch (fault) {
    lease.abort(fault); // ends the work that is still running
    throw fault;
  }
}

/** What became of a picture, by its place in the request. */
export interface SettledPicture {
  readonly index: number;
  readonly outcome: PictureOutcome;
}

interface UploadOptions extends Pick<CollectOptions, 'background' | 'fit' | 'onTiles' | 'onThumbnail'> {
  /** Whether one broken picture makes the request fail. */
  readonly endsWithFault: boolean;
  /** Whether ids must come before their files, because answers do not wait for the end of the form. */
  readonly idsFirst?: boolean;
  /** Called when a picture has arrived. */
  readonly onReceived?: () => void;
  /** Called for each picture, as soon as it is known. */
  readonly onSettled?: (settled: SettledPicture) => void;
}

/** The pictures of one request while they arrive. */
export interface PictureUpload extends AsyncDisposable {
  readonly collection: PictureCollection;
  /**
   * Receives a picture and gives it to the collection at once, so that it is encoded while the rest arrives.
   * @returns false if it is too large and makes the request fail
   * @throws ServiceError for everything except faults of single pictures
   */
  receivePicture(name: string, content: AsyncIterator<Uint8Array>): Promise<boolean>;
  /** For the fields of a form: pictures, embeddings of pictures, and ids of both. */
  readonly fields: Readonly<Record<'files' | 'embeddings' | 'ids', ReceivePart>>;
  /** The client's own name for a picture, by its place. */
  idOf(index: number): string | undefined;
  /** The ids of all pictures, by their names in the answer. */
  idsByFile(): IdOf;
  /** Called when the form is complete. @throws ServiceError ids_invalid if there are not as many ids as files */
  endIds(): void;
}

/** The objects around a picture's embedding and its name. */
const PICTURE_BYTES = 400;
/** The objects around an id. */
const ID_BYTES = 100;
/** A client's own name for a picture, as long as a file's name. */
const MAX_ID_BYTES = 1024;
/** In JSON, a byte of an id takes at most six. */
const MAX_ID_JSON_BYTES = 6 * MAX_ID_BYTES + 2;

export function createUpload(
  job: PictureJob,
  { endsWithFault, idsFirst = false, onReceived, onSettled, ...collecting }: UploadOptions,
): PictureUpload {
  const { endpoint, lease, record } = job;
  const { classifier, admission, openSpool, onStorageFault, limits, passedOverBytes } = endpoint;
  const collection = classifier.collect({ signal: lease.signal, times: record.work }, collecting);
  const stored = new AsyncDisposableStack();
  let opening: Promise<Spool> | undefined;
  const spool = () => {
    opening ??= openSpool(lease).then((opened) => stored.use(opened));
    return opening;
  };
  const room: PartRoom = { lease, spool, onStorageFault };
  const work = admission.createWork(lease, (ms) => {
    record.work.queueMs += ms;
  });
  const ids: string[] = [];
  /** Ids of embeddings, by their places. They have priority. */
  const ownIds = new Map<number, string>();
  const idOf = (index: number) => ownIds.get(index) ?? ids[index];

  /** Reserves what a picture keeps until the answer. @returns its place */
  const takePlace = (name: string): number => {
    const index = collection.names().length;
    if (index >= limits.files) {
      throw new ServiceError(
        'files_too_many',
        `More than ${limits.files} files were sent; at most ${limits.files} are accepted in one request.`,
      );
    }
    if (idsFirst && ids.length > 0 && index >= ids.length) {
      throw idsInvalid(`File ${index + 1}, ${shorten(name)}, has no id`);
    }
    lease.take('keptBytes', classifier.model.embeddingDimension * 4 + PICTURE_BYTES + 2 * name.length);
    return index;
  };
  const nameAt = (index: number) => collection.names()[index] ?? '';

  const receivePicture: PictureUpload['receivePicture'] = async (name, content) => {
    const index = takePlace(name);
    const picture = await receivePart(content, limits.imageBytes, room);
    onReceived?.();
    if (picture) {
      await using _ = picture;
      await work.submit(async () => {
        const added = await collection.add(name, picture);
        // A fault that is not about the picture ends the request elsewhere.
        if (onSettled) added.settled.then((outcome) => onSettled({ index, outcome })).catch(() => undefined);
        return added;
      });
      return true;
    }
    const fault = imageTooLarge(limits.imageBytes);
    collection.refuse(name, fault);
    onSettled?.({ index, outcome: { file: nameAt(index), code: fault.code, error: fault.message } });
    if (endsWithFault) return false;
    await passOver(content, passedOverBytes, () => endlessPicture(name, passedOverBytes, limits.imageBytes));
    return true;
  };

  const keepId = (id: string) => {
    if (Buffer.byteLength(id) > MAX_ID_BYTES) {
      throw idsInvalid(`The id ${shorten(id)} has more than ${MAX_ID_BYTES} bytes`);
    }
    lease.take('keptBytes', ID_BYTES + 2 * id.length);
  };
  const takeId = (id: string) => {
    if (idsFirst && ids.length < collection.names().length) {
      throw idsInvalid(`The id ${shorten(id)} came after its file`);
    }
    if (ids.length >= limits.files) throw idsInvalid(`There are more than ${limits.files} ids`);
    keepId(id);
    ids.push(id);
  };

  return {
    collection,
    receivePicture,
    fields: {
      files: fileField('files', receivePicture),
      async embeddings({ content }) {
        const wanted = { model: classifier.model, fit: collecting.fit ?? 'crop' };
        await readStoredEmbeddings(content, wanted, ({ file, tiles, id }) => {
          checkFileName(file);
          const index = takePlace(file);
          if (id !== undefined) {
            keepId(id);
            ownIds.set(index, id);
          }
          collecting.onTiles?.((tiles.length - 1) * classifier.model.embeddingDimension * 4);
          const embedding = collection.addEmbedding(file, tiles);
          onReceived?.();
          onSettled?.({ index, outcome: { file: nameAt(index), embedding } });
        });
        return true;
      },
      async ids(part) {
        const document = await readDocument(part, lease);
        if (document) for await (const id of readIds(document)) takeId(id);
        return true;
      },
    },
    idOf,
    idsByFile() {
      if (ids.length === 0 && ownIds.size === 0) return () => undefined;
      const byFile = new Map(collection.names().map((file, index) => [file, idOf(index)]));
      return (file) => byFile.get(file);
    },
    endIds() {
      const files = collection.names().length;
      if (ids.length > 0 && ids.length !== files) {
        throw idsInvalid(`There are ${ids.length} ids for ${files} files`);
      }
    },
    [Symbol.asyncDispose]: () => stored.disposeAsync(),
  };
}

/** What the options say about how pictures are looked at. What is kept of them until the answer is counted. */
export function lookingAt(
  { background, fit, thumbnails }: Pick<PictureOptions, 'background' | 'fit' | 'thumbnails'>,
  lease: Lease,
): Pick<UploadOptions, 'background' | 'fit' | 'onTiles' | 'onThumbnail'> {
  return {
    background,
    fit,
    onTiles(bytes) {
      try {
        lease.take('keptBytes', bytes);
      } catch (fault) {
        lease.abort(fault);
        throw fault;
      }
    },
    ...(thumbnails && { onThumbnail: thumbnailKeeper(lease) }),
  };
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

/** Thumbnails as answers show them. One at a time, because base64 takes more memory than the files. */
export function* wireThumbnails(
  thumbnails: readonly FileThumbnail[],
): Generator<{ file: string; image: string }> {
  for (const { file, jpeg } of thumbnails) yield { file, image: jpeg.toBase64() };
}

/** Reads an id as text, or a JSON list of ids. @throws ServiceError ids_invalid */
async function* readIds(document: Uint8Array): AsyncGenerator<string> {
  const list = new JsonReader([document].values(), (why) =>
    idsInvalid(`The list of ids is malformed: ${why}`),
  );
  if ((await list.peek()) !== 'list') {
    if (!isUtf8(document)) throw idsInvalid('An id is not valid UTF-8');
    yield new TextDecoder().decode(document);
    return;
  }
  for await (const index of list.entries()) {
    const id = await list.value(MAX_ID_JSON_BYTES);
    if (typeof id !== 'string') throw idsInvalid(`The list of ids has no string at ${index}, counted from 0`);
    yield id;
  }
  await list.end();
}

/** @param fault the beginning of a sentence */
function idsInvalid(fault: string): ServiceError {
  return new ServiceError(
    'ids_invalid',
    `${fault}. Send an id for each file, as text in a part named ids, or one JSON list of strings; before the files, if answers come one by one.`,
  );
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

function shorten(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
