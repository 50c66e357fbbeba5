import type { Reply, Task, ThreadMessage } from './protocol.ts';

/** The inference thread has ended, and what it was busy with is not done. */
export class InferenceThreadError extends Error {
  override readonly name = 'InferenceThreadError';
}

/** One thread that owns sessions and computes on the arena. */
export interface InferenceThread {
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
export function startInferenceThread(
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
