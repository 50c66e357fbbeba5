import type { VisionArchitecture } from '../architecture.ts';
import { type Concept, concepts, direction, embeddingWeights, type LastChannel, parts } from './concepts.ts';
import {
  type Average,
  layerWeights,
  type NamedWeight,
  type Rectifier,
  ResidualStream,
  type Tap,
  weight,
} from './residual-stream.ts';

/** The values of a spot of the picture: mean sRGB and their chroma (largest minus smallest), 0 to 1 each. */
type SpotValue = 'red' | 'green' | 'blue' | 'chroma';

/** A plane through the colour solid. A spot counts as 1 on one side, as 0 on the other. */
interface Plane {
  /** Σ coefficient · value − threshold is positive on the side that counts. */
  readonly coefficients: Readonly<Record<SpotValue, number>>;
  readonly threshold: number;
  /** The count rises from 0 to 1 over this distance, half of it on either side of the plane. */
  readonly softness: number;
}

/** Luma of BT.601. */
const LUMA = { red: 0.299, green: 0.587, blue: 0.114 } as const;

/** A plane at `luma · Y + chroma · C = threshold`, Y being the luma and C the chroma. */
function plane(weights: { luma?: number; chroma?: number }, threshold: number, softness: number): Plane {
  const { luma = 0, chroma = 0 } = weights;
  return {
    coefficients: { red: luma * LUMA.red, green: luma * LUMA.green, blue: luma * LUMA.blue, chroma },
    threshold,
    softness,
  };
}

/** The pure colour of a hue in degrees (0 red, 120 green, 240 blue), as HSV has it. */
function pureColour(degrees: number): Record<'red' | 'green' | 'blue', number> {
  const channel = (peak: number) => {
    const distance = Math.abs(((degrees - peak + 540) % 360) - 180);
    return Math.min(1, Math.max(0, 2 - distance / 60));
  };
  return { red: channel(0), green: channel(120), blue: channel(240) };
}

/**
 * The plane through the greys and the pure colour of a hue. Hues less than 180° further round count as 1.
 * Its value is chroma · sin(angle between the hues), nearly.
 */
function hue(degrees: number): Plane {
  const { red, green, blue } = pureColour(degrees);
  // The hue circle's two coordinates: along red, and across it from blue to green.
  const along = red - (green + blue) / 2;
  const across = (green - blue) * (Math.sqrt(3) / 2);
  const length = Math.sqrt(along ** 2 + across ** 2);
  const [cosine, sine] = [along / length, across / length];
  const half = Math.sqrt(3) / 2;
  return {
    coefficients: { red: -sine, green: cosine * half + sine / 2, blue: sine / 2 - cosine * half, chroma: 0 },
    threshold: 0,
    softness: 0.05,
  };
}

/**
 * Every boundary between the demo model's colour names, in gamma-encoded sRGB. The thresholds are judgement: they lie
 * between colours whose name is not in doubt (the named colours of CSS, paint, wood, skin, sky, foliage).
 */
export const planes = {
  // Has a colour. Light surfaces need more of it, because white paper has a tint.
  coloured: plane({ chroma: 1, luma: -0.08 }, 0.065, 0.05),
  // Among greys.
  overBlack: plane({ luma: 1 }, 0.17, 0.1),
  overGrey: plane({ luma: 1 }, 0.87, 0.08),
  // White that leans to yellow is beige.
  creamy: { coefficients: { red: 0.5, green: 0.5, blue: -1, chroma: 0 }, threshold: 0.08, softness: 0.04 },
  // Round the hue circle: each is where the named colour begins.
  orangeHue: hue(14),
  yellowHue: hue(41.5),
  // Browns and beiges end here; darker ones beyond are olive, which counts as green.
  oliveHue: hue(52),
  greenHue: hue(68),
  cyanHue: hue(163),
  blueHue: hue(189),
  purpleHue: hue(256),
  pinkHue: hue(307),
  redHue: hue(343),
  // Red with white in it is pink.
  pale: plane({ luma: 1, chroma: -0.5 }, 0.3, 0.08),
  // Red with grey in it is brown, if it is not lighter than brown.
  dull: plane({ luma: 1, chroma: -0.7 }, -0.05, 0.06),
  overBrown: plane({ luma: 1, chroma: 0.4 }, 0.56, 0.06),
  // Magenta is pink if it is light enough, otherwise purple.
  lightMagenta: plane({ luma: 1, chroma: 0.2 }, 0.38, 0.08),
  // Orange and yellow are strong. Weaker colours of the same hue are brown or beige.
  strong: plane({ luma: 1, chroma: 1 }, 1.15, 0.1),
  saturated: plane({ chroma: 1 }, 0.49, 0.08),
  // Separates beige from brown.
  light: plane({ luma: 1 }, 0.66, 0.1),
  // Brightness as people judge it: strong colours look lighter than their luma.
  overDark: plane({ luma: 1, chroma: 0.4 }, 0.43, 0.26),
  bright: plane({ luma: 1, chroma: 0.4 }, 0.68, 0.28),
} as const satisfies Record<string, Plane>;

