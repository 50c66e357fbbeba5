import type { VisionArchitecture } from '../architecture.ts';
import { type PlaneName, planes, regions, type SpotValue } from './colour-regions.ts';
import { type Concept, concepts, direction, parts } from './concepts.ts';
import { embeddingWeights, type LastChannel } from './embedding.ts';
import {
  type Average,
  layerWeights,
  type NamedWeight,
  type Rectifier,
  ResidualStream,
  type Tap,
  weight,
} from './residual-stream.ts';

export const visionArchitecture: VisionArchitecture = {
  imageResolution: 224,
  patchSize: 32,
  width: 192,
  layers: 4,
  heads: 3,
};

/** CLIP's normalisation of pixels, which the graph does before the patch embedding; RGB. */
const PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
const PIXEL_STD = [0.26862954, 0.26130258, 0.27577711] as const;

const TOKENS = (visionArchitecture.imageResolution / visionArchitecture.patchSize) ** 2 + 1;

/**
 * Colours are named for spots: squares of 4 × 4 pixels, one in each quarter of a patch. A mean over more
 * pixels would turn a texture of red and blue into purple; the spots see either. They stand so that stripes
 * and checks of 4, 8 or 16 pixels, which repeat from patch to patch, have half of the spots in either colour.
 */
const SPOT_SIZE = 4;
const spots = [
  { name: 'top left', x: 0, y: 0 },
  { name: 'bottom left', x: 12, y: 24 },
  { name: 'top right', x: 20, y: 12 },
  { name: 'bottom right', x: 24, y: 20 },
] as const;

type Spot = (typeof spots)[number]['name'];
type VisionChannel =
  | `${SpotValue} ${Spot}`
  /** 1 in patches, 0 in the class token, which so takes part in nothing. */
  | 'is patch'
  | `${PlaneName} ${Spot}`
  /** In a patch: how much of it belongs to a concept. In the class token: how much of the picture. */
  | `share ${Concept}`
  | LastChannel;

const primaries = ['red', 'green', 'blue'] as const;
const planeNames = Object.keys(planes) as PlaneName[];

const stream = new ResidualStream<VisionChannel>(visionArchitecture.width, [
  ...spots.flatMap(({ name }) =>
    (['red', 'green', 'blue', 'chroma'] as const).map((v) => `${v} ${name}` as const),
  ),
  'is patch',
  ...spots.flatMap(({ name }) => planeNames.map((plane) => `${plane} ${name}` as const)),
  ...concepts.map((concept) => `share ${concept}` as const),
  ...concepts.map((concept) => `axis ${concept}` as const),
  'common',
  'unmarked',
]);

/** Layer 1. Largest minus smallest of three values is half the sum of their absolute differences. */
function chromaRectifiers(): Rectifier<VisionChannel>[] {
  const pairs = [
    ['red', 'green'],
    ['green', 'blue'],
    ['blue', 'red'],
  ] as const;
  return spots.flatMap(({ name }) =>
    pairs.flatMap(([first, second]) =>
      [1, -1].map((sign) => ({
        reads: [
          [`${first} ${name}`, sign],
          [`${second} ${name}`, -sign],
        ] as const,
        writes: [[`chroma ${name}`, 0.5]] as const,
        sharpness: 60,
      })),
    ),
  );
}

/** Layer 2. On which side of each plane a spot lies: two rectifiers make a step from 0 to 1. */
function planeRectifiers(): Rectifier<VisionChannel>[] {
  // More than any plane's value over its softness: keeps the steps of the class token at 0.
  const SHUT = 60;
  return spots.flatMap(({ name }) =>
    planeNames.flatMap((planeName) => {
      const { coefficients, threshold, softness } = planes[planeName];
      const reads: readonly Tap<VisionChannel>[] = [
        ...parts(coefficients).map(([value, c]): Tap<VisionChannel> => [`${value} ${name}`, c / softness]),
        ['is patch', SHUT],
      ];
      const bias = 0.5 - threshold / softness - SHUT;
      const channel = `${planeName} ${name}` as const;
      return [
        { reads, bias, writes: [[channel, 1]] as const, sharpness: 8 },
        { reads, bias: bias - 1, writes: [[channel, -1]] as const, sharpness: 8 },
      ];
    }),
  );
}

/** Layer 3. A spot lies in a region where all of its conditions hold. */
function regionRectifiers(): Rectifier<VisionChannel>[] {
  return spots.flatMap(({ name }) =>
    regions.map(({ concept, all }) => {
      let bias = -all.length;
      const reads: Tap<VisionChannel>[] = [['is patch', 1]];
      for (const condition of all) {
        const negated = condition.startsWith('not ');
        const planeName = condition.replace('not ', '') as PlaneName;
        reads.push([`${planeName} ${name}`, negated ? -1 : 1]);
        if (negated) bias += 1;
      }
      return { reads, bias, writes: [[`share ${concept}`, 1 / spots.length]] as const, sharpness: 12 };
    }),
  );
}

