import type { Categories, Classifier, LabelOptions, PictureCollection } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import type { Part } from './multipart.ts';

export interface UploadLimits {
  /** Pictures in one request. */
  readonly files: number;
  readonly imageBytes: number;
}

/** A thousand labels of 77 tokens are some 400 KB; a longer document is no list of categories. */
const MAX_CATEGORIES_BYTES = 4 * 1024 ** 2;
/** Four times what file systems allow for one path component; names come back in the answer. */
const MAX_FILE_NAME_BYTES = 1024;

/**
 * Takes the parts of a /categorize or /image form, in any order: pictures go to the collection as soon as
 * they are complete, so that they are encoded while the upload goes on.
 * @param classifier reads and checks the categories the moment they are there
 * @throws ServiceError on everything that is not one picture's own fault
 */
export async function receiveUpload(
  parts: AsyncIterable<Part>,
  classifier: Classifier,
  collection: PictureCollection,
  labelOptions: LabelOptions,
  limits: UploadLimits,
): Promise<Categories> {
  let categories: Categories | undefined;
  let fileCount = 0;
  for await (const part of parts) {
    switch (part.name) {
      case 'files': {
        if (part.filename === '' && (await isEmpty(part.content))) break; // a form's file input left alone
        const name = checkFileName(part.filename);
        fileCount += 1;
        if (fileCount > limits.files) {
          throw new ServiceError(
            'files_too_many',
            `More than ${limits.files} files were sent; at most ${limits.files} are accepted in one request.`,
          );
        }
        const bytes = await readWhole(part.content, limits.imageBytes);
        if (bytes) await collection.add(name, bytes);
        else collection.refuse(name, imageTooLarge(limits.imageBytes));
        break;
      }
      case 'categories': {
        if (categories) {
          throw new ServiceError(
            'part_unexpected',
            'categories was sent twice; send one part of that name, a file or a text field, with all of them.',
          );
        }
        categories = classifier.parseCategories(await readCategories(part.content));
        classifier.checkLabels(categories, labelOptions);
        break;
      }
      default:
        throw new ServiceError(
          'part_unexpected',
          `There is a part named ${shorten(part.name)}; accepted are files (pictures, one part each) and categories (a file or a text field).`,
        );
    }
  }
  if (fileCount === 0) {
    throw new ServiceError(
      'files_missing',
      'No picture was sent; send each as a part named files, e.g. curl -F files=@photo.jpg.',
    );
  }
  if (!categories) {
    throw new ServiceError(
      'categories_missing',
      'No categories were sent; send them as a part named categories: a JSON, CSV or text file, or text such as cat,dog.',
    );
  }
  return categories;
}

function checkFileName(name: string | undefined): string {
  if (name === undefined) {
    throw new ServiceError(
      'file_name_invalid',
      'A part named files has no file name; send pictures as files, e.g. curl -F files=@photo.jpg.',
    );
  }
  if (name === '') {
    throw new ServiceError(
      'file_name_invalid',
      'A file has an empty name; the answer is keyed by file name.',
    );
  }
  if (name.includes('\0')) {
    throw new ServiceError('file_name_invalid', `The file name ${shorten(name)} has a zero byte.`);
  }
  if (Buffer.byteLength(name) > MAX_FILE_NAME_BYTES) {
    throw new ServiceError(
      'file_name_invalid',
      `The file name ${shorten(name)} is too long: ${Buffer.byteLength(name)} bytes, at most ${MAX_FILE_NAME_BYTES} are accepted.`,
    );
  }
  return name;
}

function imageTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The file has more than ${maxBytes} bytes, the most that a picture may have.`,
  );
}

async function readCategories(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const document = await readWhole(content, MAX_CATEGORIES_BYTES);
  if (document) return document;
  throw new ServiceError(
    'multipart_too_large',
    `The categories have more than ${MAX_CATEGORIES_BYTES} bytes, the most that is accepted.`,
  );
}

/** All bytes of a part, or undefined where there are more than `maxBytes`: then the rest passes by unkept. */
async function readWhole(
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of content) {
    length += chunk.byteLength;
    if (length <= maxBytes) chunks.push(chunk);
    else chunks.length = 0;
  }
  return length <= maxBytes ? Buffer.concat(chunks, length) : undefined;
}

async function isEmpty(content: AsyncIterable<Uint8Array>): Promise<boolean> {
  for await (const chunk of content) if (chunk.byteLength > 0) return false;
  return true;
}

function shorten(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
}
