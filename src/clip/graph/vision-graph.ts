import type { ClipArchitecture } from '../architecture.ts';
import { embeddingHead } from './embedding-head.ts';
import { absent, type GraphBuilder, type Value } from './graph-builder.ts';
import type { Linear } from './linear.ts';
import type { NamedWeights } from './named-weights.ts';
import { layerNorm, type ReadOut, type Tower, transformer } from './transformer.ts';

/** The reference's `Normalize`, RGB, for channels from 0 to 1. */
const pixelMean = [0.48145466, 0.4578275, 0.40821073] as const;
const pixelStandardDeviation = [0.26862954, 0.26130258, 0.27577711] as const;

const CHANNELS = 3;

/**
 * The reference's `VisionTransformer` with preprocessing's last step, `Normalize`, before it.
 *
 * pixels [N, S, S, 3] uint8, RGB, row-major → embeddings [N, D] float32, L2-normalised.
 */
export async function buildVisionGraph(
  graph: GraphBuilder,
  weights: NamedWeights,
  linear: Linear,
  { vision, embeddingDimension, activation }: ClipArchitecture,
): Promise<void> {
  const { imageResolution } = vision;
  const tower: Tower = { graph, weights, linear, activation, ...vision };
  const pixels = graph.input('pixels', 'uint8', ['N', imageResolution, imageResolution, CHANNELS]);

  const embedded = await embedPatches(tower, pixels, vision.patchSize, imageResolution / vision.patchSize);
  const stream = await layerNorm(tower, 'visual.ln_pre', embedded);
  const classPosition = await transformer(tower, 'visual.transformer', stream, 'full', readClassToken(graph));

  await embeddingHead(
    tower,
    classPosition,
    { layerNorm: 'visual.ln_post', projection: 'visual.proj' },
    embeddingDimension,
  );
}

/**
 * Cuts pictures into patches, embeds them, puts the class token in front and adds the positions.
 * The convolution's stride is its kernel, so it is one matrix product over patches.
 * @param pixels [N, S, S, 3] uint8
 * @returns [N, G² + 1, W]
 */
async function embedPatches(tower: Tower, pixels: Value, patchSize: number, grid: number): Promise<Value> {
  const { graph, weights, linear, width } = tower;
  const patchLength = patchSize * patchSize * CHANNELS;
  const rows = graph.node('visual.patches.rows', 'Reshape', [
    pixels,
    graph.integers('visual.patches.rows.shape', [-1, grid, patchSize, grid, patchSize, CHANNELS]),
  ]); // [N, G, P, G, P, 3]
  const cut = graph.node('visual.patches.cut', 'Transpose', [rows], { perm: [0, 1, 3, 2, 4, 5] }); // [N, G, G, P, P, 3]
  const patches = graph.node('visual.patches', 'Reshape', [
    cut,
    graph.integers('visual.patches.shape', [-1, grid * grid, patchLength]),
  ]); // [N, G², P·P·3]

  const { weight, bias } = foldNormalisation(
    weights.read('visual.conv1.weight', [width, CHANNELS, patchSize, patchSize]),
    width,
    patchSize,
  );
  const embedded = await linear('visual.conv1', graph.cast('visual.patches.float', patches, 'float32'), {
    weight,
    inputWidth: patchLength,
    outputWidth: width,
  }); // [N, G², W]

  // One table holds all that is added: class_embedding + position in its first row, and the folded bias +
  // position in the others. The patches get a first row of zeros to match.
  const table = weights.read('visual.positional_embedding', [grid * grid + 1, width]).slice();
  const classEmbedding = weights.read('visual.class_embedding', [width]);
  for (let index = 0; index < table.length; index++) {
    const channel = index % width;
    const added = index < width ? classEmbedding[channel] : bias[channel];
    table[index] = (table[index] as number) + (added as number);
  }
  const padded = graph.node('visual.tokens', 'Pad', [
    embedded,
    graph.integers('visual.tokens.pads', [0, 1, 0, 0, 0, 0]),
  ]); // [N, G² + 1, W]
  return graph.node('visual.embedded', 'Add', [
    padded,
    await graph.weight('visual.token_table', [grid * grid + 1, width], table),
  ]);
}

/**
 * Σ w · (pixel / 255 − mean) / deviation = Σ (w / (255 · deviation)) · pixel − Σ w · mean / deviation:
 * what `Normalize` does to the pixels is done to the weights instead, once, in double precision.
 * @param convolution [W, 3, P, P]
 * @returns weight [P·P·3, W], its rows in the order of a patch's bytes, and bias [W]
 */
function foldNormalisation(
  convolution: Float32Array,
  width: number,
  patchSize: number,
): { weight: Float32Array; bias: Float64Array } {
  const area = patchSize * patchSize;
  const weight = new Float32Array(convolution.length);
  const bias = new Float64Array(width);
  for (let output = 0; output < width; output++) {
    for (let channel = 0; channel < CHANNELS; channel++) {
      const mean = pixelMean[channel] as number;
      const deviation = pixelStandardDeviation[channel] as number;
      for (let position = 0; position < area; position++) {
        const scaled = (convolution[(output * CHANNELS + channel) * area + position] as number) / deviation;
        weight[(position * CHANNELS + channel) * width + output] = scaled / 255;
        bias[output] = (bias[output] as number) - scaled * mean;
      }
    }
  }
  return { weight, bias };
}

/** The class token stands first. */
function readClassToken(graph: GraphBuilder): ReadOut {
  const start = graph.integers('class_token.start', [0]);
  const end = graph.integers('class_token.end', [1]);
  const axis = graph.integers('class_token.axis', [1]);
  return {
    position: (name, x) => graph.node(name, 'Slice', [x, start, end, axis]),
    attendedLength: absent,
  };
}
