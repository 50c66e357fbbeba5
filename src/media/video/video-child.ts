import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { AvError } from '../../../native/av/av-error.ts';
import { invariant, ServiceError } from '../../errors.ts';
import type { VideoMessage, VideoTask } from './video-process.ts';
import { type FindStep, openVideoSession, type VideoSession } from './video-session.ts';

/**
 * Decodes one video in a child process. libav is a million lines of C that read untrusted bytes. If it crashes, never
 * ends or uses up all memory, only this process is affected.
 */

/**
 * The service's own photos have priority, with two thirds of a processor that both want. The system applies this to every
 * process of the machine: with a niceness of 10, each busy process beside it would slow a video down tenfold.
 */
const NICENESS = 3;
/** The system ends this process rather than the service when memory runs out. */
const FIRST_TO_GO = '1000';

const PROGRESS_MS = 200;

/** Pictures that may be in transit: decoding continues while the model reads them. */
const PICTURES_AHEAD = 8;

let session: VideoSession | undefined;
let onMore: (() => void) | undefined;
let pause: PromiseWithResolvers<void> | undefined;
let credit = 0;
let lastProgress = 0;

async function perform(task: Exclude<VideoTask, { kind: 'more' | 'pause' | 'resume' }>): Promise<void> {
  credit = PICTURES_AHEAD;
  switch (task.kind) {
    case 'open': {
      session = await openVideoSession(task.path, task, report);
      say({ kind: 'opened', description: session.description, cpuSeconds: session.cpuSeconds });
      return;
    }
    case 'find': {
      const { scenes, warnings } = await sayFrames(
        opened().find(task.placement, task.maximumFrames, task.thorough),
      );
      say({ kind: 'found', scenes, warnings: [...warnings] });
      return;
    }
    case 'refine': {
      const { leftOut } = await sayFrames(opened().refine(task.ranges));
      say({ kind: 'refined', leftOut });
      return;
    }
    case 'jpegs': {
      let seconds = 0;
      for (const picture of opened().jpegs(task.timestamps)) {
        if (picture) await saySlowly({ kind: 'jpeg', ...picture });
        seconds = picture?.timestamp ?? seconds;
        await report(seconds);
      }
      say({ kind: 'jpegs done' });
      return;
    }
  }
}

/** Sends the frames of all steps. @returns the result */
async function sayFrames<Summary>(steps: Generator<FindStep, Summary>): Promise<Summary> {
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    const { seconds, frame } = step.value;
    if (frame) await saySlowly({ kind: 'frame', ...frame });
    await report(seconds);
  }
  return step.value;
}

function opened(): VideoSession {
  invariant(session, 'a task came before its video was open.');
  return session;
}

/** Sends a picture as soon as the receiver is not too far behind. */
async function saySlowly(message: VideoMessage): Promise<void> {
  while (credit === 0) {
    await new Promise<void>((resolve) => {
      onMore = resolve;
    });
  }
  credit--;
  say(message);
}

async function report(seconds: number): Promise<void> {
  if (performance.now() - lastProgress < PROGRESS_MS) return;
  lastProgress = performance.now();
  say({ kind: 'progress', seconds });
  // Messages are received and sent between two turns of the event loop.
  await new Promise((resolve) => setImmediate(resolve));
  if (!pause) return;
  say({ kind: 'paused' });
  await pause.promise;
}

function say(message: VideoMessage): void {
  process.send?.(message);
}

function failure(fault: unknown): VideoMessage {
  const message = fault instanceof Error ? fault.message : String(fault);
  return fault instanceof ServiceError
    ? { kind: 'failed', code: fault.code, message, outOfMemory: false, details: { ...fault.details } }
    : { kind: 'failed', message, outOfMemory: isOutOfMemory(fault), details: {} };
}

function isOutOfMemory(fault: unknown): boolean {
  // The runtime's error for an array that does not fit into memory.
  return fault instanceof AvError
    ? fault.isOutOfMemory
    : fault instanceof RangeError && /memory/i.test(fault.message);
}

function yieldToOthers(): void {
  try {
    setPriority(NICENESS);
    writeFileSync('/proc/self/oom_score_adj', FIRST_TO_GO);
  } catch {
    // Some systems do not allow it.
  }
}

yieldToOthers();
process.on('disconnect', () => process.exit(0));
process.on('message', (task: VideoTask) => {
  if (task.kind === 'more') {
    credit += task.pictures;
    onMore?.();
    return;
  }
  if (task.kind === 'pause') {
    pause ??= Promise.withResolvers();
    return;
  }
  if (task.kind === 'resume') {
    pause?.resolve();
    pause = undefined;
    return;
  }
  perform(task).catch((fault) => say(failure(fault)));
});
