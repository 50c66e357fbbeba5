import type { ErrorCode } from '../errors.ts';

/** What a request turned out to be, for its log line. */
export interface RequestTally {
  files: number;
  bytes: number;
  /** What went wrong after the answer's head was sent. */
  lateFault?: ErrorCode;
}
