import type { ClipArchitecture } from '../architecture.ts';
import { CheckpointError } from './checkpoint-file.ts';
import type { ModelSettings } from './model-settings.ts';

type Shape = readonly number[];

/** What decides an architecture. */
interface ShapeEvidence extends ModelSettings {
  /** The shape of a weight by its name in the reference; undefined where it is missing. */
  shapeOf(name: string): Shape | undefined;
  readonly visionLayers: number;
  readonly textLayers: number;
}

const CHANNELS_PER_HEAD = 64;

/** The weights that `build_model` of the reference's `model.py` takes sizes from, with their dimensions. */
export const decisiveWeights: ReadonlyMap<string, number> = new Map([
  ['visual.conv1.weight', 4],
  ['visual.positional_embedding', 2],
  ['positional_embedding', 2],
  ['token_embedding.weight', 2],
  ['ln_final.weight', 1],
  ['text_projection', 2],
]);

/**
 * Decides an architecture as the reference's `build_model` does. The weights of `decisiveWeights` are there.
 * @throws CheckpointError where sizes make no vision transformer
 */
export function architectureFromShapes(evidence: ShapeEvidence): ClipArchitecture {
  for (const [name, dimensions] of decisiveWeights) {
    const shape = evidence.shapeOf(name);
    if (shape?.length !== dimensions || shape.includes(0)) {
      throw new CheckpointError(`its ${name} has shape [${shape}] instead of ${dimensions} sizes above 0`);
    }
  }
  const size = (name: string, axis: number): number => evidence.shapeOf(name)!.at(axis)!;
  const visionWidth = size('visual.conv1.weight', 0);
  const textWidth = size('ln_final.weight', 0);
  const patchSize = size('visual.conv1.weight', -1);
  const gridSize = Math.round(Math.sqrt(size('visual.positional_embedding', 0) - 1));
  if (gridSize < 1 || evidence.visionLayers < 1 || evidence.textLayers < 1) {
    throw new CheckpointError(
      `it has ${evidence.visionLayers} vision layers over a ${gridSize}×${gridSize} grid of patches and ` +
        `${evidence.textLayers} text layers; a CLIP has at least one of each`,
    );
  }
  return {
    embeddingDimension: size('text_projection', 1),
    activation: evidence.activation,
    vision: {
      imageResolution: patchSize * gridSize,
      patchSize,
      width: visionWidth,
      layers: evidence.visionLayers,
      heads: headCount('vision', visionWidth, evidence.visionHeads),
      ...(evidence.normalisation && { normalisation: evidence.normalisation }),
    },
    text: {
      contextLength: size('positional_embedding', 0),
      vocabularySize: size('token_embedding.weight', 0),
      width: textWidth,
      layers: evidence.textLayers,
      heads: headCount('text', textWidth, evidence.textHeads),
    },
  };
}

function headCount(tower: string, width: number, given: number | undefined): number {
  const heads = given ?? Math.floor(width / CHANNELS_PER_HEAD);
  if (heads < 1 || width % heads !== 0) {
    throw new CheckpointError(
      `its ${tower} width of ${width} channels cannot be shared among ${heads} attention heads`,
    );
  }
  return heads;
}

/** Every weight of an architecture by its name in the reference, with its shape. */
export function expectedShapes({ embeddingDimension, vision, text }: ClipArchitecture): Map<string, Shape> {
  const gridSize = vision.imageResolution / vision.patchSize;
  return new Map<string, Shape>([
    ['visual.class_embedding', [vision.width]],
    ['visual.positional_embedding', [gridSize ** 2 + 1, vision.width]],
    ['visual.proj', [vision.width, embeddingDimension]],
    ['visual.conv1.weight', [vision.width, 3, vision.patchSize, vision.patchSize]],
    ...layerNorm('visual.ln_pre', vision.width),
    ...transformer('visual.transformer', vision),
    ...layerNorm('visual.ln_post', vision.width),
    ...transformer('transformer', text),
    ['token_embedding.weight', [text.vocabularySize, text.width]],
    ['positional_embedding', [text.contextLength, text.width]],
    ...layerNorm('ln_final', text.width),
    ['text_projection', [text.width, embeddingDimension]],
    ['logit_scale', []],
  ]);
}

function* transformer(prefix: string, tower: { width: number; layers: number }): Generator<[string, Shape]> {
  const { width, layers } = tower;
  for (let layer = 0; layer < layers; layer++) {
    const block = `${prefix}.resblocks.${layer}`;
    yield [`${block}.attn.in_proj_weight`, [3 * width, width]];
    yield [`${block}.attn.in_proj_bias`, [3 * width]];
    yield* linear(`${block}.attn.out_proj`, width, width);
    yield* layerNorm(`${block}.ln_1`, width);
    yield* linear(`${block}.mlp.c_fc`, width, 4 * width);
    yield* linear(`${block}.mlp.c_proj`, 4 * width, width);
    yield* layerNorm(`${block}.ln_2`, width);
  }
}

function* linear(prefix: string, inputs: number, outputs: number): Generator<[string, Shape]> {
  yield [`${prefix}.weight`, [outputs, inputs]];
  yield [`${prefix}.bias`, [outputs]];
}

function* layerNorm(prefix: string, width: number): Generator<[string, Shape]> {
  yield [`${prefix}.weight`, [width]];
  yield [`${prefix}.bias`, [width]];
}
