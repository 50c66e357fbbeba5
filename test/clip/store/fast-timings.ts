import { defaultTimings, type StoreTimings } from '../../../src/clip/store/store-context.ts';

/** Short timings, so that tests do not wait long, but longer than the pauses of a busy machine. */
export const fastTimings: StoreTimings = {
  ...defaultTimings,
  responseTimeoutMs: 2000,
  stallTimeoutMs: 1500,
  attempts: 3,
  backOffMs: 10,
  backOffLimitMs: 20,
  // The least that the lock itself allows.
  lockStaleMs: 2000,
  pollMs: 50,
};