/** Layer 4. The class token sees itself too, and adds nothing. */
function shareAverages(): Average<VisionChannel>[] {
  return concepts.map((concept) => ({
    reads: [[`share ${concept}`, TOKENS / (TOKENS - 1)]],
    writes: [[`share ${concept}`, 1]],
  }));
}

/** The colours that objects stand before: those of paper, walls, shadow, wood and soil. They weigh less. */
const backgrounds: ReadonlySet<Concept> = new Set(['black', 'grey', 'white', 'beige', 'brown']);
const BACKGROUND_WEIGHT = 0.8;

/**
 * Layer 4. From shares of the picture to the answer's axes. A small part in a strong colour is noticed
 * more than its share (a banana on white is yellow): weight 0.7 at a share of 0.28, 1 at 1.
 */
function answerRectifiers(): Rectifier<VisionChannel>[] {
  return concepts.flatMap((concept) => {
    const axes = parts(direction(concept));
    const answer = (factor: number) =>
      axes.map(([axis, coordinate]): Tap<VisionChannel> => [`axis ${axis}`, factor * coordinate]);
    const share = `share ${concept}` as const;
    const reads: readonly Tap<VisionChannel>[] = [[share, 1]];
    const spent: Tap<VisionChannel> = [share, -1];
    if (concept === 'dark' || concept === 'bright') {
      return [{ reads, writes: [spent, ...answer(0.5)], sharpness: 100 }];
    }
    if (backgrounds.has(concept)) {
      return [{ reads, writes: [spent, ...answer(BACKGROUND_WEIGHT)], sharpness: 100 }];
    }
    const KNEE = 0.28;
    const steep = 0.7 / KNEE;
    const flat = (1 - 0.7) / (1 - KNEE);
    return [
      { reads, writes: [spent, ...answer(steep)], sharpness: 100 },
      { reads, bias: -KNEE, writes: answer(flat - steep), sharpness: 100 },
    ];
  });
}

/** [width, 3, 32, 32]: each spot's mean of each primary, less its mean in CLIP's normalisation. */
function patchEmbedding(): Float32Array {
  const { width, patchSize } = visionArchitecture;
  const kernel = new Float32Array(width * 3 * patchSize ** 2);
  for (const { name, x, y } of spots) {
    for (const [plane, primary] of primaries.entries()) {
      const values = stream.write([[`${primary} ${name}`, PIXEL_STD[plane]! / SPOT_SIZE ** 2]]);
      for (const [channel, value] of values.entries()) {
        for (let row = y; row < y + SPOT_SIZE; row++) {
          const start = ((channel * 3 + plane) * patchSize + row) * patchSize + x;
          kernel.fill(value, start, start + SPOT_SIZE);
        }
      }
    }
  }
  return kernel;
}

/** [tokens, width]: the balance; in patches also the primaries' means, which the normalisation took away. */
function positionalEmbedding(): Float32Array {
  const { width } = visionArchitecture;
  const patch = stream.write([
    ['is patch', 1],
    ...spots.flatMap(({ name }) =>
      primaries.map((primary, plane): Tap<VisionChannel> => [`${primary} ${name}`, PIXEL_MEAN[plane]!]),
    ),
  ]);
  const balance = stream.balance();
  const matrix = new Float32Array(TOKENS * width);
  for (let token = 0; token < TOKENS; token++) {
    for (let channel = 0; channel < width; channel++) {
      matrix[token * width + channel] = balance[channel]! + (token === 0 ? 0 : patch[channel]!);
    }
  }
  return matrix;
}

/** All weights of the vision tower, under the reference's names. */
export function visionWeights(): NamedWeight[] {
  const { width, patchSize } = visionArchitecture;
  const layer = (index: number) => `visual.transformer.resblocks.${index}`;
  return [
    weight('visual.class_embedding', [width], () => new Float32Array(width)),
    weight('visual.positional_embedding', [TOKENS, width], positionalEmbedding),
    weight('visual.conv1.weight', [width, 3, patchSize, patchSize], patchEmbedding),
    weight('visual.ln_pre.weight', [width], () => stream.gainWithBalance()),
    weight('visual.ln_pre.bias', [width], () => new Float32Array(width)),
    ...layerWeights(layer(0), stream, { rectifiers: chromaRectifiers() }),
    ...layerWeights(layer(1), stream, { rectifiers: planeRectifiers() }),
    ...layerWeights(layer(2), stream, { rectifiers: regionRectifiers() }),
    ...layerWeights(layer(3), stream, {
      averages: shareAverages(),
      rectifiers: answerRectifiers(),
      removesBalance: true,
    }),
    ...embeddingWeights({ norm: 'visual.ln_post', projection: 'visual.proj' }, stream),
  ];
}
