import * as v from 'valibot';
import type { ClipArchitecture } from '../architecture.ts';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { readConfigBeside } from './config-file.ts';
import type { ModelSettings } from './model-settings.ts';
import { deviationSchema, meanSchema, otherNormalisation } from './pixel-normalisation.ts';

/** What OpenCLIP calls the file (`constants.py`, `HF_CONFIG_NAME`). */
export const OPEN_CLIP_CONFIG = 'open_clip_config.json';

const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
/** A square's side, or height and width. */
const square = v.union([size, v.tuple([size, size])], 'a side, or a height and a width, is expected');

const visionSchema = v.looseObject({
  image_size: v.optional(square),
  patch_size: v.optional(square),
  width: v.optional(size),
  layers: v.optional(size),
  head_width: v.optional(size),
});
const textSchema = v.looseObject({
  context_length: v.optional(size),
  vocab_size: v.optional(size),
  width: v.optional(size),
  layers: v.optional(size),
  heads: v.optional(size),
});
const configSchema = v.object({
  model_cfg: v.looseObject({
    embed_dim: v.optional(size),
    quick_gelu: v.optional(v.boolean(), false),
    vision_cfg: v.optional(visionSchema, {}),
    text_cfg: v.optional(textSchema, {}),
  }),
  preprocess_cfg: v.optional(
    v.looseObject({
      mean: v.optional(meanSchema),
      std: v.optional(deviationSchema),
      size: v.optional(square),
    }),
    {},
  ),
});

/** The content of an `open_clip_config.json`, as OpenCLIP's `push_to_hf_hub.py` writes it. */
export type OpenClipConfig = v.InferOutput<typeof configSchema>;

/**
 * @returns undefined where no such file lies beside the checkpoint
 * @throws CheckpointError where it cannot be read
 */
export function readOpenClipConfig(checkpointPath: string): OpenClipConfig | undefined {
  return readConfigBeside(checkpointPath, OPEN_CLIP_CONFIG, "OpenCLIP's", configSchema);
}

/**
 * @param visionWidth channels of the vision tower, from its weights
 * @throws CheckpointError naming the setting by which the model differs from the reference's
 */
export function openClipSettings(config: OpenClipConfig, visionWidth: number): ModelSettings {
  const { model_cfg, preprocess_cfg } = config;
  refuseUnlikeReference('model_cfg', model_cfg, modelSettings);
  refuseUnlikeReference('model_cfg.vision_cfg', model_cfg.vision_cfg, visionSettings);
  refuseUnlikeReference('model_cfg.text_cfg', model_cfg.text_cfg, textSettings);
  refuseUnlikeReference('preprocess_cfg', preprocess_cfg, preprocessSettings);
  const { head_width } = model_cfg.vision_cfg;
  return {
    activation: model_cfg.quick_gelu ? 'quick_gelu' : 'gelu',
    visionHeads: head_width === undefined ? undefined : Math.floor(visionWidth / head_width),
    textHeads: model_cfg.text_cfg.heads,
    normalisation: otherNormalisation({ mean: preprocess_cfg.mean, deviation: preprocess_cfg.std }),
  };
}

/** What a section of the config may say of a model that computes what the reference's does. */
interface SectionSettings {
  /** Read elsewhere, or without a say in the answers. */
  readonly read: RegExp;
  /** Settings with the one value that the reference's model has. All others have to be off. */
  readonly fixed: Readonly<Record<string, unknown>>;
}

const modelSettings: SectionSettings = {
  read: /^(embed_dim|quick_gelu|vision_cfg|text_cfg|custom_text|(init|nonscalar)_logit_(scale|bias)|cast_dtype|output_dict)$/,
  fixed: {},
};

const visionSettings: SectionSettings = {
  read: /^(image_size|patch_size|width|layers|head_width|patch_dropout|output_tokens|attn_pooler_.+|timm_(?!model_name).+)$/,
  fixed: { mlp_ratio: 4, pool_type: 'tok', pos_embed_type: 'learnable', block_type: 'default' },
};

const textSettings: SectionSettings = {
  read: /^(context_length|vocab_size|width|layers|heads|output_tokens|pad_id|eos_id|hf_(model_pretrained|proj_type|pooler_type))$/,
  fixed: { mlp_ratio: 4, pool_type: 'argmax', proj_type: 'linear', block_type: 'default' },
};

const preprocessSettings: SectionSettings = {
  read: /^(mean|std|size|fill_color)$/,
  fixed: { mode: 'RGB', interpolation: 'bicubic', resize_mode: 'shortest' },
};

/** Enough for a number or a name. */
const SHOWN_CHARACTERS = 80;

/** A setting of a later OpenCLIP, too, may only be passed over while it is off. */
function refuseUnlikeReference(
  section: string,
  settings: Readonly<Record<string, unknown>>,
  { read, fixed }: SectionSettings,
): void {
  for (const [name, value] of Object.entries(settings)) {
    if (read.test(name) || isOff(value) || (Object.hasOwn(fixed, name) && fixed[name] === value)) continue;
    const accepted = Object.hasOwn(fixed, name)
      ? `only ${JSON.stringify(fixed[name])} is supported`
      : "OpenAI's CLIP has no such thing, and only its architecture is supported";
    const shown = JSON.stringify(value).slice(0, SHOWN_CHARACTERS);
    throw new CheckpointError(
      `${quote(`${section}.${name}`)} of its ${OPEN_CLIP_CONFIG} is ${shown}; ${accepted}`,
    );
  }
}

function isOff(value: unknown): boolean {
  const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  return value === null || value === false || isEmpty;
}

/**
 * Checks that the config tells of these weights: several models may share a folder.
 * @throws CheckpointError where it is another model's
 */
export function refuseOtherSizes(
  { model_cfg, preprocess_cfg }: OpenClipConfig,
  { embeddingDimension, vision, text }: ClipArchitecture,
): void {
  const { vision_cfg, text_cfg } = model_cfg;
  const claims: readonly (readonly [name: string, claimed: unknown, actual: number])[] = [
    ['embed_dim', model_cfg.embed_dim, embeddingDimension],
    ['vision_cfg.image_size', vision_cfg.image_size, vision.imageResolution],
    ['vision_cfg.patch_size', vision_cfg.patch_size, vision.patchSize],
    ['vision_cfg.width', vision_cfg.width, vision.width],
    ['vision_cfg.layers', vision_cfg.layers, vision.layers],
    ['text_cfg.context_length', text_cfg.context_length, text.contextLength],
    ['text_cfg.vocab_size', text_cfg.vocab_size, text.vocabularySize],
    ['text_cfg.width', text_cfg.width, text.width],
    ['text_cfg.layers', text_cfg.layers, text.layers],
    ['preprocess_cfg.size', preprocess_cfg.size, vision.imageResolution],
  ];
  for (const [name, claimed, actual] of claims) {
    const sides = claimed === undefined ? [] : [claimed].flat();
    if (sides.every((side) => side === actual)) continue;
    throw new CheckpointError(
      `the ${OPEN_CLIP_CONFIG} beside it is another model's: it gives ${name} as ${JSON.stringify(claimed)}, the weights ${actual}`,
    );
  }
}
