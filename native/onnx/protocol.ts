import type { InputShapes } from './session.ts';
import type { ArenaTensor } from './worker.ts';

/** First message to the thread. */
export interface StartMessage {
  readonly kind: 'start';
  readonly arena: SharedArrayBuffer;
  readonly threads: number;
}

export interface LoadTask {
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

export interface TaskMessage {
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
