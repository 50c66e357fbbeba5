import type { Categories, Classifier, LabelOptions, PictureCollection } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import type { Semaphore } from '../semaphore.ts';
import {
  categoriesMissing,
  checkFileName,
  fieldOf,
  isLeftAlone,
  readCategories,
  unexpectedPart,
} from './form-parts.ts';
import type { Part } from './multipart.ts';
import { readPicture } from './picture-bytes.ts';

export interface UploadLimits {
  /** Pictures in one request. */
  readonly files: number;
  readonly imageBytes: number;
}

/**
 * Takes the parts of a /categorize or /image form, in any order: pictures go to the collection as soon as
 * they are complete, so that they are encoded while the upload goes on.
 * @param classifier reads and checks the categories the moment they are there
 * @param largePictures see readPicture
 * @param signal aborted when the client leaves
 * @throws ServiceError on everything that is not one picture's own fault
 */
export async function receiveUpload(
  parts: AsyncIterable<Part>,
  classifier: Classifier,
  collection: PictureCollection,
  labelOptions: LabelOptions,
  limits: UploadLimits,
  largePictures: Semaphore,
  signal: AbortSignal,
): Promise<Categories> {
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
        using arrived = await readPicture(part.content, limits.imageBytes, largePictures, signal);
        if (arrived.bytes) await collection.add(name, arrived.bytes);
        else collection.refuse(name, imageTooLarge(limits.imageBytes));
        break;
      }
      case 'categories': {
        const sent = await readCategories(part, categories, (text) => classifier.parseCategories(text));
        if (!sent) break;
        categories = sent;
        await classifier.checkLabels(categories, labelOptions, signal);
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

function imageTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The file has more than ${maxBytes} bytes, the most that a picture may have.`,
  );
}
