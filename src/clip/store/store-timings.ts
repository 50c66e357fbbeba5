/** Every pause and patience of the store, in one place; tests shorten them. */
export interface StoreTimings {
  /** From asking a source to its first byte. A dead one must cost seconds only. */
  readonly responseTimeoutMs: number;
  /** Without a byte for so long, a transfer is cut and resumed. */
  readonly stallTimeoutMs: number;
  /** Failures in a row at one source without getting further, before the next one is tried. */
  readonly attempts: number;
  /** Pause before the second attempt; doubles each time. */
  readonly backOffMs: number;
  readonly backOffLimitMs: number;
  /** A lock whose holder has not renewed it for so long belongs to a dead process. */
  readonly lockStaleMs: number;
  /** How often a waiting process looks again. */
  readonly pollMs: number;
  /** The shortest and longest time between two log lines about one download. */
  readonly logAtLeastEveryMs: number;
  readonly logAtMostEveryMs: number;
}

export const defaultTimings: StoreTimings = {
  responseTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
  attempts: 5,
  backOffMs: 1000,
  backOffLimitMs: 30_000,
  lockStaleMs: 10_000,
  pollMs: 1000,
  logAtLeastEveryMs: 15_000,
  logAtMostEveryMs: 3000,
};
