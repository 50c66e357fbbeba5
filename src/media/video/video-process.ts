import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { limitedCommand } from '../../child-process.ts';
import { childEnvironment } from '../../config.ts';
import { ServiceError } from '../../errors.ts';
import { tooMuchMemory, tooMuchWork } from './video-errors.ts';
import type { VideoPlace, VideoTurn } from './video-places.ts';
import { type VideoMessage, type VideoTask, videoMessageSchema } from './video-protocol.ts';

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
  limitCpu(seconds: number): Promise<void>;
  /** Tells it to go on. */
  more(pictures: number): void;
}

/** A hostile file fills memory at some 2 GB a second. */
const WATCH_MS = 100;
const PAGE_BYTES = 4096;
/** Linux counts a process's time in hundredths of a second wherever it shows it. */
const TICKS_PER_SECOND = 100;
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
    child.kill('SIGKILL');
    notify();
  };

  const child = Bun.spawn(limitedCommand(childPath, limits), {
    env: childEnvironment(),
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
    ipc(message) {
      lastWord = performance.now();
      const parsed = v.safeParse(videoMessageSchema, message);
      if (parsed.success && parsed.output.kind === 'paused') {
        if (pause) pause = 'halted';
        onHalted?.();
      } else if (parsed.success) messages.push(parsed.output);
      else stop(new Error('the process that decodes a video spoke in riddles: this is a bug'));
      notify();
    },
    onExit(child, exitCode, signalCode) {
      const cpuSeconds = Number(child.resourceUsage()?.cpuTime.total ?? 0n) / 1e6;
      if (signalCode !== null && cpuSeconds >= CPU_SHARE * limits.cpuSeconds) end ??= tooMuchWork();
      else if (heldBytes >= FULL_SHARE * limits.memoryBytes) end ??= tooMuchMemory(limits.memoryBytes);
      else end ??= crashed(exitCode, signalCode);
      place?.holds(0);
      notify();
    },
  });
  const crowdedOut = () => stop(place?.crowdedOut.reason);
  place?.crowdedOut.addEventListener('abort', crowdedOut, { once: true });

  const watch = setInterval(async () => {
    if (end) return;
    heldBytes = await residentBytes(child.pid);
    if (end) return;
    place?.holds(heldBytes);
    if (end || !busy) return;
    const isSilent = wake && pause !== 'halted' && performance.now() - lastWord > limits.silenceMs;
    if (isSilent) {
      stop(
        new ServiceError('video_broken', 'The video is damaged: its data keep the decoder busy without end.'),
      );
    } else if (heldBytes > limits.memoryBytes) {
      stop(tooMuchMemory(limits.memoryBytes));
    } else if ((await cpuSeconds(child.pid)) > cpuLimit) {
      stop(tooMuchWork());
    }
  }, WATCH_MS);

  const resume = () => {
    if (!pause) return;
    pause = undefined;
    lastWord = performance.now();
    if (!end) child.send({ kind: 'resume' } satisfies VideoTask);
  };
  const waitForTurn = async (signal: AbortSignal): Promise<VideoTurn | undefined> => {
    if (!place) return undefined;
    const turn = await place.turn(
      {
        pause() {
          pause = 'asked';
          if (!end) child.send({ kind: 'pause' } satisfies VideoTask);
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
    async limitCpu(seconds) {
      cpuLimit = (await cpuSeconds(child.pid)) + seconds;
    },
    more(pictures) {
      if (!end) child.send({ kind: 'more', pictures } satisfies VideoTask);
    },
    async [Symbol.asyncDispose]() {
      clearInterval(watch);
      place?.crowdedOut.removeEventListener('abort', crowdedOut);
      stop(new Error('the process that decodes a video was stopped'));
      await child.exited;
    },
  };
}

function crashed(exitCode: number | null, signalCode: number | string | null): Error {
  const how = signalCode === null ? `exit code ${exitCode}` : `signal ${signalCode}`;
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

/** 0 where the system does not tell. */
async function residentBytes(pid: number): Promise<number> {
  try {
    const statm = await readFile(`/proc/${pid}/statm`, 'latin1');
    return Number(statm.split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

/** Of all its threads; 0 where the system does not tell. */
async function cpuSeconds(pid: number): Promise<number> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The program's name may contain anything: the fields are counted behind its bracket.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
