import type { Size } from '../../../native/geometry.ts';
import { listTitles, videoCodecs, videoContainers } from '../../contract/formats.ts';
import { ServiceError } from '../../errors.ts';

const CONTAINERS = `${listTitles(videoContainers, 'and')} videos are accepted`;
const CODECS = `${listTitles(videoCodecs, 'and')} are accepted`;

/** @param what came, with its article: `an AVI video` */
export function notAVideo(what: string): ServiceError {
  return new ServiceError('video_unsupported', `The file is ${what}; ${CONTAINERS}.`);
}

export function noVideoTrack(): ServiceError {
  return new ServiceError(
    'video_unsupported',
    'The file has no video track; a video with pictures is needed.',
  );
}

export function unsupportedCodec(codec: string): ServiceError {
  return new ServiceError('video_unsupported', `The video is coded as ${codec}; ${CODECS}.`, { codec });
}

export function emptyVideo(): ServiceError {
  return new ServiceError('video_broken', `The file is empty (0 bytes); ${CONTAINERS}.`);
}

/** @param fault what is wrong, as the rest of a sentence: `is cut short` */
export function brokenVideo(fault: string, cause?: unknown): ServiceError {
  return new ServiceError('video_broken', `The video ${fault}.`, {}, { cause });
}

export function tooLong(limitSeconds: number): ServiceError {
  return new ServiceError(
    'video_too_large',
    `The video lasts longer than ${limitSeconds} seconds, which is the most that is accepted.`,
    { limit: limitSeconds },
  );
}

export function tooManyPackets(limit: number): ServiceError {
  return new ServiceError(
    'video_too_large',
    `The video has more than ${limit} frames, which is the most that is accepted.`,
    {
      limit,
    },
  );
}

export function tooManyPixels({ width, height }: Size, limit: number): ServiceError {
  return new ServiceError(
    'video_too_large',
    `The video's frames have ${width} × ${height} pixels, ${width * height} in all; at most ${limit} are accepted.`,
    { width, height, limit },
  );
}

export function tooMuchMemory(limitBytes: number): ServiceError {
  const mebibytes = Math.round(limitBytes / 1024 ** 2);
  return new ServiceError(
    'video_too_large',
    `Decoding the video takes more memory than the ${mebibytes} MiB it may have.`,
  );
}

export function tooMuchWork(): ServiceError {
  return new ServiceError(
    'video_too_large',
    'Decoding the video takes more work than its size and duration make plausible.',
  );
}

export function tooManyPictures(limitBytes: number): ServiceError {
  const mebibytes = Math.round(limitBytes / 1024 ** 2);
  return new ServiceError(
    'video_too_large',
    `The pictures of the best frames take more than ${mebibytes} MiB; name fewer categories, or ask for no pictures (images=false).`,
  );
}
