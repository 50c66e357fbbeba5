import { defaultTimings, type StoreTimings } from '../../../src/clip/store/store-context.ts';

/** The store's own timings, so short that tests wait for moments alone, but longer than a busy machine stands still. */
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
