import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import * as v from 'valibot';
import { DecodeError } from '../../../native/image/builtin-decoder.ts';
import { startChild } from '../../child-process.ts';
import { errorCodes, ServiceError } from '../../errors.ts';
import { createSemaphore } from '../../semaphore.ts';
import type { DecodeElsewhere, PlannedTask, SquareTask } from './picture.ts';
import { endlessPicture, fatalPicture, greedyPicture } from './picture-errors.ts';

/** A message to a process that decodes pictures. The picture's bytes follow on its standard input. */
export interface PictureOrder extends SquareTask {
  readonly byteLength: number;
  /** Of the pixels that are wanted. */
  readonly targetBytes: number;
}

/** The process's messages: one when it has started, then one for each order. */
const messageSchema = v.variant('kind', [
  v.object({ kind: v.literal('started') }),
  v.object({
    kind: v.literal('decoded'),
    /** [n, 3] u8 RGB, row-major. */
    pixels: v.custom<Uint8Array>((value) => value instanceof Uint8Array),
  }),
  v.object({
    kind: v.literal('failed'),
    /** The DecodeError's reason; undefined: not the picture's fault. */
    reason: v.optional(v.picklist(['broken', 'unsupported', 'too_large'])),
    message: v.string(),
  }),
  v.object({
    kind: v.literal('refused'),
    code: v.picklist(errorCodes),
    /** The whole sentence. */
    message: v.string(),
  }),
]);
export type PictureMessage = v.InferOutput<typeof messageSchema>;

const MEBI = 1024 ** 2;

/** The program that decodes; tests replace it. */
const CHILD_PATH = join(import.meta.dir, 'picture-child.ts');

/** The limits beyond which a process is ended. */
interface PictureWatch {
  /** Processor time for any picture. The limit on wall-clock time is WALL_FACTOR times the processor time. */
  readonly baseSeconds: number;
  /** More processor time for its pixels: the slowest variants decode some 30 million a second on one core. */
  readonly pixelsPerSecond: number;
  /** Resident memory in addition to the picture's plan: the runtime's, and garbage of the previous picture. */
  readonly baseBytes: number;
  /** A process that holds more than this after its picture is not used again. */
  readonly keptBytes: number;
  /** How long a process waits for the next picture. */
  readonly idleMs: number;
  /** How long a decoder may continue after its picture was cancelled. A new process starts in 0.1 s. */
  readonly cancelledMs: number;
}

const WATCH: PictureWatch = {
  baseSeconds: 5,
  pixelsPerSecond: 10e6,
  baseBytes: 192 * MEBI,
  keptBytes: 128 * MEBI,
  idleMs: 180_000,
  cancelledMs: 1000,
};

export interface PictureProcessOptions {
  /** The largest number of processes. */
  readonly processes: number;
  /** The most memory that a picture may be planned to take. */
  readonly memoryBytes: number;
  /** Called with a short description when a process has died. */
  readonly onDeath?: (how: string) => void;
  readonly childPath?: string;
  readonly watch?: Partial<PictureWatch>;
}

/** Processes that decode pictures. Each has one picture at a time: if a process dies, its picture is the cause. */
interface PictureProcesses extends AsyncDisposable {
  readonly decode: DecodeElsewhere;
}

/** Files that were refused because they ended a process. Clients may send them again. */
const REMEMBERED = 256;

/**
 * Starts a process when a picture arrives and none is idle, and keeps it for the next pictures. If a process dies, its
 * picture is tried once more in a new process: an earlier picture may have damaged the old one, and the system ends
 * processes when memory is short.
 */
