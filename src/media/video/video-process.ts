import { join } from 'node:path';
import * as v from 'valibot';
import type { PicturePlacement } from '../../../native/av/picture-scaler.ts';
import { type ChildEnd, startChild } from '../../child-process.ts';
import { errorCodes, ServiceError } from '../../errors.ts';
import { tooMuchMemory, tooMuchWork } from './video-errors.ts';
import type { VideoPlace, VideoTurn } from './video-places.ts';

const seconds = v.pipe(v.number(), v.finite());
const bytes = v.custom<Uint8Array>((value) => value instanceof Uint8Array);
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** What the process that decodes a video is told. One task at a time; a new one comes when the last is done. */
export type VideoTask =
  | { readonly kind: 'open'; readonly path: string; readonly videoSeconds: number; readonly threads: number }
  | {
      readonly kind: 'find';
      readonly maximumFrames: number;
      readonly placement: PicturePlacement;
    }
  | { readonly kind: 'jpegs'; readonly timestamps: readonly number[] }
  /** So many of the pictures that were sent have been used: as many more may come. */
  | { readonly kind: 'more'; readonly pictures: number }
  /** Another video's turn has come: halt, and say so, until this one's comes again. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' };

/** What the process says. */
export const videoMessageSchema = v.variant('kind', [
  /** It is alive: `stage` has come to this time of the video. */
  v.object({ kind: v.literal('progress'), seconds }),
  v.object({
    kind: v.literal('opened'),
    description: v.object({
      duration: seconds,
      width: count,
      height: count,
      frameRate: seconds,
      codec: v.string(),
    }),
    /** Processor time that all that follows may take. */
    cpuSeconds: seconds,
  }),
  /** It does nothing until it is told to resume. */
  v.object({ kind: v.literal('paused') }),
  v.object({ kind: v.literal('frame'), timestamp: seconds, scene: count, pixels: bytes }),
  v.object({
    kind: v.literal('found'),
    scenes: count,
    warnings: v.array(v.string()),
  }),
  v.object({ kind: v.literal('jpeg'), timestamp: seconds, jpeg: bytes }),
  v.object({ kind: v.literal('jpegs done') }),
  v.object({
    kind: v.literal('failed'),
    /** Undefined: not the video's fault. */
    code: v.optional(v.picklist(errorCodes)),
    /** The system gave it no more memory. */
    outOfMemory: v.boolean(),
    message: v.string(),
    details: v.record(v.string(), v.unknown()),
  }),
]);
export type VideoMessage = v.InferOutput<typeof videoMessageSchema>;

/** The program that decodes; tests take the place of it. */
export const videoChildPath = join(import.meta.dir, 'video-child.ts');

/** What the process may take before it is ended. */
export interface ProcessLimits {
  /** Resident memory. */
  readonly memoryBytes: number;
  /** Without a word while it has something to do. */
  readonly silenceMs: number;
  /** Processor time until it knows what the video may take. */
  readonly openingCpuSeconds: number;
  /** Processor time that any video of this size may take: the system ends the process behind it. */
  readonly cpuSeconds: number;
}

/** A process that decodes one video. */
export interface VideoProcess extends AsyncDisposable {
  /**
   * Gives it a task and yields what it says, the last word too. Giving up before that ends the process.
   * @param last the message that ends the task
   * @throws ServiceError what the process failed with, video_broken if it was ended by what it decodes; the
   * signal's reason
   */
  perform(task: VideoTask, last: VideoMessage['kind'], signal: AbortSignal): AsyncGenerator<VideoMessage>;
  /** Limits the processor time that it may take from now on. */
  limitCpu(seconds: number): void;
  /** Tells it to go on. */
  more(pictures: number): void;
}

/** A hostile file fills memory at some 2 GB a second. */
const WATCH_MS = 100;
/** A process that ends without a word, when it held so much of its memory, was refused more. */
const FULL_SHARE = 0.9;
/** The system counts time in ticks where it limits it, and more exactly where it tells it. */
const CPU_SHARE = 0.75;

/**
 * Starts a process that decodes.
 * @param place among all videos that are open; left out: the only one
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
  /** Since when a word is overdue. */
  let lastWord = 0;
  /** It has halted for others, or was asked to. */
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
    schema: videoMessageSchema,
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
      if (signal !== undefined && cpuSeconds >= CPU_SHARE * limits.cpuSeconds) end ??= tooMuchWork();
      else if (heldBytes >= FULL_SHARE * limits.memoryBytes) end ??= tooMuchMemory(limits.memoryBytes);
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
      stop(
        new ServiceError('video_broken', 'The video is damaged: its data keep the decoder busy without end.'),
      );
    } else if (heldBytes > limits.memoryBytes) {
      stop(tooMuchMemory(limits.memoryBytes));
    } else if (child.cpuSeconds() > cpuLimit) {
      stop(tooMuchWork());
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
        // What else it says would be taken for the answer to another task.
        if (!done) stop(new Error('a task was given up before its end'));
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
  return new ServiceError(
    'video_broken',
    'The video is damaged in a way that ended the decoder.',
    {},
    { cause: new Error(`the process that decodes the video ended with ${how}`) },
  );
}

function failure(
  { code, message, outOfMemory, details }: Extract<VideoMessage, { kind: 'failed' }>,
  memoryBytes: number,
): Error {
  if (outOfMemory) return tooMuchMemory(memoryBytes);
  return code === undefined
    ? new Error(`decoding a video failed: ${message}`)
    : new ServiceError(code, message, details);
}
