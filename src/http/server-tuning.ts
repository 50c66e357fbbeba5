import type { AdmissionLimits } from './admission.ts';
import type { Patience, ResourceLimits } from './resources.ts';
import type { SpoolOptions } from './spool.ts';
import type { NewsPace } from './video/progress-news.ts';

/** What no operator needs to set. */
export interface ServerTuning {
  readonly admission: AdmissionLimits;
  readonly videoAdmission: AdmissionLimits;
  /** Takes the place of what is made of the memory that there is (tests). */
  readonly resources: Partial<ResourceLimits>;
  readonly spool: SpoolOptions;
  /** Of a picture that is too large, so much more is read for the sake of those behind it. */
  readonly passedOverBytes: number;
  readonly progress: NewsPace;
  readonly patience: Patience;
  /** When the service stops. */
  readonly hurriedPatience: Patience;
  /** A connection on which nothing happens between requests is closed. */
  readonly idleTimeoutSeconds: number;
  /** How long the last answers may take on their way out when the service stops. */
  readonly closeGraceMs: number;
}

export const defaultTuning: ServerTuning = {
  // Together with the two dozen that the engine has in hand, a second or two of work on two cores. Of those that are
  // let in, many may become complete in the same moment.
  admission: { waiting: 48, waitingAtMost: 256, waitMs: 60_000 },
  // One or two are looked through at a time, each for seconds or minutes.
  videoAdmission: { waiting: 16, waitingAtMost: 64, waitMs: 600_000 },
  resources: {},
  spool: {},
  // Four times what a picture may have: some camera's raw file among the others.
  passedOverBytes: 256 * 1024 ** 2,
  // Fast enough for a moving bar; proxies take a connection for dead after 30 seconds or more.
  progress: { paceMs: 300, quietMs: 10_000 },
  // 1 KiB a second: the slowest phone line does five times that.
  patience: { waitMs: 60_000, msPerKibibyte: 1000 },
  // 13 KiB a second.
  hurriedPatience: { waitMs: 5000, msPerKibibyte: 80 },
  idleTimeoutSeconds: 30,
  closeGraceMs: 1000,
};
