import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { describeEnd } from '../../child-process.ts';
import { childEnvironment } from '../../config.ts';
import { createLineReader } from '../../contract/event-stream.ts';
import { precisionSettings } from '../../precision.ts';
import { ModelStoreError, storageFailure, unsoundCheckpoint } from './storage-error.ts';

/** The job of the compile process, as JSON in its first argument. */
export const compileJobSchema = v.object({
  /** A checkpoint file; absent: the demo model. */
  checkpointPath: v.optional(v.string()),
  name: v.string(),
  sha256: v.string(),
  precision: v.picklist(precisionSettings),
  /** An empty folder for the graphs. */
  directory: v.string(),
});
export type CompileJob = v.InferOutput<typeof compileJobSchema>;

/** Messages of the compile process: JSON lines on its standard output. The last is `done` or `failed`. */
const compileMessageSchema = v.variant('kind', [
  v.object({ kind: v.literal('progress'), percent: v.number() }),
  v.object({ kind: v.literal('done') }),
  v.object({
    kind: v.literal('failed'),
    /** The cause: the checkpoint, the folder, or a bug. */
    fault: v.picklist(['checkpoint', 'storage', 'internal']),
    message: v.string(),
    /** The file system's error code, if any. */
    errno: v.optional(v.string()),
  }),
]);
export type CompileMessage = v.InferOutput<typeof compileMessageSchema>;

const compileMessageLine = v.pipe(v.string(), v.parseJson(), compileMessageSchema);

/** The program that compiles; tests replace it. */
export const compileChildPath = join(import.meta.dir, 'compile-child.ts');

/**
 * Compiles a checkpoint in a child process.
 * @throws ModelStoreError checkpoint_unsound, storage_full, storage_failed, compile_failed
 */
export async function compileInChild(
  job: CompileJob,
  childPath: string,
  onPercent: (percent: number) => void,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  let outcome: Exclude<CompileMessage, { kind: 'progress' }> | undefined;
  await using child = Bun.spawn([process.execPath, childPath, JSON.stringify(job)], {
    env: childEnvironment(),
    // Nothing is written to it. When it closes, the child knows that its parent has ended.
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const stop = () => child.kill('SIGKILL');
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const message of messagesOf(child.stdout)) {
      if (message.kind === 'progress') onPercent(message.percent);
      else outcome = message;
    }
    await child.exited;
  } finally {
    signal.removeEventListener('abort', stop);
  }
  signal.throwIfAborted();
  if (outcome?.kind === 'done') return;
  throw outcome === undefined ? endedEarly(child.signalCode, child.exitCode) : failure(outcome, job);
}

async function* messagesOf(output: ReadableStream<Uint8Array>): AsyncGenerator<CompileMessage> {
  const decoder = new TextDecoder();
  const readLines = createLineReader();
  for await (const chunk of output) {
    for (const line of readLines(decoder.decode(chunk, { stream: true }))) {
      const message = v.safeParse(compileMessageLine, line);
      // Lines that libraries print are ignored.
      if (message.success) yield message.output;
    }
  }
}

function failure(outcome: Extract<CompileMessage, { kind: 'failed' }>, job: CompileJob): ModelStoreError {
  switch (outcome.fault) {
    case 'checkpoint':
      return unsoundCheckpoint(outcome.message);
    case 'storage':
      return storageFailure(
        dirname(job.directory),
        Object.assign(new Error(outcome.message), { code: outcome.errno }),
      );
    case 'internal':
      return new ModelStoreError('compile_failed', `The model could not be compiled: ${outcome.message}`);
  }
}

function endedEarly(signalCode: string | number | null, exitCode: number | null): ModelStoreError {
  // On Linux, only the out-of-memory killer sends SIGKILL unasked.
  const hint = signalCode === 'SIGKILL' ? ' The system usually does that when memory runs out.' : '';
  return new ModelStoreError(
    'compile_failed',
    `The process that compiles the model ended with ${describeEnd(exitCode, signalCode)}.${hint}`,
  );
}
