import { ServiceError } from '../../errors.ts';
import { UsageError } from '../usage-error.ts';
import type { FileOutcome } from './answers.ts';

/** So many files in a row say that it is not the files. */
const MOST_IN_A_ROW = 20;

/** Faults that are none of a file's own: another run may answer it. */
const passingCodes: ReadonlySet<string> = new Set([
  'file_unreadable',
  'internal',
  'engine_restarting',
  'multipart_malformed',
  'multipart_too_large',
  'files_too_many',
  'files_broken',
  'file_name_invalid',
]);

/** Whether a broken file is asked about again by the next run. */
export function isPassing({ code }: { readonly code: string }): boolean {
  return passingCodes.has(code);
}

/** What is said of a picture at which something was thrown that is not a picture's fault. */
export function unexpectedFault(thrown: unknown): ServiceError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const sentence = `Looking at it failed unexpectedly, which is a bug: ${reason}`;
  return new ServiceError('internal', sentence, {}, { cause: thrown });
}

/**
 * Ends a run in which nothing works any more. One file that fails in whatever way is named, and the others go on;
 * where each one fails, the reason is another.
 * @returns to be told of every file's outcome in turn; undefined: it was not broken. It throws UsageError.
 */
export function createFaultWatch(): (outcome: FileOutcome | undefined) => void {
  let inARow = 0;
  return (outcome) => {
    // What the disk does not give says nothing of the engine.
    const isUnexpected =
      outcome?.kind === 'broken' && isPassing(outcome) && outcome.code !== 'file_unreadable';
    if (!isUnexpected) {
      if (outcome?.kind !== 'skipped') inARow = 0;
      return;
    }
    inARow += 1;
    if (inARow < MOST_IN_A_ROW) return;
    throw new UsageError(
      `${inARow} files in a row could not be answered, so the reason is not the files. Of the last one: ${outcome.error}`,
    );
  };
}
