import { describe, expect, test } from 'bun:test';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import {
  type MadeTensors,
  moduleTree,
  smallArchitecture,
  smallWeights,
  stateDict,
  torchArchive,
} from './checkpoint-maker.ts';
import { toHuggingFace } from './hugging-face-maker.ts';
import { refusal } from './refusal.ts';
import { safetensors } from './safetensors-writer.ts';
import { TemporaryFolder } from './temporary-folder.ts';

const weights = smallWeights();

/** The config that OpenCLIP would write for `weights`. */
const smallConfig = {
  model_cfg: {
    embed_dim: 24,
    vision_cfg: { image_size: 6, layers: 1, width: 128, patch_size: 2 },
    text_cfg: { context_length: 7, vocab_size: 11, width: 64, heads: 1, layers: 2 },
  },
  preprocess_cfg: {
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
    interpolation: 'bicubic',
    resize_mode: 'shortest',
  },
};

interface Setting {
  readonly name?: string;
  readonly bytes?: Uint8Array;
  readonly config?: unknown;
}

/** A checkpoint in its own folder, with a config beside it if one is given. */
function placed({ name = 'open_clip_model.safetensors', bytes = safetensors(weights), config }: Setting) {
  const folder = new TemporaryFolder();
  const path = folder.write(name, bytes);
  if (config !== undefined) {
    folder.write('open_clip_config.json', typeof config === 'string' ? config : JSON.stringify(config));
  }
  return { path, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

async function opened(setting: Setting) {
  using file = placed(setting);
  using checkpoint = await openCheckpoint(file.path);
  return checkpoint;
}

async function refused(setting: Setting): Promise<string> {
  using file = placed(setting);
  return await refusal(file.path);
}

/** `smallConfig` with some settings added to one of its sections. */
function configWith(section: 'model' | 'vision' | 'text' | 'preprocess', settings: object) {
  const { model_cfg, preprocess_cfg } = structuredClone(smallConfig);
  const sections = {
    model: model_cfg,
    vision: model_cfg.vision_cfg,
    text: model_cfg.text_cfg,
    preprocess: preprocess_cfg,
  };
  Object.assign(sections[section], settings);
  return { model_cfg, preprocess_cfg };
}

const withPrefix = (prefix: string, tensors: MadeTensors): MadeTensors =>
  new Map(
    [...tensors].map(([name, made]) =>
      /^(visual\.|logit_scale$)/.test(name) ? [name, made] : [`${prefix}${name}`, made],
    ),
  );

describe("OpenCLIP's files", () => {
  test.each([
    ['open_clip_model.safetensors', safetensors(weights)],
    ['open_clip_pytorch_model.bin', torchArchive(weights, stateDict)],
    ['anything.pt', torchArchive(weights, stateDict)],
  ])('%s is read with the config beside it: GELU unless that says QuickGELU', async (name, bytes) => {
    const checkpoint = await opened({ name, bytes, config: smallConfig });
    expect(checkpoint.layout).toBe('state_dict');
    expect(checkpoint.assumption).toBeUndefined();
    expect(checkpoint.architecture).toEqual({ ...smallArchitecture, activation: 'gelu' });
    const quick = await opened({ name, bytes, config: configWith('model', { quick_gelu: true }) });
    expect(quick.architecture).toEqual(smallArchitecture);
  });

  test('are read where the text tower is a module of its own', async () => {
    const customText = withPrefix('text.', weights);
    using file = placed({ bytes: safetensors(customText), config: smallConfig });
    using checkpoint = await openCheckpoint(file.path);
    expect(checkpoint.architecture).toEqual({ ...smallArchitecture, activation: 'gelu' });
    for (const [name, { shape, values }] of weights) {
      expect(checkpoint.weights.get(name)?.shape).toEqual(shape);
      expect([...checkpoint.weights.get(name)!.read()], name).toEqual([...values]);
    }
  });

  test('have heads as wide as the config says', async () => {
    const vision = await opened({ config: configWith('vision', { head_width: 32 }) });
    expect(vision.architecture.vision.heads).toBe(4);
    const text = await opened({ config: configWith('text', { heads: 8 }) });
    expect(text.architecture.text.heads).toBe(8);
    expect(await refused({ config: configWith('vision', { head_width: 48 }) })).toBe('opened as state_dict');
    expect(await refused({ config: configWith('vision', { head_width: 40 }) })).toContain(
      '128 channels cannot be shared among 3 attention heads',
    );
  });

  test('may have a config with only the necessary settings', async () => {
    const { architecture } = await opened({ config: { model_cfg: { quick_gelu: true } } });
    expect(architecture).toEqual(smallArchitecture);
  });

  test('may have a config in which all that is off is spelt out', async () => {
    const off = { timm_model_name: null, ls_init_value: null, attentional_pool: false, act_kwargs: {} };
    const defaults = { mlp_ratio: 4.0, pool_type: 'tok', patch_dropout: 0.5, attn_pooler_heads: 8 };
    const { architecture } = await opened({ config: configWith('vision', { ...off, ...defaults }) });
    expect(architecture).toEqual({ ...smallArchitecture, activation: 'gelu' });
  });

  test('may hold a logit_bias, which no softmax sees', async () => {
    const biased = new Map(weights).set('logit_bias', { shape: [], values: [-10] });
    const config = configWith('model', { init_logit_bias: -10 });
    expect((await opened({ bytes: safetensors(biased), config })).architecture.activation).toBe('gelu');
  });
});

describe('without a config', () => {
  const wide = new Map(weights).set('visual.conv1.weight', {
    shape: [1280, 3, 2, 2],
    values: new Array(1280 * 12).fill(0),
  });
  const advice =
    /it is not known whether .* GELU or with QuickGELU; put the open_clip_config\.json .* into the same/;

  test.each<[string, string, Setting]>([
    ['by its name', "its name is one of OpenCLIP's", {}],
    [
      'by the names of its weights',
      'the names of its text tower are those of OpenCLIP',
      { name: 'model.safetensors', bytes: safetensors(withPrefix('text.', weights)) },
    ],
    [
      'by a width that OpenAI never published',
      'its vision tower has 1280 channels',
      { name: 'model.pt', bytes: torchArchive(wide, stateDict) },
    ],
    [
      'by its width, although it is TorchScript',
      'its vision tower has 1280 channels',
      { name: 'model.pt', bytes: torchArchive(wide, moduleTree) },
    ],
  ])('a file that is OpenCLIP %s is refused, with what to do', async (_, sign, setting) => {
    const sentence = await refused(setting);
    expect(sentence).toStartWith(sign);
    expect(sentence).toMatch(advice);
  });

  test("any other dictionary is taken for OpenAI's, and says so", async () => {
    const { architecture, assumption } = await opened({ name: 'model.safetensors' });
    expect(architecture).toEqual(smallArchitecture);
    expect(assumption).toContain("OpenAI's QuickGELU is assumed");
    expect(assumption).toContain('put the open_clip_config.json');
  });

  test("Hugging Face's layout is taken for OpenAI's, too, and says so", async () => {
    const bytes = safetensors(toHuggingFace(weights));
    const { architecture, assumption } = await opened({ name: 'model.safetensors', bytes });
    expect(architecture).toEqual(smallArchitecture);
    expect(assumption).toContain('put the config.json');
  });

  test('a published file is known by its name and layout', async () => {
    const name = 'CLIP-ViT-B-32-laion2B-s34B-b79K.safetensors';
    const known = await opened({ name });
    expect(known.architecture).toEqual({ ...smallArchitecture, activation: 'gelu' });
    expect(known.assumption).toBeUndefined();
    const otherLayout = await opened({ name, bytes: safetensors(toHuggingFace(weights)) });
    expect(otherLayout.assumption).toBeDefined();
  });

  test('TorchScript is OpenAI’s, and asks no config that happens to lie beside it', async () => {
    const bytes = torchArchive(weights, moduleTree);
    const { architecture, assumption } = await opened({ name: 'model.pt', bytes, config: smallConfig });
    expect(architecture).toEqual(smallArchitecture);
    expect(assumption).toBeUndefined();
  });
});

describe('a config is refused', () => {
  test.each<[string, unknown, string]>([
    [
      'with a mean of two channels',
      configWith('preprocess', { mean: [0.5, 0.5] }),
      "the open_clip_config.json beside it is not one of OpenCLIP's (preprocess_cfg.mean",
    ],
    [
      'with a deviation of 0',
      configWith('preprocess', { std: [0.5, 0, 0.5] }),
      "the open_clip_config.json beside it is not one of OpenCLIP's (preprocess_cfg.std.1",
    ],
    [
      'with another interpolation',
      configWith('preprocess', { interpolation: 'bilinear' }),
      '"preprocess_cfg.interpolation" of its open_clip_config.json is "bilinear"; only "bicubic" is supported',
    ],
    [
      'with pictures squashed to the square',
      configWith('preprocess', { resize_mode: 'squash' }),
      '"preprocess_cfg.resize_mode" of its open_clip_config.json is "squash"; only "shortest" is supported',
    ],
    [
      'with another ratio of the hidden layer',
      configWith('vision', { mlp_ratio: 4.9231 }),
      '"model_cfg.vision_cfg.mlp_ratio" of its open_clip_config.json is 4.9231; only 4 is supported',
    ],
    [
      'with another pooling of texts',
      configWith('text', { pool_type: 'eos' }),
      '"model_cfg.text_cfg.pool_type" of its open_clip_config.json is "eos"; only "argmax" is supported',
    ],
    [
      "with a vision tower of timm's",
      configWith('vision', { timm_model_name: 'convnext_base' }),
      '"model_cfg.vision_cfg.timm_model_name" of its open_clip_config.json is "convnext_base"; OpenAI\'s CLIP does not have this setting',
    ],
    [
      "with another tokenizer's texts",
      configWith('text', { hf_tokenizer_name: 'xlm-roberta-base' }),
      '"model_cfg.text_cfg.hf_tokenizer_name" of its open_clip_config.json is "xlm-roberta-base"',
    ],
    [
      'with a captioning decoder',
      configWith('model', { multimodal_cfg: { width: 512 } }),
      '"model_cfg.multimodal_cfg" of its open_clip_config.json is {"width":512}',
    ],
    [
      'with something that is not known and not off',
      configWith('text', { rotary: { base: 10 } }),
      '"model_cfg.text_cfg.rotary" of its open_clip_config.json is {"base":10}',
    ],
    [
      'that is of another model',
      configWith('vision', { width: 768 }),
      'belongs to another model: it gives vision_cfg.width as 768, the weights 128',
    ],
    [
      'that is of another picture size',
      configWith('vision', { image_size: [6, 8] }),
      'belongs to another model: it gives vision_cfg.image_size as [6,8], the weights 6',
    ],
    [
      'that is not JSON',
      '<html>',
      "the open_clip_config.json beside it is not one of OpenCLIP's (it is not JSON)",
    ],
    ['that is something else', { vision_config: {} }, 'model_cfg'],
    ['with sizes that are none', configWith('text', { width: -1 }), 'model_cfg.text_cfg.width'],
  ])('%s', async (_, config, sentence) => {
    expect(await refused({ config })).toContain(sentence);
  });
});

describe('weights that the reference has not', () => {
  test.each([
    'visual.transformer.resblocks.0.ls_1.gamma',
    'transformer.resblocks.1.attn.ln_q.weight',
    'visual.attn_pool.query',
  ])('such as %s are refused by name', async (name) => {
    const more = new Map(weights).set(name, { shape: [2], values: [1, 2] });
    expect(await refused({ bytes: safetensors(more), config: smallConfig })).toBe(
      `its weights are not those of a CLIP: "${name}" does not belong to one.`,
    );
  });

  test('are no matter where they are none of the towers', async () => {
    const more = new Map(weights)
      .set('attn_mask', { shape: [7, 7], values: new Array(49).fill(0) })
      .set('transformer.attn_mask', { shape: [7, 7], values: new Array(49).fill(0) })
      .set('optimizer.step', { shape: [], values: [3] });
    expect(await refused({ bytes: safetensors(more), config: smallConfig })).toBe('opened as state_dict');
  });
});
