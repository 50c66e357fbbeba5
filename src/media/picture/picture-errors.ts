import type { Size } from '../../../native/geometry.ts';
import { listTitles, type PictureFormat, pictureFormats } from '../../contract/formats.ts';
import { ServiceError } from '../../errors.ts';

const ACCEPTED = `${listTitles(pictureFormats, 'and')} pictures are accepted`;

interface DescribedPicture extends Size {
  readonly format: PictureFormat;
}

export function emptyPicture(): ServiceError {
  return new ServiceError('image_empty', `The file is empty (0 bytes); ${ACCEPTED}.`);
}

/** @param what came, with its article: `a HEIC picture` */
export function unsupportedPicture(what: string): ServiceError {
  return new ServiceError('image_unsupported', `The file is ${what}; ${ACCEPTED}.`);
}

/** A variant of an accepted format that no decoder here reads. */
export function unsupportedVariant(format: PictureFormat, cause: unknown): ServiceError {
  return new ServiceError(
    'image_unsupported',
    `The ${pictureFormats[format].title} picture is of a kind that is not decoded here; grey and RGB ones with 8 bits a channel are accepted.`,
    {},
    { cause },
  );
}

/** @param fault what is wrong, as the rest of a sentence: `is truncated` */
export function brokenPicture(format: PictureFormat, fault: string, cause?: unknown): ServiceError {
  return new ServiceError(
    'image_broken',
    `The ${pictureFormats[format].title} picture ${fault}.`,
    {},
    { cause },
  );
}

export function tooManyBytes(bytes: number, limit: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The file has ${bytes} bytes; a picture may have at most ${limit}.`,
    { bytes, limit },
  );
}

/** @param of which pictures the limit is */
export function tooManyPixels(width: number, height: number, limit: number, of = 'a picture'): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The picture has ${width} × ${height} pixels, ${width * height} in all; ${of} may have at most ${limit}.`,
    { width, height, limit },
  );
}

/** A JPEG whose scans a decoder would have to go through again and again. */
export function tooManyScans(width: number, height: number, scans: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The JPEG picture has ${width} × ${height} pixels in ${scans} scans, which take too long to decode; save it with fewer scans, or as a baseline JPEG.`,
    { width, height, scans },
  );
}

export function tooLong(width: number, height: number, limit: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The picture has ${width} × ${height} pixels; no side may have more than ${limit}.`,
    { width, height, limit },
  );
}

/** @param bytes what decoding it would take */
export function tooMuchMemory(
  { format, width, height }: DescribedPicture,
  bytes: number,
  limit: number,
): ServiceError {
  const megabytes = (count: number) => Math.ceil(count / 1e6);
  return new ServiceError(
    'image_too_large',
    `Decoding the ${pictureFormats[format].title} picture of ${width} × ${height} pixels would take ${megabytes(bytes)} MB of memory, at most ${megabytes(limit)} are there for one picture; save it smaller, or as a baseline JPEG.`,
    { width, height, limit: Math.floor(limit) },
  );
}

export function tooLargeToDecode(format: PictureFormat, cause: unknown): ServiceError {
  return new ServiceError(
    'image_too_large',
    `The ${pictureFormats[format].title} picture takes more memory than its decoder allows; save it as a JPEG or PNG.`,
    {},
    { cause },
  );
}

/** One whose decoder crashed. */
export function fatalPicture({ format }: DescribedPicture, cause: unknown): ServiceError {
  return brokenPicture(format, 'ended its decoder; save it again, as a JPEG or PNG', cause);
}

export function endlessPicture({ format }: DescribedPicture): ServiceError {
  return brokenPicture(format, 'is damaged: its data keep the decoder busy without end');
}

/** @param bytes what its decoder was granted */
export function greedyPicture({ format, width, height }: DescribedPicture, bytes: number): ServiceError {
  return new ServiceError(
    'image_too_large',
    `Decoding the ${pictureFormats[format].title} picture of ${width} × ${height} pixels takes more than the ${Math.ceil(bytes / 1e6)} MB of memory that such a picture may have; save it as a JPEG or PNG.`,
    { width, height, limit: Math.floor(bytes) },
  );
}
