import { errorMeanings, isErrorCode } from '../../contract/codes.ts';
import { ServiceError } from '../../errors.ts';
import { UsageError } from '../usage-error.ts';
import type { FileOutcome } from './answers.ts';

/** When this many files in a row fail, the files are not the reason. */
const MOST_IN_A_ROW = 20;

/** Whether the next run sends a broken file again, because the fault may not be the file's own. */
export function isPassing({ code }: { readonly code: string }): boolean {
  return code === 'file_unreadable' || (isErrorCode(code) && errorMeanings[code].about !== 'file');
}

/** The fault of a picture at which something was thrown that is not a ServiceError. */
export function unexpectedFault(thrown: unknown): ServiceError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const sentence = `Looking at it failed unexpectedly, which is a bug: ${reason}`;
  return new ServiceError('internal', sentence, {}, { cause: thrown });
}

/**
 * Ends a run in which every file fails. A single file that fails is reported, and the others are answered.
 * @returns to be called with each file's outcome, in order; undefined for a file that is not broken. It throws UsageError.
 */
export function createFaultWatch(): (outcome: FileOutcome | undefined) => void {
  let inARow = 0;
  return (outcome) => {
    // A fault of the disk says nothing about the engine.
    const isUnexpected =
      outcome?.kind === 'broken' && isPassing(outcome) && outcome.code !== 'file_unreadable';
    if (!isUnexpected) {
      if (outcome?.kind !== 'skipped') inARow = 0;
      return;
    }
    inARow += 1;
    if (inARow < MOST_IN_A_ROW) return;
    throw new UsageError(
      `${inARow} files in a row could not be answered, so the files are not the reason. The last one: ${outcome.error}`,
    );
  };
}
