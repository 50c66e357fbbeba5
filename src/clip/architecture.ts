/** What is done to a picture's channels, RGB, once they go from 0 to 1: (channel − mean) / deviation. */
export interface PixelNormalisation {
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/** The reference's `Normalize`. */
export const referenceNormalisation: PixelNormalisation = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  deviation: [0.26862954, 0.26130258, 0.27577711],
};

/** The vision transformer of a CLIP model. Sizes in pixels or in channels. */
export interface VisionArchitecture {
  /** Side of the square picture the model takes, in pixels. */
  readonly imageResolution: number;
  /** Side of one patch, in pixels. */
  readonly patchSize: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Absent: the reference's. */
  readonly normalisation?: PixelNormalisation;
}

/** The text transformer of a CLIP model. */
export interface TextArchitecture {
  /** Tokens a text may have at most, start and end included. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
}

export type Activation = 'quick_gelu' | 'gelu';

/**
 * What the shapes of a checkpoint's weights decide, as in the reference's `build_model`, and the config beside it
 * where they do not tell.
 */
export interface ClipArchitecture {
  readonly embeddingDimension: number;
  readonly activation: Activation;
  readonly vision: VisionArchitecture;
  readonly text: TextArchitecture;
}
