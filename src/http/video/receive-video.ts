import type { Categories } from '../../classify/classifier.ts';
import { ServiceError } from '../../errors.ts';
import {
  categoriesMissing,
  checkFileName,
  fieldOf,
  isLeftAlone,
  readCategories,
  unexpectedPart,
} from '../form-parts.ts';
import type { Part } from '../multipart.ts';
import type { Spool, StoredFile } from '../spool.ts';

/** A /video form, complete. */
export interface ReceivedVideo {
  readonly file: StoredFile;
  /** The video's name as its client has it. */
  readonly name: string;
  readonly categories: Categories;
}

/**
 * Takes the parts of a /video form, in any order: the video goes to the disk while it arrives.
 * @param parse reads and checks the categories the moment they are there
 * @throws ServiceError
 */
export async function receiveVideo(
  parts: AsyncIterable<Part>,
  spool: Spool,
  maxBytes: number,
  parse: (document: Uint8Array) => Promise<Categories>,
): Promise<ReceivedVideo> {
  let categories: Categories | undefined;
  let video: Omit<ReceivedVideo, 'categories'> | undefined;
  for await (const part of parts) {
    switch (fieldOf(part)) {
      case 'video': {
        if (await isLeftAlone(part)) break;
        const name = checkFileName(part, 'curl -F video=@film.mp4');
        if (video) {
          throw new ServiceError(
            'part_unexpected',
            'The part video was sent twice; send one video in one request.',
          );
        }
        const file = await spool.write('video', atMost(maxBytes, part.content));
        if (file.bytes === 0) throw new ServiceError('video_broken', 'The video is empty: it has no bytes.');
        video = { file, name };
        break;
      }
      case 'categories':
        categories = (await readCategories(part, categories, parse)) ?? categories;
        break;
      case 'files':
        throw new ServiceError(
          'part_unexpected',
          'There is a part named files; /video takes one video as a part named video, pictures go to /categorize or /image.',
        );
      default:
        throw unexpectedPart(part, 'video (one file) and categories (a file or a text field)');
    }
  }
  if (!video) {
    throw new ServiceError(
      'video_missing',
      'No video was sent; send it as a part named video, e.g. curl -F video=@film.mp4.',
    );
  }
  if (!categories) throw categoriesMissing();
  return { ...video, categories };
}

/** @throws ServiceError video_too_large as soon as there is too much of it */
async function* atMost(maxBytes: number, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw videoTooLarge(maxBytes);
    yield chunk;
  }
}

export function videoTooLarge(maxBytes: number): ServiceError {
  return new ServiceError(
    'video_too_large',
    `The video has more than ${maxBytes} bytes, the most that is accepted.`,
  );
}
