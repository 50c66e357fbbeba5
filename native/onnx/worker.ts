import type { InputShapes } from './session.ts';

/** Element types of tensors in the arena. */
type ElementType = 'uint8' | 'int32' | 'float32';

/** A tensor that lies in the arena: the worker reads inputs and writes outputs there in place. */
export interface ArenaTensor {
  /** Name of the graph's input or output. */
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Offset from the arena's beginning, in bytes; a multiple of 64. */
  readonly byteOffset: number;
}

/**
 * ONNX Runtime in a thread of its own: `run` blocks whoever calls it, so nobody else does. Should the thread
 * ever end, another one takes its place and repeats what was under way.
 */
export interface OnnxWorker extends AsyncDisposable {
  /** Preallocated memory that both sides see; it outlives the thread. */
  readonly arena: SharedArrayBuffer;
  /**
   * Loads a graph under a name. Once per process: releasing and loading again leaks. The file stays where it
   * is, for the next thread.
   * @param inputShapes what it is going to get: a graph that gets few is faster if that is known
   * @throws InferenceThreadError
   */
  load(session: string, graphPath: string, inputShapes: InputShapes): Promise<void>;
  /**
   * Runs one graph; resolves when the outputs stand in the arena. Calls are served one after another. The
   * inputs stay in the arena until then.
   * @throws InferenceThreadError
   */
  run(session: string, inputs: readonly ArenaTensor[], outputs: readonly ArenaTensor[]): Promise<void>;
}

interface OnnxWorkerOptions {
  readonly arenaBytes: number;
  /** intra-op threads; ONNX Runtime does not see a cgroup's quota. */
  readonly threads: number;
  /** Told why a thread has ended that nobody had stopped. */
  readonly onBreakdown?: (fault: InferenceThreadError) => void;
}

/** What two threads have ended over is not given to a third. */
const MAX_ATTEMPTS = 2;
/** A thread that ended before it computed anything: the next one will hardly fare better at once. */
const PAUSE_MS = 1000;

/** Starts the inference thread. */
export function startOnnxWorker({ arenaBytes, threads, onBreakdown }: OnnxWorkerOptions): OnnxWorker {
  const arena = new SharedArrayBuffer(arenaBytes);
  const loaded: LoadTask[] = [];
  let stopped: InferenceThreadError | undefined;
  let thread: InferenceThread;
  /** The thread, once it has all graphs. */
  let ready: Promise<InferenceThread>;

  const begin = () => {
    thread = startInferenceThread(arena, threads, (fault) => {
      if (stopped) return;
      onBreakdown?.(fault);
      if (thread.hasComputed) begin();
      else ready = shared(Bun.sleep(PAUSE_MS).then(beginAgain));
    });
    ready = shared(loadAll(thread, loaded));
  };
  const beginAgain = (): Promise<InferenceThread> => {
    if (stopped) throw stopped;
    begin();
    return ready;
  };

  const perform = async (task: Task): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      if (stopped) throw stopped;
      try {
        await (await ready).perform(task);
        return;
      } catch (fault) {
        if (!(fault instanceof InferenceThreadError) || attempt === MAX_ATTEMPTS) throw fault;
      }
    }
  };

  begin();
  return {
    arena,
    async load(session, graphPath, inputShapes) {
      const task: LoadTask = { kind: 'load', session, graphPath, inputShapes };
      await perform(task);
      loaded.push(task);
    },
    run: (session, inputs, outputs) => perform({ kind: 'run', session, inputs, outputs }),
    async [Symbol.asyncDispose]() {
      stopped = new InferenceThreadError('The inference thread was stopped');
      await thread.terminate();
    },
  };
}

/** A new thread gets the graphs that the one before had. A thread without them is of no use to anybody. */
async function loadAll(thread: InferenceThread, loads: readonly LoadTask[]): Promise<InferenceThread> {
  try {
    for (const load of loads) await thread.perform(load);
    return thread;
  } catch (fault) {
    await thread.terminate();
    if (fault instanceof InferenceThreadError) throw fault;
    throw new InferenceThreadError(
      `The inference thread cannot load its graphs: ${(fault as Error).message}`,
      {
        cause: fault,
      },
    );
  }
}

/** Every task that waits for it is told when it fails; where none waits, nobody needs to know. */
function shared<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** First message to the thread. */
export interface StartMessage {
  readonly kind: 'start';
  readonly arena: SharedArrayBuffer;
  readonly threads: number;
}

interface LoadTask {
  readonly kind: 'load';
  readonly session: string;
  readonly graphPath: string;
  readonly inputShapes: InputShapes;
}

export type Task =
  | LoadTask
  | {
      readonly kind: 'run';
      readonly session: string;
      readonly inputs: readonly ArenaTensor[];
      readonly outputs: readonly ArenaTensor[];
    };

interface TaskMessage {
  readonly kind: 'task';
  readonly id: number;
  readonly task: Task;
}

export type ThreadMessage = StartMessage | TaskMessage;

/** The thread's answer to a task; `fault` is the sentence of what went wrong. */
export interface Reply {
  readonly id: number;
  readonly fault?: string;
}

/** The inference thread has ended, and what it was busy with is not done. */
export class InferenceThreadError extends Error {
  override readonly name = 'InferenceThreadError';
}

/** One thread that owns sessions and computes on the arena. */
interface InferenceThread {
  /** Whether it has run a graph: it is not broken from the start. */
  readonly hasComputed: boolean;
  /**
   * Tasks are served one after another.
   * @throws InferenceThreadError; the task's own fault
   */
  perform(task: Task): Promise<void>;
  /** Waits for what is under way: ending in the middle of it, ONNX Runtime would take the process along. */
  terminate(): Promise<void>;
}

interface Pending {
  resolve(): void;
  reject(fault: Error): void;
}

/**
 * @param onEnd told when the thread has come to its end, for whatever reason; nothing computes on the arena
 *   any more. Its tasks are rejected right after
 */
function startInferenceThread(
  arena: SharedArrayBuffer,
  threads: number,
  onEnd: (fault: InferenceThreadError) => void,
): InferenceThread {
  const worker = new Worker(new URL('./thread.ts', import.meta.url));
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let hasComputed = false;
  let reason = 'it ended by itself';
  let ended: InferenceThreadError | undefined;

  let last: Promise<void> = Promise.resolve();

  const post = (message: ThreadMessage) => worker.postMessage(message);

  worker.onmessage = (event: MessageEvent<Reply>) => {
    const { id, fault } = event.data;
    const waiter = pending.get(id);
    pending.delete(id);
    if (fault === undefined) waiter?.resolve();
    else waiter?.reject(new Error(fault));
  };
  // Whatever it is, the end follows.
  worker.onerror = (event) => {
    reason = event.message;
  };
  worker.addEventListener('close', () => {
    ended = new InferenceThreadError(`The inference thread has ended: ${reason}`);
    onEnd(ended);
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  });
  post({ kind: 'start', arena, threads });

  return {
    get hasComputed() {
      return hasComputed;
    },
    async perform(task) {
      if (ended) throw ended;
      last = new Promise((resolve, reject) => {
        const id = ++lastId;
        pending.set(id, { resolve, reject });
        post({ kind: 'task', id, task });
      });
      await last;
      if (task.kind === 'run') hasComputed = true;
    },
    async terminate() {
      reason = 'it was stopped';
      await last.catch(() => undefined);
      worker.terminate();
    },
  };
}
