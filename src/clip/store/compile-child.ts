import { writeSync } from 'node:fs';
import * as v from 'valibot';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/checkpoint-file.ts';
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts';
import { demoCheckpoint } from '../demo/demo-checkpoint.ts';
import { UnusableWeightError } from '../graph/named-weights.ts';
import { compileAtPrecision } from '../precision/compile-at-precision.ts';
import { type CompileMessage, compileJobSchema } from './compile-process.ts';
import { percentOf } from './progress-display.ts';
import { errnoOf, messageOf, storageErrnos } from './storage-error.ts';

/**
 * Compiles one checkpoint in a process of its own, so that the memory it takes goes back to the
 * system. Whoever started it hears of progress and of the outcome.
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

/** Passes progress on, a whole percent at a time. */
function sayPercent(): (share: number) => void {
  let said = 0;
  return (share) => {
    const percent = percentOf(share, 1);
    if (percent > said) say({ kind: 'progress', percent });
    said = percent;
  };
}

/** Synchronous, so that the last word is out before the process ends. */
function say(message: CompileMessage): void {
  try {
    writeSync(1, `${JSON.stringify(message)}\n`);
  } catch {
    // Nobody listens any more.
    process.exit(1);
  }
}

// Standard input ends with the parent, and nobody would use what is compiled for a parent that is gone.
process.stdin.resume().on('end', () => process.exit(1));
await main();
process.exit(0);
