import {
  type ClipArchitecture,
  type PixelNormalisation,
  referenceNormalisation,
  type VisionArchitecture,
} from '../architecture.ts';
import type { Value } from './graph-builder.ts';
import {
  embeddingHead,
  layerNorm,
  type Parts,
  type ReadOut,
  readNorm,
  type Sequence,
  type Tower,
  transformer,
} from './transformer.ts';

const CHANNELS = 3;

/**
 * The reference's `VisionTransformer`, preceded by the last step of preprocessing, `Normalize`.
 *
 * pixels [N, S, S, 3] uint8, RGB, row-major → embeddings [N, D] float32, L2-normalised.
 */
export async function buildVisionGraph(
  parts: Parts,
  { vision, embeddingDimension, activation }: ClipArchitecture,
): Promise<void> {
  const { imageResolution, patchSize, width } = vision;
  const tower: Tower = { ...parts, name: 'vision', activation, ...vision };
  const { graph, weights } = parts;
  const pixels = graph.input('pixels', 'uint8', ['N', imageResolution, imageResolution, CHANNELS]);

  const embedded = await embedPatches(tower, pixels, vision);
  const normPre = readNorm(weights, 'visual.ln_pre', width);
  const stream = await layerNorm(parts, 'visual.ln_pre', embedded, normPre);
  const positions = (imageResolution / patchSize) ** 2 + 1;
  const classToken = await transformer(
    tower,
    stream,
    headsOf(tower, positions),
    readClassToken(tower, positions),
  );

  await embeddingHead(
    tower,
    classToken,
    { layerNorm: 'visual.ln_post', projection: 'visual.proj' },
    embeddingDimension,
  );
}

/**
 * Cuts pictures into patches, embeds them, puts the class token in front and adds the positions.
 * The convolution's stride is its kernel, so it is one matrix product over patches.
 * @param pixels [N, S, S, 3] uint8
 * @returns [(G² + 1) · N, W]: the first token of every picture, then the second of every picture, …
 */
async function embedPatches(
  tower: Tower,
  pixels: Value,
  { imageResolution, patchSize, normalisation = referenceNormalisation }: VisionArchitecture,
): Promise<Value> {
  const { graph, weights, linear, width } = tower;
  const grid = imageResolution / patchSize;
  const patchLength = patchSize * patchSize * CHANNELS;
  const rows = graph.node('visual.patches.rows', 'Reshape', [
    pixels,
    graph.integers('visual.patches.rows.shape', [-1, grid, patchSize, grid, patchSize, CHANNELS]),
  ]); // [N, G, P, G, P, 3]
  const cut = graph.node('visual.patches.cut', 'Transpose', [rows], { perm: [1, 3, 0, 2, 4, 5] }); // [G, G, N, P, P, 3]
  const patches = graph.node('visual.patches', 'Reshape', [
    cut,
    graph.integers('visual.patches.shape', [-1, patchLength]),
  ]); // [G² · N, P·P·3]

  const { weight, bias } = foldNormalisation(
    weights.read('visual.conv1.weight', [width, CHANNELS, patchSize, patchSize]),
    width,
    patchSize,
    normalisation,
  );
  const embedded = await linear.pixelProduct('visual.conv1', patches, {
    weight,
    inputWidth: patchLength,
    outputWidth: width,
  }); // [G² · N, W]

  // One table has all summands: class_embedding + position in its first row, and the folded bias + position in the
  // others. The patches get a first row of zeros to match.
  const table = weights.read('visual.positional_embedding', [grid * grid + 1, width]).slice();
  const classEmbedding = weights.read('visual.class_embedding', [width]);
  for (let index = 0; index < table.length; index++) {
    const channel = index % width;
    const added = index < width ? classEmbedding[channel] : bias[channel];
    table[index] = table[index]! + added!;
  }
  const perPosition = graph.node('visual.patches.embedded', 'Reshape', [
    embedded,
    graph.integers('visual.patches.embedded.shape', [grid * grid, -1, width]),
  ]); // [G², N, W]
  const padded = graph.node('visual.tokens', 'Pad', [
    perPosition,
    graph.integers('visual.tokens.pads', [1, 0, 0, 0, 0, 0]),
  ]); // [G² + 1, N, W]
  const tokens = graph.node('visual.embedded', 'Add', [
    padded,
    await graph.weight('visual.token_table', [grid * grid + 1, 1, width], table),
  ]);
  return graph.node('visual.stream', 'Reshape', [tokens, graph.integers('visual.stream.shape', [-1, width])]);
}

/**
 * Σ w · (pixel / 255 − mean) / deviation = Σ (w / (255 · deviation)) · pixel − Σ w · mean / deviation:
 * applies `Normalize` once to the weights, in double precision, instead of to the pixels.
 * @param convolution [W, 3, P, P]
 * @returns weight [P·P·3, W], its rows in the order of a patch's bytes, and bias [W]
 */
function foldNormalisation(
  convolution: Float32Array,
  width: number,
  patchSize: number,
  { mean, deviation }: PixelNormalisation,
): { weight: Float32Array; bias: Float64Array } {
  const area = patchSize * patchSize;
  const weight = new Float32Array(convolution.length);
  const bias = new Float64Array(width);
  for (let output = 0; output < width; output++) {
    for (let channel = 0; channel < CHANNELS; channel++) {
      for (let position = 0; position < area; position++) {
        const scaled = convolution[(output * CHANNELS + channel) * area + position]! / deviation[channel]!;
        weight[(position * CHANNELS + channel) * width + output] = scaled / 255;
        bias[output] = bias[output]! - scaled * mean[channel]!;
      }
    }
  }
  return { weight, bias };
}

function headsOf({ graph, width, heads }: Tower, positions: number): Sequence {
  return { headShape: graph.integers('visual.heads', [positions, -1, heads, width / heads]) };
}

/** The class token is the first. */
function readClassToken({ graph, width }: Tower, positions: number): ReadOut {
  const shape = graph.integers('class_token.positions', [positions, -1, width]);
  const first = graph.integers('class_token', 0);
  return {
    rows(name, x) {
      const perPosition = graph.node(`${name}.positions`, 'Reshape', [x, shape]); // [L, N, W]
      return graph.node(name, 'Gather', [perPosition, first], { axis: 0 });
    },
  };
}
