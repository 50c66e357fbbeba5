/**
 * How one request spends its time, in milliseconds. The times of pictures that are processed in parallel are added, so
 * the sum may be longer than the request.
 */
export interface WorkTimes {
  /** Waiting for a place. */
  queueMs: number;
  decodeMs: number;
  /** Waiting in the batcher. */
  batchWaitMs: number;
  inferenceMs: number;
  /** Waiting for the embeddings of all labels, from the cache or from the model. */
  labelsMs: number;
}

/** Accompanies all work of one request or command. */
export interface WorkContext {
  /** Aborted when the client leaves: queued work is dropped, waiting calls reject with its reason. */
  readonly signal: AbortSignal;
  /** The work adds its durations here. */
  readonly times?: WorkTimes;
}
