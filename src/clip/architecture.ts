import * as v from 'valibot';

const size = v.pipe(v.number(), v.integer(), v.minValue(1));
const channels = v.pipe(v.tuple([v.number(), v.number(), v.number()]), v.readonly());

/** What happens to a picture's channels, RGB, 0 to 1 each: (channel − mean) / deviation. */
const normalisationSchema = v.object({ mean: channels, deviation: channels });
export type PixelNormalisation = Readonly<v.InferOutput<typeof normalisationSchema>>;

/** The reference's `Normalize`. */
export const referenceNormalisation: PixelNormalisation = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  deviation: [0.26862954, 0.26130258, 0.27577711],
};

const visionSchema = v.object({
  /** Side of the square picture that the model takes, in pixels. */
  imageResolution: size,
  /** Side of one patch, in pixels. */
  patchSize: size,
  /** In channels. */
  width: size,
  layers: size,
  heads: size,
  /** Absent: the reference's. */
  normalisation: v.exactOptional(v.pipe(normalisationSchema, v.readonly())),
});

const textSchema = v.object({
  /** Tokens that a text may have at most, start and end included. */
  contextLength: size,
  vocabularySize: size,
  /** In channels. */
  width: size,
  layers: size,
  heads: size,
});

/** A CLIP model's architecture, as part of a compiled model's `model.json`. */
export const architectureSchema = v.object({
  embeddingDimension: size,
  activation: v.picklist(['quick_gelu', 'gelu']),
  vision: v.pipe(visionSchema, v.readonly()),
  text: v.pipe(textSchema, v.readonly()),
});

export type VisionArchitecture = Readonly<v.InferOutput<typeof visionSchema>>;
export type TextArchitecture = Readonly<v.InferOutput<typeof textSchema>>;

/**
 * What the shapes of a checkpoint's weights decide, as in the reference's `build_model`. A config beside the
 * checkpoint decides the rest.
 */
export type ClipArchitecture = Readonly<v.InferOutput<typeof architectureSchema>>;
export type Activation = ClipArchitecture['activation'];
