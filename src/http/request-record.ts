import type { WorkTimes } from '../classify/classifier.ts';
import type { ErrorCode } from '../errors.ts';
import { requestIdOf } from './request-id.ts';

/** What an endpoint notes of a request while it works on it. */
export interface RequestTally {
  files: number;
  /** Of the body, as far as it was read. */
  bytes: number;
  /** How long the client kept us waiting for its body. */
  uploadMs: number;
  /** Whether it was given a place. */
  isAdmitted: boolean;
  /** Where the time of what was asked for went. */
  readonly work: WorkTimes;
}

/** A request, from its head to the end of its answer: what its log line and the metrics say of it. */
export interface RequestRecord extends RequestTally {
  readonly id: string;
  readonly receivedAt: number;
  /** Why it was not answered as it was asked. */
  fault?: ErrorCode;
  /** Whether the answer's head, with status 200, had been sent before that was known. */
  isLate?: boolean;
  /** Resolves when a body that is made while it is sent has come to its end. */
  bodyEnded?: Promise<void>;
}

/** @returns the one record of each request */
export function createRecords(): (request: Request) => RequestRecord {
  const records = new WeakMap<Request, RequestRecord>();
  return (request) => {
    const known = records.get(request);
    if (known) return known;
    const record: RequestRecord = {
      id: requestIdOf(request.headers),
      receivedAt: performance.now(),
      files: 0,
      bytes: 0,
      uploadMs: 0,
      isAdmitted: false,
      work: { queueMs: 0, decodeMs: 0, batchWaitMs: 0, inferenceMs: 0, labelsMs: 0 },
    };
    records.set(request, record);
    return record;
  };
}
