import { decide, isListed } from '../../classify/decide.ts';
import type { Rules } from '../../contract/options.ts';
import type { VideoDetails, VideoMoment } from '../../contract/schemas.ts';
import { jpegBlob } from './jpeg-blob.ts';
import type { Fault } from './photo.ts';

/** The best frame of a video for one category. */
export interface BestFrame {
  readonly category: string;
  /** Seconds. */
  readonly timestamp: number;
  readonly score: number;
  readonly similarity: number;
  /** Further frames above the threshold, best first. */
  readonly others: readonly { readonly timestamp: number; readonly score: number }[];
  /** The parts of the video in which the category holds, in the order of time. */
  readonly moments: readonly VideoMoment[];
}

/** A frame on the timeline, with all categories of which it is the best frame. */
export interface Mark {
  readonly timestamp: number;
  readonly categories: readonly string[];
}

/**
 * Leaves out categories whose best frame is below the threshold.
 * @param topK frames per category, including the best
 */
export function bestFramesOf(
  { results }: Pick<VideoDetails, 'results'>,
  rules: Rules,
  topK: number,
): BestFrame[] {
  return results.flatMap(({ category, scores, moments = [] }) => {
    const best = decide(scores, rules);
    const others = scores.slice(1, topK).filter((frame) => isListed(frame, rules));
    if (!best) return [];
    return [{ category, ...best, others, moments: moments.toSorted((a, b) => a.start - b.start) }];
  });
}

/** Sorted by time. */
export function marksOf(frames: readonly BestFrame[]): Mark[] {
  const byTime = Map.groupBy(frames, ({ timestamp }) => timestamp);
  return [...byTime]
    .map(([timestamp, here]) => ({ timestamp, categories: here.map(({ category }) => category) }))
    .sort((a, b) => a.timestamp - b.timestamp);
}

/**
 * Puts each mark into the first lane with room, so that marks do not overlap.
 * @param positions ascending, in any unit
 * @param width of a mark, in the same unit
 * @param maxLanes marks without room overlap in the last lane
 * @returns the lane of each mark, from 0
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

/** JPEG files of frames by timestamp in seconds. */
type FramePictures = ReadonlyMap<number, Blob>;

/**
 * Moves the pictures of an answer into blobs. A frame that is the best of several categories is stored once.
 */
export function separatePictures(details: VideoDetails): {
  readonly details: VideoDetails;
  readonly pictures: FramePictures;
} {
  const pictures = new Map<number, Blob>();
  const results = details.results.map(({ image, ...result }) => {
    const { timestamp } = result;
    if (image && timestamp !== null && !pictures.has(timestamp)) pictures.set(timestamp, jpegBlob(image));
    return result;
  });
  return { details: { ...details, results }, pictures };
}

/** The video on the page, with its answer or fault. */
export interface ShownVideo {
  readonly file: File;
  /** Without pictures. */
  readonly details?: VideoDetails;
  readonly pictures?: FramePictures;
  /** The rules of the request, by which categories may have no frame. */
  readonly rules?: Rules;
  readonly fault?: Fault;
}

/** URLs of the frames' pictures for `<img>`. */
export interface FrameAddresses {
  /** @param timestamp seconds. @returns undefined if the frame has no picture */
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
