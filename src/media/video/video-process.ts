import { join } from 'node:path';
import * as v from 'valibot';
import type { PicturePlacement } from '../../../native/av/frame-filter.ts';
import { type ChildEnd, startChild } from '../../child-process.ts';
import { errorCodes, ServiceError } from '../../errors.ts';
import { brokenVideo, videoNeedsMemory, videoNeedsWork } from './video-errors.ts';
import type { VideoPlace, VideoTurn } from './video-places.ts';

const seconds = v.pipe(v.number(), v.finite());
const bytes = v.custom<Uint8Array>((value) => value instanceof Uint8Array);
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** A part of a video, in seconds, ends included, and the least distance of the frames that are wanted of it. */
export type Range = readonly [start: number, end: number, step: number];

/** Messages to the process that decodes a video. The next task is sent after the last one is done. */
export type VideoTask =
  | { readonly kind: 'open'; readonly path: string; readonly videoSeconds: number; readonly threads: number }
  | {
      readonly kind: 'find';
      readonly maximumFrames: number;
      readonly placement: PicturePlacement;
      readonly thorough: boolean;
    }
  | { readonly kind: 'refine'; readonly ranges: readonly Range[] }
  | { readonly kind: 'jpegs'; readonly timestamps: readonly number[] }
  /** This number of sent pictures has been used. The process may send the same number again. */
  | { readonly kind: 'more'; readonly pictures: number }
  /** Another video has its turn: halt, report it, and wait for `resume`. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' };

/** What a video is, as a player shows it. */
const descriptionSchema = v.object({
  /** Seconds until the last frame has been shown. */
  duration: seconds,
  width: count,
  height: count,
  /** Frames a second, on average. */
  frameRate: seconds,
  /** `h264`, `hevc`, `av1`, `vp9`, `vp8`, `mpeg4` or `mjpeg`. */
  codec: v.string(),
});
export type VideoDescription = Readonly<v.InferOutput<typeof descriptionSchema>>;

/** Messages from the process. */
const messageSchema = v.variant('kind', [
  /** A sign of life: the task has reached this time of the video. */
  v.object({ kind: v.literal('progress'), seconds }),
  v.object({
    kind: v.literal('opened'),
    description: descriptionSchema,
    /** Processor time that all later tasks together may use. */
    cpuSeconds: seconds,
  }),
  /** It has halted until `resume`. */
  v.object({ kind: v.literal('paused') }),
  v.object({ kind: v.literal('frame'), timestamp: seconds, pixels: bytes }),
  v.object({
    kind: v.literal('found'),
    scenes: count,
    warnings: v.array(v.string()),
  }),
  v.object({ kind: v.literal('refined'), leftOut: count }),
  v.object({ kind: v.literal('jpeg'), timestamp: seconds, jpeg: bytes, differs: v.optional(v.boolean()) }),
  v.object({ kind: v.literal('jpegs done') }),
  v.object({
    kind: v.literal('failed'),
    /** Undefined: not the video's fault. */
    code: v.optional(v.picklist(errorCodes)),
    /** The system refused it more memory. */
    outOfMemory: v.boolean(),
    message: v.string(),
    details: v.record(v.string(), v.unknown()),
  }),
]);
export type VideoMessage = v.InferOutput<typeof messageSchema>;

/** The program that decodes; tests replace it. */
export const videoChildPath = join(import.meta.dir, 'video-child.ts');

/** The process is ended beyond these limits. */
export interface ProcessLimits {
  /** Resident memory. */
  readonly memoryBytes: number;
  /** Time without a message while it has a task. */
  readonly silenceMs: number;
  /** Processor time until it has reported its own limit for the video. */
  readonly openingCpuSeconds: number;
  /** Processor time that any video of this size may use. Beyond it, the system ends the process. */
  readonly cpuSeconds: number;
}

/** A process that decodes one video. */
export interface VideoProcess extends AsyncDisposable {
  /**
   * Sends a task and yields the process's messages up to and including the last. Leaving earlier ends the process.
   * @param last the message that ends the task
   * @throws ServiceError the failure that the process reported, or video_broken if the process died; the signal's
   * reason
   */
  perform(task: VideoTask, last: VideoMessage['kind'], signal: AbortSignal): AsyncGenerator<VideoMessage>;
  /** Limits the processor time that it may use from now on. */
  limitCpu(seconds: number): void;
  /** Allows it to send this number of further pictures. */
  more(pictures: number): void;
}

/** A hostile file fills memory at some 2 GB a second. */
const WATCH_MS = 100;
/** A process that ends silently while it holds this share of its memory was refused more. */
const FULL_SHARE = 0.9;
/** The system enforces the limit in ticks, but reports the time exactly: the two differ. */
const CPU_SHARE = 0.75;

/**
 * Starts a process that decodes.
 * @param place among all open videos; left out: this is the only video
 */
