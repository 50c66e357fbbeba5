import type { Activation, PixelNormalisation } from '../architecture.ts';

/** What a checkpoint's weights do not tell about their model. */
export interface ModelSettings {
  readonly activation: Activation;
  /** undefined: as in the reference, one for every 64 channels. */
  readonly visionHeads?: number | undefined;
  readonly textHeads?: number | undefined;
  /** undefined: the reference's. */
  readonly normalisation?: PixelNormalisation | undefined;
}

/** OpenAI's own files do not say it: all of their models were trained so. */
export const openaiSettings: ModelSettings = { activation: 'quick_gelu' };
