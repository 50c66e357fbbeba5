import type { ClipArchitecture } from '../../../src/clip/architecture.ts';
import type { Checkpoint, WeightTensor } from '../../../src/clip/checkpoint/checkpoint.ts';

/** Every parameter of the reference's `CLIP` and its shape, in the reference's order. */
export function parameterShapes(architecture: ClipArchitecture): ReadonlyMap<string, readonly number[]> {
  const { vision, text, embeddingDimension } = architecture;
  const positions = (vision.imageResolution / vision.patchSize) ** 2 + 1;
  return new Map<string, readonly number[]>([
    ['positional_embedding', [text.contextLength, text.width]],
    ['text_projection', [text.width, embeddingDimension]],
    ['logit_scale', []],
    ['visual.class_embedding', [vision.width]],
    ['visual.positional_embedding', [positions, vision.width]],
    ['visual.proj', [vision.width, embeddingDimension]],
    ['visual.conv1.weight', [vision.width, 3, vision.patchSize, vision.patchSize]],
    ...layerNormShapes('visual.ln_pre', vision.width),
    ...blockShapes('visual.transformer', vision),
    ...layerNormShapes('visual.ln_post', vision.width),
    ...blockShapes('transformer', text),
    ['token_embedding.weight', [text.vocabularySize, text.width]],
    ...layerNormShapes('ln_final', text.width),
  ]);
}

type Shapes = [string, readonly number[]][];

function blockShapes(prefix: string, { layers, width }: { layers: number; width: number }): Shapes {
  return Array.from({ length: layers }, (_, layer): Shapes => {
    const block = `${prefix}.resblocks.${layer}`;
    return [
      [`${block}.attn.in_proj_weight`, [3 * width, width]],
      [`${block}.attn.in_proj_bias`, [3 * width]],
      [`${block}.attn.out_proj.weight`, [width, width]],
      [`${block}.attn.out_proj.bias`, [width]],
      ...layerNormShapes(`${block}.ln_1`, width),
      [`${block}.mlp.c_fc.weight`, [4 * width, width]],
      [`${block}.mlp.c_fc.bias`, [4 * width]],
      [`${block}.mlp.c_proj.weight`, [width, 4 * width]],
      [`${block}.mlp.c_proj.bias`, [width]],
      ...layerNormShapes(`${block}.ln_2`, width),
    ];
  }).flat();
}

function layerNormShapes(name: string, width: number): Shapes {
  return [
    [`${name}.weight`, [width]],
    [`${name}.bias`, [width]],
  ];
}

/** A small stream of numbers from −1 to 1 that a seed decides (xorshift32). */
export function randomNumbers(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
}

/**
 * A checkpoint of any architecture with random weights: of a size that keeps activations near 1, so that
 * every layer matters, and LayerNorm weights around 1.
 */
export function randomCheckpoint(architecture: ClipArchitecture, seed: number): Checkpoint {
  const next = randomNumbers(seed);
  const weights = new Map<string, WeightTensor>();
  for (const [name, shape] of parameterShapes(architecture)) {
    const size = shape.reduce((product, length) => product * length, 1);
    const isScale = /\bln_\w+\.weight$/.test(name);
    const fanIn = shape.length > 1 ? size / (shape[0] as number) : 4;
    const magnitude = Math.sqrt(3 / fanIn);
    const values = Float32Array.from({ length: size }, () => (isScale ? 1 : 0) + magnitude * next());
    weights.set(name, tensor(shape, name === 'logit_scale' ? Float32Array.of(Math.log(100)) : values));
  }
  return { layout: 'constructed', architecture, weights, [Symbol.dispose]() {} };
}

export function tensor(shape: readonly number[], values: Float32Array): WeightTensor {
  return { shape, read: () => values };
}
