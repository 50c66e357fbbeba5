import { type HostTensor, type NamedTensors, type OnnxSession, openSession } from './session.ts';
import type { ArenaTensor, Reply, StartMessage, Task, ThreadMessage } from './worker.ts';

/** Runs inside a Bun Worker: owns the sessions, and computes on the arena. */

declare const self: Worker;

const sessions = new Map<string, OnnxSession>();
let start: StartMessage | undefined;
// `run` returns a promise although it blocks: a chain keeps the order of the tasks.
let last: Promise<void> = Promise.resolve();

self.onmessage = (event: MessageEvent<ThreadMessage>) => {
  const message = event.data;
  if (message.kind === 'start') {
    start = message;
    return;
  }
  last = last.then(async () => {
    const reply: Reply = await perform(message.task).then(
      () => ({ id: message.id }),
      (fault: unknown) => ({ id: message.id, fault: fault instanceof Error ? fault.message : String(fault) }),
    );
    self.postMessage(reply);
  });
};

async function perform(task: Task): Promise<void> {
  if (!start) throw new Error('This is a bug: the inference thread got a task before its arena');
  if (task.kind === 'load') {
    const { threads } = start;
    const { inputShapes } = task;
    sessions.set(task.session, await openSession(task.graphPath, { threads, inputShapes }));
    return;
  }
  const session = sessions.get(task.session);
  if (!session) throw new Error(`This is a bug: no session "${task.session}" is loaded`);
  const { arena } = start;
  await session.run(named(arena, task.inputs), named(arena, task.outputs));
}

function named(arena: SharedArrayBuffer, tensors: readonly ArenaTensor[]): NamedTensors {
  return Object.fromEntries(tensors.map((tensor) => [tensor.name, view(arena, tensor)]));
}

function view(arena: SharedArrayBuffer, { type, dims, byteOffset }: ArenaTensor): HostTensor {
  const length = dims.reduce((product, dim) => product * dim, 1);
  switch (type) {
    case 'uint8':
      return { type, dims, data: new Uint8Array(arena, byteOffset, length) };
    case 'int32':
      return { type, dims, data: new Int32Array(arena, byteOffset, length) };
    case 'float32':
      return { type, dims, data: new Float32Array(arena, byteOffset, length) };
  }
}
