import type { ResizeAndCrop } from '../../../native/geometry.ts';
import { DecodeError } from '../../../native/image/bitmap.ts';
import type { ServiceError } from '../../errors.ts';
import { createSemaphore } from '../../semaphore.ts';
import { decoderOf, pictureDecoders, readPictureHeader, recognisePicture } from '../sniff.ts';
import { decodeCostBytes, decodeSquare, isExtremeRatio } from './decode.ts';
import { latin1, type PictureHeader, shownSize } from './format/picture-header.ts';
import {
  brokenPicture,
  emptyPicture,
  tooLargeToDecode,
  tooLong,
  tooManyBytes,
  tooManyPixels,
  tooMuchMemory,
  unsupportedVariant,
} from './picture-errors.ts';
import type { PictureProcesses } from './picture-process.ts';

export interface PictureLimits {
  readonly imageBytes: number;
  /** Declared width × height; checked before anything is decoded. */
  readonly imagePixels: number;
}

export interface PictureLoaderOptions {
  /** Where the model's square lies on a picture that is shown at this size. */
  readonly geometry: (width: number, height: number) => ResizeAndCrop;
  readonly limits: PictureLimits;
  /** Decodes what this process must not. */
  readonly isolated: Pick<PictureProcesses, 'decode'>;
  /**
   * Memory that all decoding together may take, in this process and in the others each. Pictures that need more
   * are decoded one at a time.
   */
  readonly decodeBytes?: number;
  /** Memory that one picture may take; one that needs more is refused. Default: any. */
  readonly maxDecodeBytes?: number;
}

/**
 * Decodes a picture, turns it upright, resizes it and cuts the model's square out of it.
 * @param bytes the picture file, whatever its name or declared type
 * @param target receives the square, [S, S, 3] u8 RGB, row-major
 * @param signal aborted when nobody wants the picture any more
 * @throws ServiceError image_empty, image_unsupported, image_too_large, image_broken; the signal's reason
 */
export type LoadPicture = (bytes: Uint8Array, target: Uint8Array, signal?: AbortSignal) => Promise<void>;

const VP8X_ANIMATION_FLAG = 0x02;

/**
 * Whether another process decodes a picture that begins like this. Every BMP counts, as its rare variants are told
 * apart only later; what is not a picture does not count.
 * @param head its first bytes, 4 KiB or all of them
 */
export function isIsolatedPicture(head: Uint8Array): boolean {
  const content = recognisePicture(head);
  if ('other' in content) return false;
  if (content.format === 'webp') {
    return latin1(head, 12, 4) === 'VP8X' && ((head[20] ?? 0) & VP8X_ANIMATION_FLAG) !== 0;
  }
  return content.format === 'bmp' || pictureDecoders[content.format] === 'library';
}

/** Room for dozens of phone photos at a time, while pictures of 100 megapixels pass one by one. */
const DECODE_BYTES = 400 * 1024 ** 2;

export function createPictureLoader(options: PictureLoaderOptions): LoadPicture {
  const {
    geometry,
    limits,
    isolated,
    decodeBytes = DECODE_BYTES,
    maxDecodeBytes = Number.POSITIVE_INFINITY,
  } = options;
  // Apart, so that pictures which take their decoder long do not keep the others from theirs.
  const here = createSemaphore(decodeBytes);
  const elsewhere = createSemaphore(decodeBytes);
  const oversized = createSemaphore(1);

  return async (bytes, target, signal) => {
    const header = readWithinLimits(bytes, limits);
    const shown = shownSize(header);
    const place = geometry(shown.width, shown.height);
    const resized = isExtremeRatio(place)
      ? undefined
      : { width: place.resizedWidth, height: place.resizedHeight };

    // The library ends its process on some damaged files, and on some sound ones.
    const leaves = decoderOf(header) === 'library';
    // Another process needs the file, too.
    const cost = decodeCostBytes(header, resized) + (leaves ? bytes.length : 0);
    if (cost > maxDecodeBytes) throw tooMuchMemory(header, cost, maxDecodeBytes);
    using _turn = cost > decodeBytes ? await oversized.acquire(1, signal) : undefined;
    using _memory = await (leaves ? elsewhere : here).acquire(cost, signal);
    signal?.throwIfAborted();
    try {
      if (leaves) await isolated.decode(bytes, { header, place, memoryBytes: cost }, target, signal);
      else await decodeSquare(bytes, { header, place }, target, signal);
    } catch (fault) {
      throw fault instanceof DecodeError ? toServiceError(fault, header) : fault;
    }
  };
}

/** Decoders keep several rows of a picture in memory: up to 20 bytes for each of their pixels. */
const MAX_SIDE = 1_000_000;

function readWithinLimits(bytes: Uint8Array, { imageBytes, imagePixels }: PictureLimits): PictureHeader {
  if (bytes.length === 0) throw emptyPicture();
  if (bytes.length > imageBytes) throw tooManyBytes(bytes.length, imageBytes);
  const header = readPictureHeader(bytes);
  const { width, height } = header;
  if (Math.max(width, height) > MAX_SIDE) throw tooLong(width, height, MAX_SIDE);
  if (width * height > imagePixels) throw tooManyPixels(width, height, imagePixels);
  return header;
}

function toServiceError(fault: DecodeError, { format }: PictureHeader): ServiceError {
  switch (fault.reason) {
    case 'broken':
      return brokenPicture(format, 'is damaged and cannot be decoded', fault);
    case 'unsupported':
      return unsupportedVariant(format, fault);
    case 'too_large':
      return tooLargeToDecode(format, fault);
  }
}
