import { NotSortedError } from '../sorting/not-sorted-error.ts';
import type { Tally } from './tally.ts';

/** Sorts one file; where that one cannot be sorted, it is named, and the others go on. */
export async function orFault<T>(tally: Tally, file: string, sort: () => Promise<T>): Promise<T | undefined> {
  try {
    return await sort();
  } catch (fault) {
    if (!(fault instanceof NotSortedError)) throw fault;
    tally.fault(file, fault.message);
    return undefined;
  }
}
