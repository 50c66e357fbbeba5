import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { limitedCommand } from '../../child-process.ts';
import { childEnvironment } from '../../config.ts';
import { ServiceError } from '../../errors.ts';
import { type VideoMessage, type VideoTask, videoMessageSchema } from './video-protocol.ts';

/** The program that decodes; tests take the place of it. */
export const videoChildPath = join(import.meta.dir, 'video-child.ts');

/** What the process may take before it is ended. */
export interface ProcessLimits {
  /** Resident memory. */
  readonly memoryBytes: number;
  /** Without a word while it has something to do. */
  readonly silenceMs: number;
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
  /** Tells it to go on. */
  more(pictures: number): void;
}

/** A hostile file fills memory at some 2 GB a second. */
const MEMORY_CHECK_MS = 100;
const PAGE_BYTES = 4096;

export function startVideoProcess(childPath: string, limits: ProcessLimits): VideoProcess {
  let messages: VideoMessage[] = [];
  let wake: (() => void) | undefined;
  let end: Error | undefined;
  let busy = false;
  /** Since when a word is overdue. */
  let lastWord = 0;

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
      if (parsed.success) messages.push(parsed.output);
      else stop(new Error('the process that decodes a video spoke in riddles: this is a bug'));
      notify();
    },
    onExit(_, exitCode, signalCode) {
      end ??= crashed(exitCode, signalCode);
      notify();
    },
  });

  const watch = setInterval(async () => {
    if (!busy || end) return;
    if (wake && performance.now() - lastWord > limits.silenceMs) {
      stop(
        new ServiceError('video_broken', 'The video is damaged: its data keep the decoder busy without end.'),
      );
    } else if ((await residentBytes(child.pid)) > limits.memoryBytes) {
      const mebibytes = Math.round(limits.memoryBytes / 1024 ** 2);
      stop(
        new ServiceError(
          'video_too_large',
          `Decoding the video takes more memory than the ${mebibytes} MiB it may have.`,
        ),
      );
    }
  }, MEMORY_CHECK_MS);

  return {
    async *perform(task, last, signal) {
      signal.throwIfAborted();
      const leave = () => stop(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      busy = true;
      let done = false;
      messages = [];
      try {
        if (!end) child.send(task);
        for (;;) {
          const message = messages.shift();
          if (message) {
            done = message.kind === last || message.kind === 'failed';
            if (message.kind === 'failed') throw failure(message);
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
        // What else it says would be taken for the answer to another task.
        if (!done) stop(new Error('a task was given up before its end'));
        signal.removeEventListener('abort', leave);
      }
    },
    more(pictures) {
      if (!end) child.send({ kind: 'more', pictures } satisfies VideoTask);
    },
    async [Symbol.asyncDispose]() {
      clearInterval(watch);
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

function failure({ code, message, details }: Extract<VideoMessage, { kind: 'failed' }>): Error {
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
