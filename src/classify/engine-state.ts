import type { Classifier } from './classifier.ts';

/** How far a long step has come. */
export interface LoadingProgress {
  readonly stage: 'searching' | 'downloading' | 'verifying' | 'compiling' | 'warming_up';
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
  readonly secondsLeft?: number;
}

/**
 * What the service can do right now. `sentence` is for a person; where the model cannot be had it
 * names the file to put where.
 */
export type EngineState =
  | { readonly state: 'loading'; readonly sentence: string; readonly progress: LoadingProgress }
  | { readonly state: 'unavailable'; readonly sentence: string; readonly retryAfterSeconds: number }
  | { readonly state: 'ready'; readonly classifier: Classifier };
