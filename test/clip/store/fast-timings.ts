import { defaultTimings, type StoreTimings } from '../../../src/clip/store/store-timings.ts';

/** The store's own timings, so short that no test waits. */
export const fastTimings: StoreTimings = {
  ...defaultTimings,
  responseTimeoutMs: 400,
  stallTimeoutMs: 300,
  attempts: 3,
  backOffMs: 10,
  backOffLimitMs: 20,
  // The least that the lock itself allows.
  lockStaleMs: 2000,
  pollMs: 50,
};
