import { stat } from 'node:fs/promises';
import type { ResizeAndCrop } from '../../../native/geometry.ts';
import type { Fit } from '../../contract/options.ts';
import { invariant } from '../../errors.ts';
import { VIDEO_PROCESS_BYTES } from '../../memory-plan.ts';
import { plausiblePixels, plausibleSeconds } from './decoding-budget.ts';
import type { FrameJpeg } from './frame-source.ts';
import type { VideoPlace } from './video-places.ts';
import {
  type ProcessLimits,
  type Range,
  startVideoProcess,
  type VideoDescription,
  type VideoMessage,
  type VideoProcess,
  type VideoTask,
  videoChildPath,
} from './video-process.ts';
import type { FoundFrame } from './video-session.ts';

export type { FrameJpeg } from './frame-source.ts';
export type { Range, VideoDescription } from './video-process.ts';
export type { FoundFrame } from './video-session.ts';

/** How far the work on an open video has come. Seconds are times of the video. */
export type FrameProgress =
  /** The list of its frames is read; the length is not known yet. */
  | { readonly stage: 'indexing'; readonly secondsDone: number }
  /** Searches for frames worth looking at. */
  | {
      readonly stage: 'searching';
      readonly secondsDone: number;
      readonly secondsTotal: number;
      /** Found so far. */
      readonly frames: number;
    };

export interface OpenVideoOptions {
  readonly limits: { readonly videoSeconds: number };
  /** Threads that decode, in addition to the one that compares frames. */
  readonly threads: number;
  /** Aborted when the video is not needed any more. The work then stops within milliseconds. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: FrameProgress) => void;
  /** The place among the open videos, kept until the reader is disposed. Left out: this is the only video. */
  readonly place?: VideoPlace;
  /** Limits of the process that decodes; tests set them. */
  readonly process?: Partial<ProcessLimits> & { readonly childPath?: string };
}

export interface FramesOptions {
  /** How a frame that is shown at this size becomes the model's squares. */
  readonly geometry: (width: number, height: number, fit: Fit) => ResizeAndCrop;
  /** Side of a square. */
  readonly side: number;
  /** How frames are fitted into the square. Default: `crop`. */
  readonly fit?: Fit;
  /** Spread over the video. */
  readonly maximumFrames: number;
  /** Decodes all of the video, whatever its length. */
  readonly thorough: boolean;
}

/** A video file that is open in a child process. */
export interface VideoReader extends AsyncDisposable {
  readonly description: VideoDescription;
  /** After `frames`: the number of scenes. */
  readonly scenes: number;
  /** After `frames`, and more after `jpegs`: faults of the file, as sentences for a person. */
  readonly warnings: readonly string[];
  /**
   * Finds the frames worth looking at, in time order: those that differ from the ones before.
   * Decoding continues a few frames ahead while the caller uses a frame. May be called once.
   * @throws ServiceError video_broken, video_too_large; the signal's reason
   */
  frames(options: FramesOptions): AsyncGenerator<FoundFrame>;
  /**
   * After `frames`: finds all further frames in parts of the video, ascending.
   * @param ranges the most important first: the last ones are left out when the video has cost too much
   */
  refine(ranges: readonly Range[]): AsyncGenerator<FoundFrame>;
  /**
   * Makes full-size JPEGs of found frames, as a player shows them. Several cost little more than the last one.
   * Frames that cannot be decoded a second time are left out.
   * @param timestamps of found frames, in any order
   */
  jpegs(timestamps: Iterable<number>): AsyncGenerator<FrameJpeg>;
}

const UNREFINED =
  'Not all frames around the best ones were looked at, because decoding them would take too long; thorough=true looks at all of them.';

/** Reading the heads of millions of packets needs a minute, and reading a large file some seconds more. */
const OPENING_CPU_SECONDS = { least: 180, perByte: 20e-9 };

