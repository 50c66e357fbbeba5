import type { Categories, Classifier, LabelOptions, PictureCollection } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import type { EngineWork } from './admission.ts';
import {
  categoriesMissing,
  checkFileName,
  fieldOf,
  isLeftAlone,
  MAX_CATEGORIES_BYTES,
  readCategories,
  unexpectedPart,
} from './form-parts.ts';
import { type IncomingPart, type PartMemory, type PartRoom, receivePart } from './incoming-part.ts';
import type { Part } from './multipart.ts';
import type { Lease } from './resources.ts';

export interface UploadLimits {
  /** Pictures in one request. */
  readonly files: number;
  readonly imageBytes: number;
}

/** A form that arrives. */
export interface Upload {
  readonly parts: AsyncIterable<Part>;
  /** Reads and checks the categories the moment they are there. */
  readonly classifier: Classifier;
  readonly collection: PictureCollection;
  readonly labelOptions: LabelOptions;
  readonly limits: UploadLimits;
  /** Whether one broken picture makes the request fail. */
  readonly endsWithFault: boolean;
  /** Of a picture that is too large, so much more is passed over for the sake of the others. */
  readonly passedOverBytes: number;
  readonly memory: PartMemory;
  readonly room: PartRoom;
  readonly work: EngineWork;
}

/** The objects around a picture's embedding and its name. */
const PICTURE_BYTES = 400;

/**
 * Takes the parts of a /categorize or /image form, in any order: pictures go to the collection as soon as
 * they are complete, so that they are encoded while the upload goes on.
 * @returns undefined where the rest need not be read: a picture is too large, and makes the request fail
 * @throws ServiceError on everything that is not one picture's own fault
 */
export async function receiveUpload(upload: Upload): Promise<Categories | undefined> {
  const { parts, classifier, collection, labelOptions, limits, room, endsWithFault } = upload;
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
        const picture = await receivePart(content, limits.imageBytes, upload.memory, room);
        if (picture) {
          await hand(upload, name, picture);
          break;
        }
        collection.refuse(name, imageTooLarge(limits.imageBytes));
        if (endsWithFault) return undefined;
        await passOver(content, name, upload);
        break;
      }
      case 'categories': {
        const sent = await readCategories(held(part, lease), categories, (text) =>
          classifier.parseCategories(text),
        );
        if (!sent) break;
        categories = sent;
        holdLabels(categories, lease);
        await classifier.checkLabels(categories, labelOptions, lease.signal);
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

async function hand({ collection, work }: Upload, name: string, picture: IncomingPart): Promise<void> {
  await using handed = picture;
  await work.submit(() => collection.add(name, handed));
}

/**
 * A part that takes memory for what comes of it. Of one that is too long no more is read than shows that.
 * @param part of categories
 */
export function held(part: Part, lease: Lease): Part {
  const { content } = part;
  async function* taking() {
    let bytes = 0;
    for await (const chunk of content) {
      lease.take('keptBytes', chunk.byteLength);
      bytes += chunk.byteLength;
      yield chunk;
      if (bytes > MAX_CATEGORIES_BYTES) return;
    }
    lease.give('keptBytes', bytes);
  }
  return { ...part, content: taking() };
}

/** Takes memory for labels, in place of that for the document that they came in. */
export function holdLabels({ labels }: Categories, lease: Lease): void {
  lease.take('keptBytes', 2 * labels.reduce((sum, label) => sum + label.length, 0));
}

/** Fewer labels than this need no turn of their own. */
const FEW_BYTES = 1024 ** 2;
/** The encoder's: it takes so many texts at a time. */
const TEXTS_AT_ONCE = 2048;

/** Takes memory for encoding labels: whoever sends very many must not take it from all others. */
export function takeLabelMemory(
  { labels }: Categories,
  { templates }: LabelOptions,
  embeddingDimension: number,
  lease: Lease,
): void {
  const texts = labels.length * (templates?.length ?? 1);
  const bytes = (labels.length + Math.min(texts, TEXTS_AT_ONCE)) * embeddingDimension * 4;
  lease.take(bytes > FEW_BYTES ? 'labelBytes' : 'keptBytes', bytes);
}

/** @throws ServiceError image_too_large where it does not end */
async function passOver(
  content: AsyncIterator<Uint8Array>,
  name: string,
  { limits, passedOverBytes }: Pick<Upload, 'limits' | 'passedOverBytes'>,
): Promise<void> {
  let bytes = 0;
  for (;;) {
    const { done, value } = await content.next();
    if (done) return;
    bytes += value.byteLength;
    if (bytes <= passedOverBytes) continue;
    throw new ServiceError(
      'image_too_large',
      `The file ${JSON.stringify(name.slice(0, 100))} goes on ${passedOverBytes} bytes after the ${limits.imageBytes} that a picture may have, and the request ends there; leave that file out.`,
    );
  }
}

function imageTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The file has more than ${maxBytes} bytes, the most that a picture may have.`,
  );
}
