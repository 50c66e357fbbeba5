import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { describeEnd } from '../../child-process.ts';
import { childEnvironment } from '../../config.ts';
import { ModelStoreError, storageFailure, unsoundCheckpoint } from './storage-error.ts';

/** What the compile process is told, as JSON in its first argument. */
export const compileJobSchema = v.object({
  /** A checkpoint file; absent: the demo model. */
  checkpointPath: v.optional(v.string()),
  name: v.string(),
  sha256: v.string(),
  precision: v.picklist(['auto', 'fp32', 'int8']),
  /** An empty folder for the graphs. */
  directory: v.string(),
});
export type CompileJob = v.InferOutput<typeof compileJobSchema>;

/** What the compile process says on its standard output, a JSON line each; the last word is `done` or `failed`. */
const compileMessageSchema = v.variant('kind', [
  v.object({ kind: v.literal('progress'), percent: v.number() }),
  v.object({ kind: v.literal('done') }),
  v.object({
    kind: v.literal('failed'),
    /** Whose fault it is: the checkpoint's, the folder's, or ours. */
    fault: v.picklist(['checkpoint', 'storage', 'internal']),
    message: v.string(),
    /** The file system's word, where it has one. */
    errno: v.optional(v.string()),
  }),
]);
export type CompileMessage = v.InferOutput<typeof compileMessageSchema>;

const compileMessageLine = v.pipe(v.string(), v.parseJson(), compileMessageSchema);

/** The program that compiles; tests take the place of it. */
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
    // Never written to: its end tells the child that we are gone.
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
  let rest = '';
  for await (const chunk of output) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = v.safeParse(compileMessageLine, line);
      // A stray line of some library is not worth failing for.
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