export function startVideoProcess(
  childPath: string,
  limits: ProcessLimits,
  place?: VideoPlace,
): VideoProcess {
  let messages: VideoMessage[] = [];
  let wake: (() => void) | undefined;
  let end: Error | undefined;
  let busy = false;
  /** When the last message arrived, or when we began to wait for one. */
  let lastWord = 0;
  /** Whether it was asked to halt for other videos, or has halted. */
  let pause: 'asked' | 'halted' | undefined;
  let onHalted: (() => void) | undefined;
  let heldBytes = 0;
  let cpuLimit = limits.openingCpuSeconds;

  const notify = () => {
    wake?.();
    wake = undefined;
  };
  const stop = (reason: Error) => {
    end ??= reason;
    child.kill();
    notify();
  };

  const child = startChild<VideoTask, VideoMessage>({
    program: childPath,
    limits,
    schema: messageSchema,
    onMessage(message) {
      lastWord = performance.now();
      if (message.kind === 'paused') {
        if (pause) pause = 'halted';
        onHalted?.();
      } else messages.push(message);
      notify();
    },
    onUnknownMessage: (fault) => stop(fault),
    onEnd(childEnd) {
      const { signal, cpuSeconds } = childEnd;
      if (signal !== undefined && cpuSeconds >= CPU_SHARE * limits.cpuSeconds) end ??= videoNeedsWork();
      else if (heldBytes >= FULL_SHARE * limits.memoryBytes) end ??= videoNeedsMemory(limits.memoryBytes);
      else end ??= crashed(childEnd);
      place?.holds(0);
      notify();
    },
  });
  const crowdedOut = () => stop(place?.crowdedOut.reason);
  place?.crowdedOut.addEventListener('abort', crowdedOut, { once: true });

  const watch = setInterval(() => {
    if (end) return;
    heldBytes = child.residentBytes();
    place?.holds(heldBytes);
    if (end || !busy) return;
    const isSilent = wake && pause !== 'halted' && performance.now() - lastWord > limits.silenceMs;
    if (isSilent) {
      stop(brokenVideo('is damaged: decoding it does not come to an end'));
    } else if (heldBytes > limits.memoryBytes) {
      stop(videoNeedsMemory(limits.memoryBytes));
    } else if (child.cpuSeconds() > cpuLimit) {
      stop(videoNeedsWork());
    }
  }, WATCH_MS);

  const resume = () => {
    if (!pause) return;
    pause = undefined;
    lastWord = performance.now();
    if (!end) child.send({ kind: 'resume' });
  };
  const waitForTurn = async (signal: AbortSignal): Promise<VideoTurn | undefined> => {
    if (!place) return undefined;
    const turn = await place.turn(
      {
        pause() {
          pause = 'asked';
          if (!end) child.send({ kind: 'pause' });
        },
        resume,
      },
      AbortSignal.any([signal, place.crowdedOut]),
    );
    onHalted = turn.halted;
    return turn;
  };

  return {
    async *perform(task, last, signal) {
      signal.throwIfAborted();
      const leave = () => stop(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      let done = false;
      let turn: VideoTurn | undefined;
      try {
        turn = await waitForTurn(signal);
        busy = true;
        messages = [];
        if (!end) child.send(task);
        for (;;) {
          const message = messages.shift();
          if (message) {
            done = message.kind === last || message.kind === 'failed';
            if (message.kind === 'failed') throw failure(message, limits.memoryBytes);
            yield message;
            if (done) return;
            continue;
          }
          if (end) throw end;
          lastWord = performance.now();
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        busy = false;
        resume();
        turn?.[Symbol.dispose]();
        // Its later messages would be mistaken for the answer to another task.
        if (!done) stop(new Error('a task was abandoned before its end'));
        signal.removeEventListener('abort', leave);
      }
    },
    limitCpu(seconds) {
      cpuLimit = child.cpuSeconds() + seconds;
    },
    more(pictures) {
      if (!end) child.send({ kind: 'more', pictures });
    },
    async [Symbol.asyncDispose]() {
      clearInterval(watch);
      place?.crowdedOut.removeEventListener('abort', crowdedOut);
      stop(new Error('the process that decodes a video was stopped'));
      await child.exited;
    },
  };
}

function crashed({ how }: ChildEnd): Error {
  return brokenVideo(
    'is damaged: it crashed its decoder',
    new Error(`the process that decodes the video ended with ${how}`),
  );
}

function failure(
  { code, message, outOfMemory, details }: Extract<VideoMessage, { kind: 'failed' }>,
  memoryBytes: number,
): Error {
  if (outOfMemory) return videoNeedsMemory(memoryBytes);
  return code === undefined
    ? new Error(`decoding a video failed: ${message}`)
    : new ServiceError(code, message, details);
}
