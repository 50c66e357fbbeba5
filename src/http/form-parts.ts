import type { Categories } from '../classify/classifier.ts';
import { ServiceError } from '../errors.ts';
import { giveBack } from '../garbage.ts';
import type { Part } from './multipart.ts';

/** A thousand labels of 77 tokens are some 400 KB; a longer document is no list of categories. */
export const MAX_CATEGORIES_BYTES = 4 * 1024 ** 2;
/** Four times what file systems allow for one path component; names come back in the answer. */
const MAX_FILE_NAME_BYTES = 1024;

/**
 * Reads a part named categories, a file or a text field.
 * @param known what an earlier part of that name held
 * @throws ServiceError part_unexpected, multipart_too_large; whatever `parse` throws
 */
export async function readCategories(
  { content }: Part,
  known: Categories | undefined,
  parse: (document: Uint8Array) => Categories | Promise<Categories>,
): Promise<Categories> {
  if (known) {
    throw new ServiceError(
      'part_unexpected',
      'The part categories was sent twice; send one of that name, a file or a text field, with all of them.',
    );
  }
  const document = await readWhole(content, MAX_CATEGORIES_BYTES);
  if (document) return await parse(document);
  throw new ServiceError(
    'multipart_too_large',
    `The categories have more than ${MAX_CATEGORIES_BYTES} bytes, the most that is accepted.`,
  );
}

export function categoriesMissing(): ServiceError {
  return new ServiceError(
    'categories_missing',
    'No categories were sent; send them as a part named categories: a JSON, CSV or text file, or text such as cat,dog.',
  );
}

/**
 * @param accepted the parts that the endpoint takes
 */
export function unexpectedPart({ name }: Part, accepted: string): ServiceError {
  return new ServiceError(
    'part_unexpected',
    `There is a part named ${shorten(name)}; accepted are ${accepted}.`,
  );
}

/** A form's file input that was left alone: it is sent all the same. */
export async function isLeftAlone({ filename, content }: Part): Promise<boolean> {
  if (filename !== '') return false;
  for await (const chunk of content) if (chunk.byteLength > 0) return false;
  return true;
}

/**
 * @param example how the part is sent as a file, for those who did not
 * @returns the name, exactly as sent
 * @throws ServiceError file_name_invalid
 */
export function checkFileName({ name: field, filename }: Part, example: string): string {
  if (filename === undefined) {
    throw new ServiceError(
      'file_name_invalid',
      `A part named ${field} has no file name; send it as a file, e.g. ${example}.`,
    );
  }
  if (filename === '') {
    throw new ServiceError('file_name_invalid', 'A file has an empty name; the answer goes by file name.');
  }
  if (filename.includes('\0')) {
    throw new ServiceError('file_name_invalid', `The file name ${shorten(filename)} has a zero byte.`);
  }
  if (Buffer.byteLength(filename) > MAX_FILE_NAME_BYTES) {
    throw new ServiceError(
      'file_name_invalid',
      `The file name ${shorten(filename)} is too long: ${Buffer.byteLength(filename)} bytes, at most ${MAX_FILE_NAME_BYTES} are accepted.`,
    );
  }
  return filename;
}

/**
 * All bytes of a part, or undefined where there are more than `maxBytes`: then the rest passes by unkept.
 * @param content its chunks are used up. One that fills its buffer has nothing in it that others still wait for;
 *   the memory of those is given back
 */
export async function readWhole(
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
  if (length > maxBytes) return undefined;
  const whole = Buffer.concat(chunks, length);
  for (const chunk of chunks) giveBack(chunk);
  return whole;
}

function shorten(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
}
