import type { Size } from '../../../native/geometry.ts';
import { listTitles, videoCodecs, videoContainers } from '../../contract/formats.ts';
import { ServiceError } from '../../errors.ts';

const CONTAINERS = `${listTitles(videoContainers, 'and')} videos are accepted`;

/** @param what the file is, with its article: `an AVI video` */
export function notAVideo(what: string): ServiceError {
  return new ServiceError('video_unsupported', `The file is ${what}; ${CONTAINERS}.`);
}

export function noVideoTrack(): ServiceError {
  return new ServiceError(
    'video_unsupported',
    `The file has no video track; a track in ${listTitles(videoCodecs, 'or')} is required.`,
  );
}

/** @param codec its name; undefined: unknown */
export function unsupportedCodec(codec: string | undefined): ServiceError {
  return new ServiceError(
    'video_unsupported',
    `The video is encoded ${codec === undefined ? 'in an unknown way' : `as ${codec}`}; ${listTitles(videoCodecs, 'and')} are accepted.`,
    codec === undefined ? {} : { codec },
  );
}

export function encryptedVideo(): ServiceError {
  return new ServiceError(
    'video_unsupported',
    'The video is encrypted; only unprotected videos are accepted.',
  );
}

export function emptyVideo(): ServiceError {
  return new ServiceError('video_broken', `The file is empty (0 bytes); ${CONTAINERS}.`);
}

/** @param fault the rest of a sentence: `is cut short` */
export function brokenVideo(fault: string, cause?: unknown): ServiceError {
  return new ServiceError('video_broken', `The video ${fault}.`, {}, { cause });
}

function videoTooLarge(sentence: string, details?: Readonly<Record<string, number>>): ServiceError {
  return new ServiceError('video_too_large', sentence, details);
}

export function videoTooLong(limitSeconds: number): ServiceError {
  return videoTooLarge(`The video is longer than ${limitSeconds} seconds, the longest that is accepted.`, {
    limit: limitSeconds,
  });
}

export function tooManyFrames(limit: number): ServiceError {
  return videoTooLarge(`The video has more than ${limit} frames, the most that are accepted.`, { limit });
}

export function framesTooLarge({ width, height }: Size, limit: number): ServiceError {
  return videoTooLarge(
    `The video's frames have ${width} × ${height} pixels, ${width * height} in total; at most ${limit} are accepted.`,
    { width, height, limit },
  );
}

export function videoNeedsMemory(limitBytes: number): ServiceError {
  return videoTooLarge(
    `Decoding the video needs more than the ${mebibytes(limitBytes)} MiB of memory that one video may use.`,
  );
}

/** How much work is too much: follows `Decoding the video takes`. */
export const IMPLAUSIBLE_WORK = 'far more work than is usual for its size and duration';

export function videoNeedsWork(): ServiceError {
  return videoTooLarge(`Decoding the video takes ${IMPLAUSIBLE_WORK}.`);
}

export function tooManyPictures(limitBytes: number): ServiceError {
  return videoTooLarge(
    `The pictures of the best frames have more than ${mebibytes(limitBytes)} MiB in total; send fewer categories, or leave the pictures out (images=false).`,
  );
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1024 ** 2);
}