/** The limits of a process that decodes a file of this size, whatever the file contains. */
function processLimits(bytes: number): ProcessLimits {
  const opening = OPENING_CPU_SECONDS.least + OPENING_CPU_SECONDS.perByte * bytes;
  return {
    memoryBytes: VIDEO_PROCESS_BYTES,
    silenceMs: 30_000,
    openingCpuSeconds: opening,
    // Once to find frames, once to decode them again, and once for their pictures.
    cpuSeconds: opening + 3 * plausibleSeconds(plausiblePixels(bytes, Number.POSITIVE_INFINITY)) + 600,
  };
}

/**
 * Opens a video file that a client sent, in one of the accepted containers and codecs.
 * @param path of the file, which must exist until the reader is disposed
 * @throws ServiceError video_unsupported, video_too_large, video_broken; the signal's reason
 */
export async function openVideo(path: string, options: OpenVideoOptions): Promise<VideoReader> {
  const { limits, threads, signal, onProgress, place } = options;
  const { childPath = videoChildPath, ...given } = options.process ?? {};
  const { size } = await stat(path);
  const process = startVideoProcess(childPath, { ...processLimits(size), ...given }, place);
  const report = (secondsDone: number) => onProgress?.({ stage: 'indexing', secondsDone });
  try {
    report(0);
    const opening = process.perform({ kind: 'open', path, threads, ...limits }, 'opened', signal);
    for await (const message of opening) {
      if (message.kind === 'opened') {
        process.limitCpu(message.cpuSeconds);
        return createReader(process, message.description, options);
      }
      if (message.kind === 'progress') report(message.seconds);
    }
    invariant(false, 'a video was neither opened nor refused.');
  } catch (fault) {
    await process[Symbol.asyncDispose]();
    throw fault;
  }
}

function differentPicture(timestamp: number): string {
  return `The frame at ${timestamp.toFixed(3)} s is damaged: its picture differs from the one that was scored.`;
}

function createReader(
  process: VideoProcess,
  description: VideoDescription,
  { signal, onProgress }: OpenVideoOptions,
): VideoReader {
  let scenes = 0;
  let warnings: readonly string[] = [];

  let frames = 0;
  let secondsDone = 0;
  const report = (seconds: number) => {
    // Frames are looked at again when the search is refined.
    secondsDone = Math.max(secondsDone, seconds);
    onProgress?.({ stage: 'searching', secondsDone, secondsTotal: description.duration, frames });
  };

  async function* framesOf<Last extends 'found' | 'refined'>(
    task: VideoTask,
    last: Last,
  ): AsyncGenerator<FoundFrame, Extract<VideoMessage, { kind: Last }>> {
    for await (const message of process.perform(task, last, signal)) {
      if (message.kind === last) return message as Extract<VideoMessage, { kind: Last }>;
      if (message.kind === 'progress') report(message.seconds);
      if (message.kind !== 'frame') continue;
      frames++;
      const { timestamp, pixels } = message;
      yield { timestamp, pixels };
      process.more(1);
    }
    invariant(false, 'a task ended without its last message.');
  }

  return {
    description,
    get scenes() {
      return scenes;
    },
    get warnings() {
      return warnings;
    },
    async *frames({ geometry, side, fit = 'crop', maximumFrames, thorough }) {
      const placement = { ...geometry(description.width, description.height, fit), side };
      report(0);
      const last = yield* framesOf({ kind: 'find', maximumFrames, placement, thorough }, 'found');
      ({ scenes, warnings } = last);
    },
    async *refine(ranges) {
      const { leftOut } = yield* framesOf({ kind: 'refine', ranges }, 'refined');
      if (leftOut > 0 && !warnings.includes(UNREFINED)) warnings = [...warnings, UNREFINED];
    },
    async *jpegs(timestamps: Iterable<number>): AsyncGenerator<FrameJpeg> {
      const ascending = [...new Set(timestamps)].sort((a, b) => a - b);
      for await (const message of process.perform(
        { kind: 'jpegs', timestamps: ascending },
        'jpegs done',
        signal,
      )) {
        if (message.kind !== 'jpeg') continue;
        if (message.differs) warnings = [...warnings, differentPicture(message.timestamp)];
        yield { timestamp: message.timestamp, jpeg: message.jpeg };
        process.more(1);
      }
    },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}
