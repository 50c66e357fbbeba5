import { tmpdir } from 'node:os';
import { type ManifestModel, manifest } from '../../../models/manifest.ts';
import type { Config } from '../../config.ts';
import type { Log } from '../../log.ts';
import { compileChildPath } from './compile-process.ts';
import type { Terminal } from './progress-display.ts';
import { usualDirectories } from './search.ts';
import { defaultTimings, type StoreTimings } from './store-timings.ts';

/** What the store works with. All but the first two have the service's own values by default. */
export interface StoreOptions {
  readonly model: Config['model'];
  readonly log: Log;
  readonly models?: readonly ManifestModel[];
  readonly usualDirectories?: readonly string[];
  readonly temporaryParent?: string;
  /** Where a bar is drawn; null: nowhere, the log tells of progress. */
  readonly terminal?: Terminal | null;
  readonly timings?: Partial<StoreTimings>;
  readonly compileChildPath?: string;
}

/** Options with every default filled in. */
export type StoreContext = Required<Omit<StoreOptions, 'timings'>> & { readonly timings: StoreTimings };

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
