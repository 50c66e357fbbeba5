import { writeSync } from 'node:fs';
import * as v from 'valibot';
import { errnoOf } from '../../errors.ts';
import { type Checkpoint, CheckpointError } from '../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts';
import { demoCheckpoint } from '../demo/demo-checkpoint.ts';
import { UnusableWeightError } from '../graph/named-weights.ts';
import { compileAtPrecision } from '../precision/compile-at-precision.ts';
import { type CompileMessage, compileJobSchema } from './compile-process.ts';
import { percentOf } from './progress-display.ts';
import { messageOf, storageErrnos } from './storage-error.ts';

/**
 * Compiles one checkpoint in a child process, so that its memory returns to the system. Reports progress and the
 * outcome to the parent.
 */
async function main(): Promise<void> {
  const job = v.parse(compileJobSchema, JSON.parse(process.argv[2] ?? ''));

  let checkpoint: Checkpoint;
  try {
    checkpoint =
      job.checkpointPath === undefined ? demoCheckpoint() : await openCheckpoint(job.checkpointPath);
  } catch (error) {
    say({ kind: 'failed', fault: 'checkpoint', message: messageOf(error) });
    return;
  }
  using _open = checkpoint;
  try {
    const { name, sha256, precision, directory } = job;
    const identity = { name, sha256 };
    await compileAtPrecision({ checkpoint, identity, setting: precision, directory, onShare: sayPercent() });
    say({ kind: 'done' });
  } catch (error) {
    const errno = errnoOf(error);
    const storage = errno !== undefined && storageErrnos.has(errno);
    const unsound = error instanceof CheckpointError || error instanceof UnusableWeightError;
    const fault = unsound ? 'checkpoint' : storage ? 'storage' : 'internal';
    const message = unsound
      ? `The checkpoint ${job.checkpointPath ?? job.name} cannot be used: ${messageOf(error)}.`
      : messageOf(error);
    say({ kind: 'failed', fault, message, ...(errno === undefined ? {} : { errno }) });
  }
}

/** Reports progress in whole percents. */
function sayPercent(): (share: number) => void {
  let said = 0;
  return (share) => {
    const percent = percentOf(share, 1);
    if (percent > said) say({ kind: 'progress', percent });
    said = percent;
  };
}

/** Writes synchronously, so that the last message is out before the process ends. */
function say(message: CompileMessage): void {
  try {
    writeSync(1, `${JSON.stringify(message)}\n`);
  } catch {
    // The parent has ended.
    process.exit(1);
  }
}

// Standard input closes when the parent ends. The result would not be used then.
process.stdin.resume().on('end', () => process.exit(1));
await main();
process.exit(0);
