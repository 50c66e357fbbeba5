import type { Size } from '../../../native/geometry.ts';
import { listTitles, type PictureFormat, pictureFormats } from '../../contract/formats.ts';
import { ServiceError } from '../../errors.ts';

const ACCEPTED = `${listTitles(pictureFormats, 'and')} pictures are accepted`;

const READABLE_TIFFS =
  'TIFF pictures in grey, RGB, palette, CMYK or YCbCr colours with 1 to 16 bits per channel are accepted, uncompressed or with LZW, Deflate, Zstandard, PackBits, JPEG or fax compression';

interface DescribedPicture extends Size {
  readonly format: PictureFormat;
}

export function emptyPicture(): ServiceError {
  return new ServiceError('image_empty', `The file is empty (0 bytes); ${ACCEPTED}.`);
}

/** @param what the file is, with its article: `a HEIC picture` */
export function unsupportedPicture(what: string): ServiceError {
  return new ServiceError('image_unsupported', `The file is ${what}; ${ACCEPTED}.`);
}

/** The format is accepted, but no decoder here reads this variant of it. */
export function unsupportedVariant(format: PictureFormat, cause: unknown): ServiceError {
  return new ServiceError(
    'image_unsupported',
    `This variant of ${pictureFormats[format].title} is not supported; ${pictureFormats[format].title} pictures in grey or RGB with 8 bits per channel are accepted.`,
    {},
    { cause },
  );
}

/** @param what such a picture has: `floating-point samples` */
export function unsupportedTiff(what: string): ServiceError {
  return new ServiceError('image_unsupported', `The file is a TIFF with ${what}; ${READABLE_TIFFS}.`);
}

/** @param fault the rest of a sentence: `is truncated` */
export function brokenPicture(format: PictureFormat, fault: string, cause?: unknown): ServiceError {
  return new ServiceError(
    'image_broken',
    `The ${pictureFormats[format].title} picture ${fault}.`,
    {},
    { cause },
  );
}

function pictureTooLarge(
  sentence: string,
  details: Readonly<Record<string, number>>,
  cause?: unknown,
): ServiceError {
  return new ServiceError('image_too_large', sentence, details, { cause });
}

export function tooManyBytes(bytes: number, limit: number): ServiceError {
  return pictureTooLarge(`The file has ${bytes} bytes; a picture may have at most ${limit}.`, {
    bytes,
    limit,
  });
}

/** @param of the pictures that the limit is for: `a TIFF of 24 bits per pixel` */
export function tooManyPixels(width: number, height: number, limit: number, of = 'a picture'): ServiceError {
  return pictureTooLarge(
    `The picture has ${width} × ${height} pixels, ${width * height} in total; ${of} may have at most ${limit}.`,
    { width, height, limit },
  );
}

/** @param scans of a JPEG; a decoder passes over the whole picture in each */
export function tooManyScans(width: number, height: number, scans: number): ServiceError {
  return pictureTooLarge(
    `The JPEG picture has ${width} × ${height} pixels in ${scans} scans, which take too long to decode; save it with fewer scans, or as a baseline JPEG.`,
    { width, height, scans },
  );
}

export function sideTooLong(width: number, height: number, limit: number): ServiceError {
  return pictureTooLarge(
    `The picture has ${width} × ${height} pixels; a side may have at most ${limit} pixels.`,
    { width, height, limit },
  );
}

/** @param bytes of memory that decoding it needs */
export function tooMuchMemory(
  { format, width, height }: DescribedPicture,
  bytes: number,
  limit: number,
): ServiceError {
  return pictureTooLarge(
    `Decoding the ${pictureFormats[format].title} picture of ${width} × ${height} pixels needs ${megabytes(bytes)} MB of memory; one picture may use at most ${megabytes(limit)} MB. Save it smaller, or as a baseline JPEG.`,
    { width, height, limit: Math.floor(limit) },
  );
}

export function tooLargeToDecode(format: PictureFormat, cause: unknown): ServiceError {
  return pictureTooLarge(
    `The ${pictureFormats[format].title} picture needs more memory than its decoder allows; save it as a JPEG or PNG.`,
    {},
    cause,
  );
}

/** @param bytes of memory that its decoder was allowed to use */
export function greedyPicture({ format, width, height }: DescribedPicture, bytes: number): ServiceError {
  return pictureTooLarge(
    `Decoding the ${pictureFormats[format].title} picture of ${width} × ${height} pixels needs more than the ${megabytes(bytes)} MB of memory that it may use; save it as a JPEG or PNG.`,
    { width, height, limit: Math.floor(bytes) },
  );
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / 1e6);
}

export function fatalPicture({ format }: DescribedPicture, cause: unknown): ServiceError {
  return brokenPicture(format, 'crashed its decoder; save it again as a JPEG or PNG', cause);
}

export function endlessPicture({ format }: DescribedPicture): ServiceError {
  return brokenPicture(format, 'is damaged: decoding it does not come to an end');
}