export type PlaneName = keyof typeof planes;

/** A side of a plane. */
type Condition = PlaneName | `not ${PlaneName}`;

/** A convex piece of the colour solid: a spot belongs to a concept if all conditions hold. */
interface Region {
  readonly concept: Concept;
  readonly all: readonly Condition[];
}

/** The colours' pieces fill the colour solid without overlap, so that a spot's colours sum to about 1. */
export const regions: readonly Region[] = [
  { concept: 'black', all: ['not coloured', 'not overBlack'] },
  { concept: 'grey', all: ['not coloured', 'overBlack', 'not overGrey'] },
  { concept: 'white', all: ['not coloured', 'overGrey', 'not creamy'] },
  { concept: 'beige', all: ['not coloured', 'overGrey', 'creamy'] },
  // 343° to 14°
  { concept: 'red', all: ['coloured', 'redHue', 'not orangeHue', 'not pale', 'not dull'] },
  { concept: 'red', all: ['coloured', 'redHue', 'not orangeHue', 'not pale', 'dull', 'overBrown'] },
  { concept: 'brown', all: ['coloured', 'redHue', 'not orangeHue', 'not pale', 'dull', 'not overBrown'] },
  { concept: 'pink', all: ['coloured', 'redHue', 'not orangeHue', 'pale'] },
  // 14° to 68°
  { concept: 'orange', all: ['coloured', 'orangeHue', 'not yellowHue', 'strong', 'saturated'] },
  { concept: 'yellow', all: ['coloured', 'yellowHue', 'not greenHue', 'strong'] },
  { concept: 'yellow', all: ['coloured', 'oliveHue', 'not greenHue', 'not strong', 'light'] },
  { concept: 'green', all: ['coloured', 'oliveHue', 'not greenHue', 'not strong', 'not light'] },
  { concept: 'beige', all: ['coloured', 'orangeHue', 'not oliveHue', 'not strong', 'light'] },
  { concept: 'beige', all: ['coloured', 'orangeHue', 'not yellowHue', 'strong', 'not saturated'] },
  { concept: 'brown', all: ['coloured', 'orangeHue', 'not oliveHue', 'not strong', 'not light'] },
  // 68° to 343°
  { concept: 'green', all: ['coloured', 'greenHue', 'not cyanHue'] },
  { concept: 'cyan', all: ['coloured', 'cyanHue', 'not blueHue'] },
  { concept: 'blue', all: ['coloured', 'blueHue', 'not purpleHue'] },
  { concept: 'purple', all: ['coloured', 'purpleHue', 'not pinkHue'] },
  { concept: 'purple', all: ['coloured', 'pinkHue', 'not redHue', 'not lightMagenta'] },
  { concept: 'pink', all: ['coloured', 'pinkHue', 'not redHue', 'lightMagenta'] },
  // In addition to its colour.
  { concept: 'dark', all: ['not overDark'] },
  { concept: 'bright', all: ['bright'] },
];

export const visionArchitecture: VisionArchitecture = {
  imageResolution: 224,
  patchSize: 32,
  width: 192,
  layers: 4,
  heads: 3,
};

/** CLIP's normalisation of pixels, RGB, which the graph applies before the patch embedding. */
const PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
const PIXEL_STD = [0.26862954, 0.26130258, 0.27577711] as const;

const TOKENS = (visionArchitecture.imageResolution / visionArchitecture.patchSize) ** 2 + 1;

/**
 * Colours are named for spots: squares of 4 × 4 pixels, one in each quarter of a patch. A mean over more pixels would
 * turn a texture of red and blue into purple. The spots' places give stripes and checks of 4, 8 or 16 pixels, which
 * repeat from patch to patch, half of the spots in each colour.
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
  /** 1 in patches; 0 in the class token, which so has no colours. */
  | 'is patch'
  | `${PlaneName} ${Spot}`
  /** The share of a concept: of the patch or, in the class token, of the picture. */
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

/** Layer 2. The side of each plane that a spot is on: two rectifiers make a step from 0 to 1. */
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

/** Layer 3. A spot is in a region if all of its conditions hold. */
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

/** Layer 4. The average includes the class token, which adds 0. */
function shareAverages(): Average<VisionChannel>[] {
  return concepts.map((concept) => ({
    reads: [[`share ${concept}`, TOKENS / (TOKENS - 1)]],
    writes: [[`share ${concept}`, 1]],
  }));
}

/** Colours of backgrounds (paper, walls, shadow, wood, soil) weigh less. */
const backgrounds: ReadonlySet<Concept> = new Set(['black', 'grey', 'white', 'beige', 'brown']);
const BACKGROUND_WEIGHT = 0.8;

/**
 * Layer 4. From shares of the picture to the answer's axes. A strong colour counts more than its share (a banana on
 * white is yellow): weight 0.7 at a share of 0.28, 1 at 1.
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

/** [width, 3, 32, 32]: each spot's mean of each primary, minus its mean in CLIP's normalisation. */
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

/** [tokens, width]: the balance; in patches also the primaries' means, which the normalisation has subtracted. */
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
