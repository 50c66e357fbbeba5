import type { InputShapes } from './session.ts';

/** Element types of tensors in the arena. */
type ElementType = 'uint8' | 'int32' | 'float32';

/** A tensor in the arena: the worker reads inputs and writes outputs there. */
export interface ArenaTensor {
  /** Name of the graph's input or output. */
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Offset from the arena's beginning, in bytes; a multiple of 64. */
  readonly byteOffset: number;
}

/**
 * ONNX Runtime in its own thread, because its `run` blocks the calling one. If the thread ends, a new one replaces
 * it and repeats the unfinished tasks.
 */
export interface OnnxWorker extends AsyncDisposable {
  /** Preallocated memory that both threads share; it outlives the inference thread. */
  readonly arena: SharedArrayBuffer;
  /**
   * Loads a graph under a name. Once per process: releasing and loading again leaks. The file must stay, for a
   * new thread.
   * @param inputShapes a graph that gets few shapes is faster if that is known
   * @throws InferenceThreadError
   */
  load(session: string, graphPath: string, inputShapes: InputShapes): Promise<void>;
  /**
   * Runs one graph; resolves when the outputs are in the arena. Calls run one after another. The caller leaves the
   * inputs in the arena until then.
   * @throws InferenceThreadError
   */
  run(session: string, inputs: readonly ArenaTensor[], outputs: readonly ArenaTensor[]): Promise<void>;
}

interface OnnxWorkerOptions {
  /** Several workers may share one, if each computes on its own part. */
  readonly arena: SharedArrayBuffer;
  /** Threads that compute one operation together; ONNX Runtime does not see a cgroup's quota. */
  readonly threads: number;
  /** Called with the reason when a thread has ended that was not stopped. */
  readonly onBreakdown?: (fault: InferenceThreadError) => void;
}

/** A task that has ended two threads is not given to a third. */
const MAX_ATTEMPTS = 2;
/** After a thread that ended before it computed anything: the next one is likely to end, too. */
const PAUSE_MS = 1000;

/** Starts the inference thread. */
export function startOnnxWorker({ arena, threads, onBreakdown }: OnnxWorkerOptions): OnnxWorker {
  const loaded: LoadTask[] = [];
  let stopped: InferenceThreadError | undefined;
  let thread: InferenceThread;
  /** The thread, after it has loaded all graphs. */
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

/** Gives a new thread the graphs of the one before. A thread without them is of no use and ends. */
async function loadAll(thread: InferenceThread, loads: readonly LoadTask[]): Promise<InferenceThread> {
  try {
    for (const load of loads) await thread.perform(load);
    return thread;
  } catch (fault) {
    await thread.terminate();
    if (fault instanceof InferenceThreadError) throw fault;
    throw new InferenceThreadError(
      `The inference thread cannot load its graphs: ${(fault as Error).message}`,
      { cause: fault },
    );
  }
}

/** Every waiting task gets the promise's failure. Without one, the failure must not count as unhandled. */
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

/** The thread's answer to a task; `fault` says what went wrong. */
export interface Reply {
  readonly id: number;
  readonly fault?: string;
}

/** The inference thread has ended before it finished its task. */
export class InferenceThreadError extends Error {
  override readonly name = 'InferenceThreadError';
}

/** One thread that owns sessions and computes on the arena. */
interface InferenceThread {
  /** Whether it has run a graph, so that it was not broken from the start. */
  readonly hasComputed: boolean;
  /**
   * Tasks run one after another.
   * @throws InferenceThreadError; the task's own fault
   */
  perform(task: Task): Promise<void>;
  /** Waits for the running task: if the thread is stopped while ONNX Runtime computes, the process crashes. */
  terminate(): Promise<void>;
}

interface Pending {
  resolve(): void;
  reject(fault: Error): void;
}

/**
 * @param onEnd called when the thread has ended for any reason, and nothing computes on the arena any more. Its
 *   tasks are rejected afterwards
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
  let reason = 'no reason is known';
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
  // The thread ends after any error.
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
