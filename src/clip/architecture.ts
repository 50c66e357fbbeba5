/** The vision transformer of a CLIP model. Sizes in pixels or in channels. */
export interface VisionArchitecture {
  /** Side of the square picture the model takes, in pixels. */
  readonly imageResolution: number;
  /** Side of one patch, in pixels. */
  readonly patchSize: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
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

/** What the shapes of a checkpoint's weights decide, as in the reference's `build_model`. */
export interface ClipArchitecture {
  readonly embeddingDimension: number;
  readonly activation: Activation;
  readonly vision: VisionArchitecture;
  readonly text: TextArchitecture;
}
