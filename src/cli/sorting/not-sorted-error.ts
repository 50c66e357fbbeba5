/** A file could not be sorted and stays where it is; the others can. The message is a sentence. */
export class NotSortedError extends Error {
  override readonly name = 'NotSortedError';
}
