import { decide, isListed } from '../../classify/decide.ts';
import type { Rules } from '../../contract/options.ts';
import type { VideoDetails } from '../../contract/schemas.ts';
import type { Fault } from './photo.ts';

/** The best frame of a video for one category. */
export interface Moment {
  readonly category: string;
  /** Seconds. */
  readonly timestamp: number;
  readonly score: number;
  readonly similarity: number;
  /** Further frames that are good enough, best first. */
  readonly others: readonly { readonly timestamp: number; readonly score: number }[];
}

/** A frame on the time line, with all categories that it is the best frame for. */
export interface Mark {
  readonly timestamp: number;
  readonly categories: readonly string[];
}

/**
 * Categories whose best frame is not good enough are left out.
 * @param topK how many frames of a category, the best one included
 */
export function momentsOf({ results }: Pick<VideoDetails, 'results'>, rules: Rules, topK: number): Moment[] {
  return results.flatMap(({ category, scores }) => {
    const best = decide(scores, rules);
    const others = scores.slice(1, topK).filter((frame) => isListed(frame, rules));
    return best ? [{ category, ...best, others }] : [];
  });
}

/** In the order of time. */
export function marksOf(moments: readonly Moment[]): Mark[] {
  const byTime = Map.groupBy(moments, ({ timestamp }) => timestamp);
  return [...byTime]
    .map(([timestamp, here]) => ({ timestamp, categories: here.map(({ category }) => category) }))
    .sort((a, b) => a.timestamp - b.timestamp);
}

/**
 * Puts marks into lanes, so that they do not cover each other: each goes to the first lane with room.
 * @param positions along the line, ascending, in any unit
 * @param width of a mark, in the same unit
 * @param maxLanes further ones cover others of the last lane
 * @returns the lane of each, from 0
 */
export function lanesOf(positions: readonly number[], width: number, maxLanes: number): number[] {
  const ends: number[] = [];
  return positions.map((position) => {
    const free = ends.findIndex((end) => end <= position);
    const lane = free === -1 ? Math.min(ends.length, maxLanes - 1) : free;
    ends[lane] = position + width;
    return lane;
  });
}

/** The frames' pictures, JPEG files by timestamp in seconds. */
type FramePictures = ReadonlyMap<number, Blob>;

/**
 * Takes the pictures out of an answer: base64 would stay in the page's memory, blobs need not. A frame that is the
 * best one for several categories comes with each of them and is kept once.
 */
export function separatePictures(details: VideoDetails): {
  readonly details: VideoDetails;
  readonly pictures: FramePictures;
} {
  const pictures = new Map<number, Blob>();
  const results = details.results.map(({ image, ...result }) => {
    const { timestamp } = result;
    if (image && timestamp !== null && !pictures.has(timestamp)) pictures.set(timestamp, jpegOf(image));
    return result;
  });
  return { details: { ...details, results }, pictures };
}

function jpegOf(base64: string): Blob {
  const characters = atob(base64);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index);
  return new Blob([bytes], { type: 'image/jpeg' });
}

/** The video on the page, with its answer or fault. */
export interface ShownVideo {
  readonly file: File;
  /** Without pictures. */
  readonly details?: VideoDetails;
  readonly pictures?: FramePictures;
  readonly fault?: Fault;
}

/** Addresses of the frames' pictures, as an `<img>` takes them. */
export interface FrameAddresses {
  /** @param timestamp seconds. @returns undefined where there is no picture of that frame */
  at(timestamp: number): string | undefined;
  release(): void;
}

export function createFrameAddresses(pictures: FramePictures): FrameAddresses {
  const addresses = new Map([...pictures].map(([timestamp, jpeg]) => [timestamp, URL.createObjectURL(jpeg)]));
  return {
    at: (timestamp) => addresses.get(timestamp),
    release() {
      for (const address of addresses.values()) URL.revokeObjectURL(address);
    },
  };
}
