import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import * as v from 'valibot';
import { publishedActivation } from '../../../models/manifest.ts';
import {
  type Activation,
  type ClipArchitecture,
  type PixelNormalisation,
  referenceNormalisation,
} from '../architecture.ts';
import { CheckpointError, type CheckpointLayout, quote } from './checkpoint.ts';

/** What a checkpoint's weights do not decide. */
export interface ModelSettings {
  readonly activation: Activation;
  /** undefined: as in the reference, one for every 64 channels. */
  readonly visionHeads?: number | undefined;
  readonly textHeads?: number | undefined;
  /** undefined: the reference's. */
  readonly normalisation?: PixelNormalisation | undefined;
}

/** OpenAI's files do not name it; all of their models were trained with it. */
const openaiSettings: ModelSettings = { activation: 'quick_gelu' };

const MAX_CONFIG_BYTES = 1024 ** 2;

/**
 * Reads a JSON document in a checkpoint's folder.
 * @param kind of model that the document should describe, for error sentences
 * @returns undefined if there is none
 * @throws CheckpointError if it cannot be read, or describes something else
 */
function readConfigBeside<Schema extends v.GenericSchema>(
  checkpointPath: string,
  fileName: string,
  kind: string,
  schema: Schema,
): v.InferOutput<Schema> | undefined {
  const text = readText(join(dirname(checkpointPath), fileName), fileName);
  if (text === undefined) return undefined;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`the ${fileName} beside it is not one of ${kind} (it is not JSON)`, {
      cause: error,
    });
  }
  const parsed = v.safeParse(schema, document);
  if (parsed.success) return parsed.output;
  const faults = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'the document'}: ${issue.message}`);
  throw new CheckpointError(`the ${fileName} beside it is not one of ${kind} (${faults.join('; ')})`);
}

function readText(path: string, fileName: string): string | undefined {
  try {
    const size = statSync(path).size;
    if (size > MAX_CONFIG_BYTES) throw new CheckpointError(`the ${fileName} beside it has ${size} bytes`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new CheckpointError(`the ${fileName} beside it cannot be read (${String(error)})`, {
      cause: error,
    });
  }
}

/** What transformers calls the file. */
const HUGGING_FACE_CONFIG = 'config.json';

const towerSchema = v.optional(
  v.object({
    hidden_act: v.optional(v.string()),
    num_attention_heads: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  }),
  {},
);
const huggingFaceSchema = v.object({ vision_config: towerSchema, text_config: towerSchema });

/**
 * Reads the `config.json` beside a checkpoint. Its defaults are the settings of OpenAI's models, as in transformers.
 * @returns undefined if there is none
 * @throws CheckpointError if it cannot be read, or names an unknown activation
 */
function readHuggingFaceConfig(checkpointPath: string): ModelSettings | undefined {
  const config = readConfigBeside(checkpointPath, HUGGING_FACE_CONFIG, 'a CLIP model', huggingFaceSchema);
  if (config === undefined) return undefined;
  const vision = knownActivation(config.vision_config.hidden_act);
  const text = knownActivation(config.text_config.hidden_act);
  if (vision !== text) {
    throw new CheckpointError(
      `its config.json gives its towers different activations: ${vision} and ${text}`,
    );
  }
  return {
    activation: vision,
    visionHeads: config.vision_config.num_attention_heads,
    textHeads: config.text_config.num_attention_heads,
  };
}

function knownActivation(name = 'quick_gelu'): Activation {
  if (name === 'quick_gelu' || name === 'gelu') return name;
  throw new CheckpointError(
    `its config.json names the activation ${quote(name)}; quick_gelu and gelu are known`,
  );
}

const finite = v.pipe(v.number(), v.finite());
const positive = v.pipe(finite, v.gtValue(0));

const meanSchema = v.strictTuple([finite, finite, finite]);
const deviationSchema = v.strictTuple([positive, positive, positive]);

/** Some exports went through float32. */
const TOLERANCE = 1e-6;

/**
 * @param mean of a config; undefined: the reference's
 * @param deviation of a config; undefined: the reference's
 * @returns undefined if it is the reference's
 */
function otherNormalisation({
  mean = referenceNormalisation.mean,
  deviation = referenceNormalisation.deviation,
}: {
  readonly mean: PixelNormalisation['mean'] | undefined;
  readonly deviation: PixelNormalisation['deviation'] | undefined;
}): PixelNormalisation | undefined {
  const same =
    isClose(mean, referenceNormalisation.mean) && isClose(deviation, referenceNormalisation.deviation);
  return same ? undefined : { mean, deviation };
}

function isClose(given: readonly number[], expected: readonly number[]): boolean {
  return given.every((value, channel) => Math.abs(value - expected[channel]!) < TOLERANCE);
}

const FILE_NAME = 'preprocessor_config.json';

/** Pillow's number. */
const BICUBIC = 3;

const preprocessorSchema = v.object({
  image_mean: v.optional(meanSchema),
  image_std: v.optional(deviationSchema),
  resample: v.optional(v.number()),
  size: v.optional(v.union([v.number(), v.record(v.string(), v.number())])),
});

/**
 * Reads the `preprocessor_config.json` that transformers keeps beside a checkpoint.
 * @returns its normalisation of pixels; undefined: the reference's
 * @throws CheckpointError that names another difference from the reference's preprocessing
 */
function readHuggingFaceNormalisation(checkpointPath: string): PixelNormalisation | undefined {
  const config = readConfigBeside(checkpointPath, FILE_NAME, 'a CLIP model', preprocessorSchema);
  if (config === undefined) return undefined;
  if (config.resample !== undefined && config.resample !== BICUBIC) {
    throw new CheckpointError(
      `"resample" of its ${FILE_NAME} is ${config.resample}; only ${BICUBIC}, bicubic, is supported`,
    );
  }
  if (typeof config.size === 'object' && !('shortest_edge' in config.size)) {
    throw new CheckpointError(
      `"size" of its ${FILE_NAME} is ${JSON.stringify(config.size)}, which squashes pictures; only a "shortest_edge" is supported`,
    );
  }
  return otherNormalisation({ mean: config.image_mean, deviation: config.image_std });
}

/** What OpenCLIP calls the file (`constants.py`, `HF_CONFIG_NAME`). */
const OPEN_CLIP_CONFIG = 'open_clip_config.json';

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
type OpenClipConfig = v.InferOutput<typeof configSchema>;

/**
 * @returns undefined if the checkpoint's folder has no such file
 * @throws CheckpointError if it cannot be read
 */
function readOpenClipConfig(checkpointPath: string): OpenClipConfig | undefined {
  return readConfigBeside(checkpointPath, OPEN_CLIP_CONFIG, "OpenCLIP's", configSchema);
}

/**
 * @param visionWidth channels of the vision tower, from its weights
 * @throws CheckpointError that names a setting by which the model differs from the reference's
 */
function openClipSettings(config: OpenClipConfig, visionWidth: number): ModelSettings {
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

/** The settings in a section of the config that leave the model the same as the reference's. */
interface SectionSettings {
  /** Read elsewhere, or without effect on the answers. */
  readonly read: RegExp;
  /** Settings and their value in the reference's model. All others must be off. */
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

/** An unknown setting, perhaps of a later OpenCLIP, can only be ignored if it is off. */
function refuseUnlikeReference(
  section: string,
  settings: Readonly<Record<string, unknown>>,
  { read, fixed }: SectionSettings,
): void {
  for (const [name, value] of Object.entries(settings)) {
    if (read.test(name) || isOff(value) || (Object.hasOwn(fixed, name) && fixed[name] === value)) continue;
    const accepted = Object.hasOwn(fixed, name)
      ? `only ${JSON.stringify(fixed[name])} is supported`
      : "OpenAI's CLIP does not have this setting, and only its architecture is supported";
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
 * Checks that the config belongs to these weights: several models may share a folder.
 * @throws CheckpointError if it belongs to another model
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
      `the ${OPEN_CLIP_CONFIG} beside it belongs to another model: it gives ${name} as ${JSON.stringify(claimed)}, the weights ${actual}`,
    );
  }
}

/** What decides a model's settings. */
interface SettingsEvidence {
  readonly path: string;
  readonly layout: CheckpointLayout;
  /** Whether the names are those of OpenCLIP's `CustomTextCLIP`. */
  readonly hasCustomText: boolean;
  /** In channels. */
  readonly visionWidth: number;
}

interface DecidedSettings extends ModelSettings {
  /** The config that gave them. The caller compares it with the weights' sizes. */
  readonly openClipConfig?: OpenClipConfig;
  /** A sentence for the operator if they were assumed. */
  readonly assumption?: string;
}

/** OpenAI's ViT-L/14. */
const WIDEST_OF_OPENAI = 1024;

/**
 * Decides what the weights do not, above all GELU or QuickGELU: with the wrong one, a model still answers, but
 * worse. A published file is recognised by its name. Otherwise the config beside the file decides. TorchScript has
 * OpenAI's settings, because only OpenAI publishes it. Without a config, a file with signs of OpenCLIP is refused,
 * because OpenCLIP has published both kinds; for any other, OpenAI's settings are assumed.
 * @throws CheckpointError
 */
export function decideSettings(evidence: SettingsEvidence): DecidedSettings {
  const { path, layout } = evidence;
  const published = publishedActivation(basename(path), layout);
  if (published !== undefined) return { activation: published };

  const sign = signOfOpenClip(evidence);
  if (layout === 'huggingface') {
    const normalisation = readHuggingFaceNormalisation(path);
    return { ...(readHuggingFaceConfig(path) ?? openaiOrRefuse(sign, HUGGING_FACE_CONFIG)), normalisation };
  }
  if (layout === 'torchscript' && sign === undefined) return openaiSettings;
  const openClipConfig = readOpenClipConfig(path);
  if (openClipConfig === undefined) return openaiOrRefuse(sign, OPEN_CLIP_CONFIG);
  return { ...openClipSettings(openClipConfig, evidence.visionWidth), openClipConfig };
}

function signOfOpenClip({ path, hasCustomText, visionWidth }: SettingsEvidence): string | undefined {
  if (basename(path).startsWith('open_clip')) return "its name is one of OpenCLIP's";
  if (hasCustomText) return 'the names of its text tower are those of OpenCLIP';
  if (visionWidth > WIDEST_OF_OPENAI) {
    return `its vision tower has ${visionWidth} channels, and OpenAI has published at most ${WIDEST_OF_OPENAI}`;
  }
  return undefined;
}

function openaiOrRefuse(sign: string | undefined, configName: string): DecidedSettings {
  if (sign !== undefined) {
    throw new CheckpointError(
      `${sign}, and it is not known whether it was trained with GELU or with QuickGELU; put the ${configName} ` +
        'that was published with it into the same folder',
    );
  }
  const assumption =
    "no file beside the checkpoint says whether it was trained with GELU or with QuickGELU; OpenAI's QuickGELU " +
    `is assumed. If that is wrong, put the ${configName} that was published with it into the same folder`;
  return { ...openaiSettings, assumption };
}