export function createPictureProcesses(options: PictureProcessOptions): PictureProcesses {
  const { processes, memoryBytes, onDeath, childPath = CHILD_PATH } = options;
  const watch = { ...WATCH, ...options.watch };
  const places = createSemaphore(processes);
  const running = new Set<PictureProcess>();
  const idle = new Map<PictureProcess, Timer>();
  const verdicts = createVerdicts();
  let isDisposed = false;

  const start = (): PictureProcess => {
    if (isDisposed) throw ended();
    const started = startProcess(childPath, memoryBytes + watch.baseBytes);
    running.add(started);
    void started.exited.then(() => {
      running.delete(started);
      stopWaiting(started);
    });
    return started;
  };

  const stopWaiting = (process: PictureProcess) => {
    clearTimeout(idle.get(process));
    idle.delete(process);
  };

  /** Takes the process that has been idle for the shortest time, so surplus processes reach the end of their wait. */
  const takeIdle = (): PictureProcess | undefined => {
    const process = [...idle.keys()].at(-1);
    if (process) stopWaiting(process);
    return process;
  };

  const keep = async (process: PictureProcess) => {
    if (isDisposed || process.residentBytes() > watch.keptBytes) return await process.end(ended());
    const timer = setTimeout(() => {
      stopWaiting(process);
      void process.end(ended());
    }, watch.idleMs);
    idle.set(process, timer.unref());
  };

  /**
   * @returns how the process died, if it did
   * @throws the picture's fault
   */
  const attempt = async (process: PictureProcess, assignment: Assignment): Promise<Death | undefined> => {
    const { bytes, target, signal } = assignment;
    const outcome = await process.perform(assignment, watch);
    if (outcome.kind !== 'died' && outcome.kind !== 'ended') await keep(process);
    if (outcome.kind === 'died') onDeath?.(outcome.how);
    signal?.throwIfAborted();
    switch (outcome.kind) {
      case 'decoded':
        target.set(outcome.pixels);
        return undefined;
      case 'failed':
        throw outcome.reason === undefined
          ? new Error(`decoding a picture failed: ${outcome.message}`)
          : new DecodeError(outcome.reason, outcome.message);
      case 'refused':
        throw new ServiceError(outcome.code, outcome.message);
      case 'ended':
        if (outcome.verdict) await verdicts.remember(bytes, outcome.verdict);
        throw outcome.fault;
      case 'died':
        return outcome;
    }
  };

  return {
    async decode(bytes, task, target, signal) {
      const verdict = await verdicts.find(bytes);
      if (verdict) throw verdict;
      using _place = await places.acquire(1, signal);
      const assignment = { bytes, task, target, signal };
      const known = takeIdle();
      let death = await attempt(known ?? start(), assignment);
      if (death && (known || !death.isByItself)) death = await attempt(start(), assignment);
      if (!death) return;
      if (!death.hadStarted) throw new Error(`a process that decodes pictures did not start: ${death.how}`);
      const fault = fatalPicture(task.header, new Error(death.how));
      await verdicts.remember(bytes, fault);
      throw fault;
    },
    async [Symbol.asyncDispose]() {
      isDisposed = true;
      await Promise.all(Array.from(running, (process) => process.end(ended())));
    },
  };
}

