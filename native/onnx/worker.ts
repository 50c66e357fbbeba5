import type { Reply, Task, ThreadMessage } from './protocol.ts';

/** Element types of tensors in the arena. */
export type ElementType = 'uint8' | 'int32' | 'float32';

/** A tensor that lies in the arena: the worker reads inputs and writes outputs there in place. */
export interface ArenaTensor {
  /** Name of the graph's input or output. */
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Offset from the arena's beginning, in bytes; a multiple of 64. */
  readonly byteOffset: number;
}

/** ONNX Runtime in a thread of its own: `run` blocks whoever calls it, so nobody else does. */
export interface OnnxWorker extends AsyncDisposable {
  /** Preallocated memory that both sides see. */
  readonly arena: SharedArrayBuffer;
  /** Loads a graph under a name. Once per process: releasing and loading again leaks. */
  load(session: string, graphPath: string): Promise<void>;
  /** Runs one graph; resolves when the outputs stand in the arena. Calls are served one after another. */
  run(session: string, inputs: readonly ArenaTensor[], outputs: readonly ArenaTensor[]): Promise<void>;
}

export interface OnnxWorkerOptions {
  readonly arenaBytes: number;
  /** intra-op threads; ONNX Runtime does not see a cgroup's quota. */
  readonly threads: number;
}

interface Pending {
  resolve(): void;
  reject(fault: Error): void;
}

/** Starts the inference thread. */
export function startOnnxWorker({ arenaBytes, threads }: OnnxWorkerOptions): OnnxWorker {
  const arena = new SharedArrayBuffer(arenaBytes);
  const thread = new Worker(new URL('./thread.ts', import.meta.url));
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let ended: Error | undefined;

  const post = (message: ThreadMessage) => thread.postMessage(message);
  const perform = (task: Task): Promise<void> =>
    new Promise((resolve, reject) => {
      if (ended) {
        reject(ended);
        return;
      }
      const id = ++lastId;
      pending.set(id, { resolve, reject });
      post({ kind: 'task', id, task });
    });
  const end = (fault: Error) => {
    ended ??= fault;
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  };

  thread.onmessage = (event: MessageEvent<Reply>) => {
    const { id, fault } = event.data;
    const waiter = pending.get(id);
    pending.delete(id);
    if (fault === undefined) waiter?.resolve();
    else waiter?.reject(new Error(fault));
  };
  thread.onerror = (event) => end(new Error(`the inference thread failed: ${event.message}`));
  thread.addEventListener('close', () => end(new Error('the inference thread has ended')));
  post({ kind: 'start', arena, threads });

  return {
    arena,
    load: (session, graphPath) => perform({ kind: 'load', session, graphPath }),
    run: (session, inputs, outputs) => perform({ kind: 'run', session, inputs, outputs }),
    async [Symbol.asyncDispose]() {
      end(new Error('the inference thread was stopped'));
      thread.terminate();
    },
  };
}
