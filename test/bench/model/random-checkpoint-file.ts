import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClipArchitecture } from '../../../src/clip/architecture.ts';
import { expectedShapes, huggingFaceNaming } from '../../../src/clip/checkpoint/clip-checkpoint.ts';
import { cacheFolder } from '../cache-folder.ts';
import { randomNumbers } from '../random-numbers.ts';

const vitB32: ClipArchitecture = {
  embeddingDimension: 512,
  activation: 'quick_gelu',
  vision: { imageResolution: 224, patchSize: 32, width: 768, layers: 12, heads: 12 },
  text: { contextLength: 77, vocabularySize: 49_408, width: 512, layers: 12, heads: 8 },
};

const FLOAT_BYTES = 4;

interface RandomTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: () => Float32Array;
}

/**
 * A full-size ViT-B/32 of random weights, since the real ones cannot be had everywhere: what a model costs
 * does not depend on what it knows. Safetensors in Hugging Face's layout, with the `config.json` beside it
 * that transformers needs, so that the peers read the same file. No two layers share a weight.
 * @returns the file's path
 */
export async function randomCheckpointFile(): Promise<string> {
  const folder = await cacheFolder('random-vit-b-32');
  const path = join(folder, 'model.safetensors');
  if (await Bun.file(path).exists()) return path;
  await Bun.write(join(folder, 'config.json'), JSON.stringify(huggingFaceConfig(vitB32), null, 2));
  const partial = `${path}.${process.pid}.part`;
  await writeSafetensors(partial, [...randomTensors(vitB32)]);
  await rename(partial, path);
  return path;
}

function* randomTensors(architecture: ClipArchitecture): Generator<RandomTensor> {
  let seed = 0;
  for (const [reference, shape] of expectedShapes(architecture)) {
    const { names, transposed } = huggingFaceNaming.source(reference);
    const [rows = 1, ...rest] = shape;
    const stacked = shape.length === 0 ? [] : [rows / names.length, ...rest];
    for (const name of names) {
      const ownSeed = ++seed;
      const own = transposed ? stacked.toReversed() : stacked;
      yield { name, shape: own, values: () => randomValues(reference, own, architecture, ownSeed) };
    }
  }
}

function randomValues(
  reference: string,
  shape: readonly number[],
  architecture: ClipArchitecture,
  seed: number,
): Float32Array {
  const size = shape.reduce((product, length) => product * length, 1);
  if (reference === 'logit_scale') return Float32Array.of(Math.log(100));
  const mean = /\bln_\w+\.weight$/.test(reference) ? 1 : 0;
  // A uniform distribution of that standard deviation.
  const magnitude = Math.sqrt(3) * standardDeviation(reference, architecture);
  const next = randomNumbers(seed);
  const values = new Float32Array(size);
  for (let index = 0; index < size; index++) values[index] = mean + magnitude * next();
  return values;
}

/** As in the reference's `initialize_parameters`, with a little noise where it has constants. */
function standardDeviation(reference: string, { vision, text }: ClipArchitecture): number {
  const { width, layers } = reference.startsWith('visual.') ? vision : text;
  if (/(?:bias|ln_\w+\.weight)$/.test(reference)) return 0.02;
  if (reference === 'token_embedding.weight') return 0.02;
  if (reference === 'positional_embedding') return 0.01;
  if (reference === 'visual.conv1.weight') return (3 * 3 * vision.patchSize ** 2) ** -0.5;
  if (/(?:out_proj|c_proj)\.weight$/.test(reference)) return width ** -0.5 * (2 * layers) ** -0.5;
  if (/c_fc\.weight$/.test(reference)) return (2 * width) ** -0.5;
  return width ** -0.5;
}

async function writeSafetensors(path: string, tensors: readonly RandomTensor[]): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let position = 0;
  for (const { name, shape } of tensors) {
    const end = position + shape.reduce((product, length) => product * length, FLOAT_BYTES);
    header[name] = { dtype: 'F32', shape, data_offsets: [position, end] };
    position = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.byteLength));
  const writer = Bun.file(path).writer({ highWaterMark: 1024 ** 2 });
  for (const bytes of [length, text]) writer.write(bytes);
  for (const { values } of tensors) {
    writer.write(values());
    await writer.flush();
  }
  await writer.end();
}

function huggingFaceConfig({ embeddingDimension, activation, vision, text }: ClipArchitecture): object {
  return {
    architectures: ['CLIPModel'],
    model_type: 'clip',
    projection_dim: embeddingDimension,
    logit_scale_init_value: 2.6592,
    text_config: {
      model_type: 'clip_text_model',
      hidden_act: activation,
      hidden_size: text.width,
      intermediate_size: 4 * text.width,
      num_hidden_layers: text.layers,
      num_attention_heads: text.heads,
      max_position_embeddings: text.contextLength,
      vocab_size: text.vocabularySize,
      projection_dim: embeddingDimension,
      bos_token_id: text.vocabularySize - 2,
      eos_token_id: text.vocabularySize - 1,
    },
    vision_config: {
      model_type: 'clip_vision_model',
      hidden_act: activation,
      hidden_size: vision.width,
      intermediate_size: 4 * vision.width,
      num_hidden_layers: vision.layers,
      num_attention_heads: vision.heads,
      image_size: vision.imageResolution,
      patch_size: vision.patchSize,
      projection_dim: embeddingDimension,
    },
  };
}
