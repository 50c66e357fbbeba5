import type { AdmissionLimits } from './admission.ts';
import type { StallLimit } from './body.ts';
import type { NewsPace } from './video/progress-news.ts';
import type { SpoolOptions } from './video/spool.ts';

/** What no operator needs to set. */
export interface ServerTuning {
  readonly admission: AdmissionLimits;
  readonly videoAdmission: AdmissionLimits;
  readonly spool: SpoolOptions;
  readonly progress: NewsPace;
  readonly stall: StallLimit;
  /** A connection on which nothing happens between requests is closed. */
  readonly idleTimeoutSeconds: number;
  /** How long the last answers may take on their way out when the service stops. */
  readonly closeGraceMs: number;
}

export const defaultTuning: ServerTuning = {
  // Each running request holds one picture (at most 64 MiB, mostly some 5 MB) beside those in the engine;
  // eight keep it busy also where some clients are slow. Waiting ones hold a socket's buffer (30 KB).
  admission: { running: 8, waiting: 64, silent: 512 },
  // Each has its video on the disk: one or two are looked through, the others arrive meanwhile.
  videoAdmission: { running: 4, waiting: 16, silent: 128 },
  spool: {},
  // Fast enough for a moving bar; proxies take a connection for dead after 30 seconds or more.
  progress: { paceMs: 300, quietMs: 10_000 },
  // About 1 KiB a second: the slowest phone line does five times that.
  // Whoever is slower than 13 KiB a second must not hold the place that somebody else waits for.
  stall: { waitMs: 60_000, contendedWaitMs: 5000, stretchBytes: 64 * 1024 },
  idleTimeoutSeconds: 30,
  closeGraceMs: 1000,
};
