import { tmpdir } from 'node:os';
import { type ManifestModel, manifest } from '../../../models/manifest.ts';
import type { Config } from '../../config.ts';
import type { Log } from '../../log.ts';
import { compileChildPath } from './compile-process.ts';
import type { LogTimings, ReportProgress, Terminal } from './progress-display.ts';
import { usualDirectories } from './search.ts';

/** Every pause and time limit of the store; tests shorten them. */
export interface StoreTimings extends LogTimings {
  /** From a request to the first byte of its answer. A dead source must cost seconds only. */
  readonly responseTimeoutMs: number;
  /** A transfer without a byte for this long is cut and resumed. */
  readonly stallTimeoutMs: number;
  /** Failures in a row of one source, without progress, before the next source is asked. */
  readonly attempts: number;
  /** Pause before the second attempt; doubles each time. */
  readonly backOffMs: number;
  readonly backOffLimitMs: number;
  /** A lock that its holder has not renewed for this long belongs to a dead process. */
  readonly lockStaleMs: number;
  /** How often a waiting process looks again. */
  readonly pollMs: number;
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

/** What the store works with. All but the first two default to the service's own values. */
export interface StoreOptions {
  readonly model: Config['model'];
  readonly log: Log;
  readonly models?: readonly ManifestModel[];
  readonly usualDirectories?: readonly string[];
  readonly temporaryParent?: string;
  /** Where a progress bar is drawn; null: the log reports progress instead. */
  readonly terminal?: Terminal | null;
  readonly timings?: Partial<StoreTimings>;
  readonly compileChildPath?: string;
}

/** Options with every default filled in. */
export type StoreContext = Required<Omit<StoreOptions, 'timings'>> & { readonly timings: StoreTimings };

/** What accompanies one attempt to prepare a model. */
export interface StoreWork extends StoreContext {
  readonly report: ReportProgress;
  readonly signal: AbortSignal;
}

export function storeContext(options: StoreOptions): StoreContext {
  return {
    models: manifest,
    usualDirectories: usualDirectories(),
    temporaryParent: tmpdir(),
    terminal: process.stderr.isTTY ? process.stderr : null,
    compileChildPath,
    ...options,
    timings: { ...defaultTimings, ...options.timings },
  };
}
