/**
 * Where the time of one request goes, in milliseconds. Pictures are worked on side by side, and batches hold pictures
 * of several requests: their times are added up, and the sum may be more than has passed.
 */
export interface WorkTimes {
  /** Waiting for a place. */
  queueMs: number;
  decodeMs: number;
  /** Waiting in the batcher. */
  batchWaitMs: number;
  inferenceMs: number;
  /** Until the embeddings of all labels are there, from the cache or from the model. */
  labelsMs: number;
}

/** What accompanies all work of one request or command. */
export interface WorkContext {
  /** Aborted when the client leaves: queued work is dropped, waiting calls reject with its reason. */
  readonly signal: AbortSignal;
  /** The work adds its durations here. */
  readonly times?: WorkTimes;
}
