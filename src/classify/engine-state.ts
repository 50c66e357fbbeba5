import type { LoadingProgress } from '../clip/store/loading-progress.ts';
import type { Classifier } from './classifier.ts';

export type { LoadingProgress };

/**
 * What the service can do right now. `sentence` is for a person; where the model cannot be had it
 * names the file to put where.
 */
export type EngineState =
  | { readonly state: 'loading'; readonly sentence: string; readonly progress: LoadingProgress }
  | { readonly state: 'unavailable'; readonly sentence: string; readonly retryAfterSeconds: number }
  | { readonly state: 'ready'; readonly classifier: Classifier };