interface Assignment {
  readonly bytes: Uint8Array;
  readonly task: PlannedTask;
  readonly target: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

type Outcome = Exclude<PictureMessage, { kind: 'started' }> | Death | Ended;

/** The process ended without being asked to. */
interface Death {
  readonly kind: 'died';
  readonly how: string;
  /** False: it never reached its picture. */
  readonly hadStarted: boolean;
  /** False: the system may have ended it because memory was short. */
  readonly isByItself: boolean;
}

/** The process was ended by this module. */
interface Ended {
  readonly kind: 'ended';
  readonly fault: Error;
  /** The same fault, if the picture would cause it again on an idle machine. */
  readonly verdict?: ServiceError;
}

interface PictureProcess {
  /** Gives it a picture and waits for the outcome. After `died` and `ended`, the process no longer exists. */
  perform(assignment: Assignment, watch: PictureWatch): Promise<Outcome>;
  /** 0 where the system does not report it. */
  residentBytes(): number;
  /** Ends it; its picture fails with this reason. Resolves when the process no longer exists. */
  end(reason: Error): Promise<void>;
  readonly exited: Promise<unknown>;
}

/** A hostile file fills memory at some 2 GB a second. */
const CHECK_MS = 50;
/** Wall-clock time per processor time. It allows for a busy machine and ends a decoder that sleeps. */
const WALL_FACTOR = 12;

/** @param memoryBytes that it may hold, whatever its picture's header says */
function startProcess(childPath: string, memoryBytes: number): PictureProcess {
  let hadStarted = false;
  let settle: ((outcome: Outcome) => void) | undefined;
  let outcome: Ended | Death | undefined;

  const child = startChild<PictureOrder, PictureMessage>({
    program: childPath,
    limits: { memoryBytes },
    schema: messageSchema,
    onMessage(message) {
      if (message.kind === 'started') hadStarted = true;
      else settle?.(message);
    },
    onUnknownMessage: (fault) => end(fault),
    onEnd({ how, signal }) {
      outcome ??= {
        kind: 'died',
        how: `the process ended with ${how}`,
        hadStarted,
        isByItself: hadStarted && signal !== 'SIGKILL',
      };
      settle?.(outcome);
    },
  });
  // A process that waits for pictures must not keep the service from exiting.
  child.unref();

  const end = (fault: Error, verdict?: ServiceError) => {
    outcome ??= { kind: 'ended', fault, ...(verdict && { verdict }) };
    child.kill();
  };

  const watchOver = ({ task, signal }: Assignment, watch: PictureWatch): Disposable => {
    const { width, height } = task.header;
    const seconds = watch.baseSeconds + (width * height) / watch.pixelsPerSecond;
    const memory = Math.min(memoryBytes, watch.baseBytes + task.memoryBytes * MEMORY_TOLERANCE);
    const secondsBefore = child.cpuSeconds();
    const beganAt = performance.now();
    let cancelledAt = Number.POSITIVE_INFINITY;
    const timer = setInterval(() => {
      const now = performance.now();
      if (signal?.aborted) cancelledAt = Math.min(cancelledAt, now);
      if (now - cancelledAt > watch.cancelledMs) end(signal?.reason);
      else if (child.residentBytes() > memory) {
        const fault = greedyPicture(task.header, memory);
        end(fault, fault);
      } else if (child.cpuSeconds() - secondsBefore > seconds) {
        const fault = endlessPicture(task.header);
        end(fault, fault);
      } else if (now - beganAt > seconds * 1000 * WALL_FACTOR) end(endlessPicture(task.header));
    }, CHECK_MS);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  };

  return {
    async perform(assignment, watch) {
      const { bytes, task, target } = assignment;
      const { header, place, background } = task;
      const done = Promise.withResolvers<Outcome>();
      settle = done.resolve;
      using _watching = watchOver(assignment, watch);
      // It may have died while it was idle.
      if (!outcome) {
        child.send({ byteLength: bytes.length, header, place, background, targetBytes: target.length });
        await child.write(slicesOf(bytes));
      }
      const said = outcome ?? (await done.promise);
      settle = undefined;
      if (said.kind === 'decoded' && said.pixels.length !== target.length) {
        end(new Error('This is a bug: a decoding process answered with a square of another size.'));
      }
      // If it was ended at the same moment, its last message does not count.
      if (!outcome) return said;
      await child.exited;
      return outcome;
    },
    residentBytes: child.residentBytes,
    async end(reason) {
      end(reason);
      await child.exited;
    },
    exited: child.exited,
  };
}

/** Decoding may use this many times the planned memory: plans are estimates. */
const MEMORY_TOLERANCE = 2;
/** Bytes between two turns of the event loop: some 0.2 ms of copying or hashing. */
const SLICE_BYTES = 256 * 1024;

/** Lets the event loop turn between slices: a picture may have 64 MiB, and the pipe accepts them without a pause. */
async function* slicesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    yield bytes.subarray(at, at + SLICE_BYTES);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Verdicts {
  find(bytes: Uint8Array): Promise<ServiceError | undefined>;
  remember(bytes: Uint8Array, verdict: ServiceError): Promise<void>;
}

/** Keyed by the files' lengths: a picture is hashed only if a refused file has the same length. */
function createVerdicts(): Verdicts {
  const byLength = new LRUCache<number, { readonly sha256: string; readonly verdict: ServiceError }>({
    max: REMEMBERED,
  });
  return {
    async find(bytes) {
      const known = byLength.get(bytes.length);
      return known && known.sha256 === (await sha256Of(bytes)) ? known.verdict : undefined;
    },
    async remember(bytes, verdict) {
      byLength.set(bytes.length, { sha256: await sha256Of(bytes), verdict });
    },
  };
}

async function sha256Of(bytes: Uint8Array): Promise<string> {
  const hash = new Bun.CryptoHasher('sha256');
  for await (const slice of slicesOf(bytes)) hash.update(slice);
  return hash.digest('hex');
}

function ended(): Error {
  return new Error('the processes that decode pictures have been ended');
}
