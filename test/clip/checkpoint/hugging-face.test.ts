import { describe, expect, test } from 'bun:test';
import { openCheckpoint } from '../../../src/clip/checkpoint/open-checkpoint.ts';
import {
  type MadeTensors,
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
const huggingFace = toHuggingFace(weights);

function without(tensors: MadeTensors, ...names: string[]): MadeTensors {
  return new Map([...tensors].filter(([name]) => !names.includes(name)));
}

test.each([
  ['model.safetensors', safetensors(huggingFace)],
  ['pytorch_model.bin', torchArchive(huggingFace, stateDict)],
])("%s gives the reference's names: q, k and v stacked, projections transposed", async (name, bytes) => {
  using folder = new TemporaryFolder();
  using checkpoint = await openCheckpoint(folder.write(name, bytes));
  expect(checkpoint.layout).toBe('huggingface');
  expect(checkpoint.architecture).toEqual(smallArchitecture);
  expect([...checkpoint.weights.keys()]).toEqual([...weights.keys()]);
  for (const [weight, { shape, values }] of weights) {
    expect(checkpoint.weights.get(weight)?.shape).toEqual(shape);
    expect([...checkpoint.weights.get(weight)!.read()], weight).toEqual([...values]);
  }
});

test('a missing part of a stacked weight is named as in the file', async () => {
  using folder = new TemporaryFolder();
  const name = 'text_model.encoder.layers.1.self_attn.k_proj.bias';
  const path = folder.write('model.safetensors', safetensors(without(huggingFace, name)));
  await expect(openCheckpoint(path)).rejects.toThrow(`not those of a CLIP: ${name} is missing.`);
});

test('parts that only add up to the right shape are refused', async () => {
  using folder = new TemporaryFolder();
  const layer = 'text_model.encoder.layers.0.self_attn';
  const tensors = new Map(huggingFace);
  tensors.set(`${layer}.q_proj.bias`, { shape: [96], values: new Array(96).fill(0) });
  tensors.set(`${layer}.k_proj.bias`, { shape: [32], values: new Array(32).fill(0) });
  const path = folder.write('model.safetensors', safetensors(tensors));
  await expect(openCheckpoint(path)).rejects.toThrow(`${layer}.q_proj.bias is [96] instead of [64]`);
});

describe('the config.json beside it', () => {
  async function open(config: unknown) {
    using folder = new TemporaryFolder();
    folder.write('config.json', typeof config === 'string' ? config : JSON.stringify(config));
    using checkpoint = await openCheckpoint(folder.write('model.safetensors', safetensors(huggingFace)));
    return checkpoint.architecture;
  }

  test('names the activation', async () => {
    const gelu = { hidden_act: 'gelu' };
    expect((await open({ text_config: gelu, vision_config: gelu })).activation).toBe('gelu');
  });

  test('leaves the activation at quick_gelu where it does not name it', async () => {
    expect((await open({ text_config: { hidden_size: 64 }, vision_config: {} })).activation).toBe(
      'quick_gelu',
    );
  });

  test('gives the heads of models whose heads are not 64 channels wide', async () => {
    const architecture = await open({
      text_config: { num_attention_heads: 2 },
      vision_config: { num_attention_heads: 8 },
    });
    expect([architecture.text.heads, architecture.vision.heads]).toEqual([2, 8]);
  });

  test.each([
    [
      'heads that do not share the width',
      { vision_config: { num_attention_heads: 7 } },
      '128 channels cannot be shared among 7',
    ],
    [
      'an unknown activation',
      { text_config: { hidden_act: 'relu' }, vision_config: { hidden_act: 'relu' } },
      '"relu"',
    ],
    [
      'two activations',
      { text_config: { hidden_act: 'gelu' } },
      'different activations: quick_gelu and gelu',
    ],
    ['no JSON', '<html>', 'config.json beside it is not one of a CLIP model'],
    ['something else', { vision_config: 'large' }, 'config.json beside it is not one of a CLIP model'],
  ])('is refused with %s', async (_, config, sentence) => {
    await expect(open(config)).rejects.toThrow(sentence);
  });
});

describe('the preprocessor_config.json beside it', () => {
  const openai = {
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
    resample: 3,
    crop_size: { height: 224, width: 224 },
  };

  async function refusalWith(config: object): Promise<string> {
    using folder = new TemporaryFolder();
    folder.write('preprocessor_config.json', JSON.stringify({ ...openai, ...config }));
    return await refusal(folder.write('model.safetensors', safetensors(huggingFace)));
  }

  test.each([{}, { size: 224 }, { size: { shortest_edge: 224 } }])(
    "is accepted where it does what OpenAI's does: %j",
    async (config) => {
      expect(await refusalWith(config)).toBe('opened as huggingface');
    },
  );

  test("gives the pixels' normalisation, where it is not OpenAI's", async () => {
    using folder = new TemporaryFolder();
    const other = { ...openai, image_mean: [0.5, 0.4, 0.3], image_std: [0.5, 0.25, 0.2] };
    folder.write('preprocessor_config.json', JSON.stringify(other));
    using checkpoint = await openCheckpoint(folder.write('model.safetensors', safetensors(huggingFace)));
    expect(checkpoint.architecture.vision.normalisation).toEqual({
      mean: [0.5, 0.4, 0.3],
      deviation: [0.5, 0.25, 0.2],
    });
  });

  test.each([
    [{ image_mean: [0.5, 0.5] }, 'preprocessor_config.json beside it is not one of a CLIP model (image_mean'],
    [
      { image_std: [0.5, 0, 0.5] },
      'preprocessor_config.json beside it is not one of a CLIP model (image_std',
    ],
    [{ resample: 2 }, '"resample" of its preprocessor_config.json is 2; only 3, bicubic,'],
    [{ size: { height: 224, width: 224 } }, 'which squashes pictures; only a "shortest_edge" is supported'],
  ])('is refused with %j', async (config, sentence) => {
    expect(await refusalWith(config)).toContain(sentence);
  });
});

test("OpenAI's own layout does not ask a config.json that happens to lie beside it", async () => {
  using folder = new TemporaryFolder();
  folder.write('config.json', 'not JSON');
  using checkpoint = await openCheckpoint(folder.write('model.pt', torchArchive(weights, stateDict)));
  expect(checkpoint.architecture.activation).toBe('quick_gelu');
});
