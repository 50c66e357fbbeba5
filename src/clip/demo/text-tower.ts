import type { TextArchitecture } from '../architecture.ts';
import {
  type Concept,
  concepts,
  direction,
  embeddingWeights,
  type LastChannel,
  type Mixture,
  parts,
} from './concepts.ts';
import {
  type Average,
  layerWeights,
  type NamedWeight,
  type Rectifier,
  ResidualStream,
  type Tap,
  weight,
} from './residual-stream.ts';

/** The meaning of a token of CLIP's vocabulary. */
interface ColourWord {
  /** The token's text in the vocabulary: `</w>` ends a word. */
  readonly token: string;
  /** Its id in CLIP's vocabulary. */
  readonly id: number;
  readonly meaning: Mixture<Concept>;
}

/** Brightness only shades the meaning of a colour: "dark red" is first of all a red. */
const SHADE = 0.4;

const red = { red: 1 };
const green = { green: 1 };
const blue = { blue: 1 };
const purple = { purple: 1 };
const brown = { brown: 1 };
const beige = { beige: 1 };
const grey = { grey: 1 };
const dark = { dark: SHADE };
const bright = { bright: SHADE };
// If grey is not offered, a dark grey is rather black, a light one rather white.
const black = { black: 1, dark: 0.3 };
const white = { white: 1, bright: 0.3 };

const wordMeanings: readonly (readonly [token: string, id: number, meaning: Mixture<Concept>])[] = [
  ['red</w>', 736, red],
  ['reds</w>', 11221, red],
  ['reddish</w>', 43383, red],
  ['scarlet</w>', 20389, red],
  ['crimson</w>', 19437, red],
  ['maroon</w>', 20501, { ...red, ...dark }],
  ['burgundy</w>', 23650, { ...red, ...dark }],
  ['orange</w>', 4287, { orange: 1 }],
  ['tangerine</w>', 42045, { orange: 1 }],
  ['amber</w>', 9986, { orange: 1, yellow: 0.6 }],
  ['yellow</w>', 4481, { yellow: 1 }],
  ['gold</w>', 2209, { yellow: 1, orange: 0.3 }],
  ['golden</w>', 3878, { yellow: 1, orange: 0.3 }],
  ['mustard</w>', 15794, { yellow: 1, brown: 0.3 }],
  ['green</w>', 1901, green],
  ['greens</w>', 10235, green],
  ['lime</w>', 11193, { ...green, ...bright }],
  ['olive</w>', 9898, { ...green, ...dark, yellow: 0.3 }],
  ['emerald</w>', 16980, green],
  ['turquoise</w>', 19899, { cyan: 1 }],
  ['aqua</w>', 18613, { cyan: 1 }],
  ['teal</w>', 22821, { cyan: 1, ...dark }],
  ['blue</w>', 1746, blue],
  ['blues</w>', 5159, blue],
  ['azure</w>', 18514, blue],
  ['cobalt</w>', 30896, blue],
  ['navy</w>', 5598, { ...blue, ...dark }],
  ['indigo</w>', 21002, { ...purple, blue: 0.6, ...dark }],
  ['purple</w>', 5496, purple],
  ['violet</w>', 16118, purple],
  ['lavender</w>', 16033, { ...purple, ...bright }],
  ['lilac</w>', 33647, { ...purple, ...bright }],
  ['magenta</w>', 38091, { ...purple, pink: 1 }],
  ['pink</w>', 3360, { pink: 1 }],
  ['brown</w>', 2866, brown],
  ['browns</w>', 14051, brown],
  ['chestnut</w>', 21834, brown],
  ['tan</w>', 5039, { ...beige, brown: 0.5 }],
  ['beige</w>', 26677, beige],
  ['khaki</w>', 41646, beige],
  ['cream</w>', 3867, { ...beige, white: 0.6 }],
  ['ivory</w>', 16776, { white: 1, beige: 0.6 }],
  ['black</w>', 1449, black],
  ['blacks</w>', 16351, black],
  ['ebony</w>', 30651, black],
  ['grey</w>', 5046, grey],
  ['greys</w>', 44311, grey],
  ['gray</w>', 7048, grey],
  ['grays</w>', 46848, grey],
  ['silver</w>', 3467, { ...grey, ...bright }],
  ['charcoal</w>', 19268, { ...grey, ...dark }],
  ['white</w>', 1579, white],
  ['whites</w>', 18835, white],
  ['dark</w>', 3144, dark],
  ['darker</w>', 18737, dark],
  ['darkest</w>', 25898, dark],
  ['darkness</w>', 10521, dark],
  ['dim</w>', 17523, dark],
  ['gloomy</w>', 32199, dark],
  ['bright</w>', 4852, bright],
  ['brighter</w>', 18507, bright],
  ['brightest</w>', 26159, bright],
  ['brightly</w>', 36298, bright],
  ['brightness</w>', 42280, bright],
  ['light</w>', 1395, bright],
  ['lighter</w>', 14102, bright],
  ['pale</w>', 12518, bright],
  ['luminous</w>', 37913, bright],
  // Beginnings that only colour words have: "greenish", "yellowish", "fuchsia".
  ['orange', 13957, { orange: 1 }],
  ['yellow', 12059, { yellow: 1 }],
  ['green', 2762, green],
  ['blue', 3829, blue],
  ['pink', 11151, { pink: 1 }],
  ['brown', 6315, brown],
  ['fuch', 42617, { pink: 1, purple: 0.6 }],
];

/** Every token with a meaning. All others, the words around a colour, have none. */
export const colourWords: readonly ColourWord[] = wordMeanings.map(([token, id, meaning]) => ({
  token,
  id,
  meaning,
}));

/**
 * "cyan" is two tokens, and each also occurs without the other: only both in one text mean the colour.
 */
export const cyanTokens = {
  beginning: { token: 'cy', id: 1470 },
  end: { token: 'an</w>', id: 550 },
} as const;

export const textArchitecture: TextArchitecture = {
  contextLength: 77,
  vocabularySize: 49_408,
  width: 64,
  layers: 1,
  heads: 1,
};

/** Id of the token that ends every text; its embedding becomes the text's. */
const END_OF_TEXT = 49_407;

type TextChannel =
  /** A token's meaning. */
  | `token ${Concept}`
  | 'token cy'
  | 'token an'
  /** The mean of the meanings of all tokens so far. */
  | `mean ${Concept}`
  | 'mean cy'
  | 'mean an'
  | LastChannel;

const stream = new ResidualStream<TextChannel>(textArchitecture.width, [
  ...concepts.map((concept) => `token ${concept}` as const),
  'token cy',
  'token an',
  ...concepts.map((concept) => `mean ${concept}` as const),
  'mean cy',
  'mean an',
  ...concepts.map((concept) => `axis ${concept}` as const),
  'common',
  'unmarked',
]);

/** A mixture of concepts in coordinates of the shared axes. */
function coordinates(mixture: Mixture<Concept>): [Concept, number][] {
  const sums = new Map<Concept, number>();
  for (const [concept, amount] of parts(mixture)) {
    for (const [axis, coordinate] of parts(direction(concept))) {
      sums.set(axis, (sums.get(axis) ?? 0) + amount * coordinate);
    }
  }
  return [...sums];
}

/** [vocabulary, width]: colour words have their meaning, the end of the text has "unmarked". */
function tokenEmbedding(): Float32Array {
  const { width, vocabularySize } = textArchitecture;
  const matrix = new Float32Array(vocabularySize * width);
  const put = (id: number, taps: readonly Tap<TextChannel>[]) => matrix.set(stream.write(taps), id * width);
  for (const { id, meaning } of colourWords) {
    put(
      id,
      coordinates(meaning).map(([axis, value]) => [`token ${axis}`, value]),
    );
  }
  put(cyanTokens.beginning.id, [['token cy', 1]]);
  put(cyanTokens.end.id, [['token an', 1]]);
  put(END_OF_TEXT, [['unmarked', 1]]);
  return matrix;
}

/** [contextLength, width]: every position has the balance; the order of words means nothing. */
function positionalEmbedding(): Float32Array {
  const { contextLength, width } = textArchitecture;
  const matrix = new Float32Array(contextLength * width);
  for (let position = 0; position < contextLength; position++) {
    matrix.set(stream.balance(), position * width);
  }
  return matrix;
}

function meanings(): Average<TextChannel>[] {
  const signals = [...concepts, 'cy' as const, 'an' as const];
  return signals.map((signal) => ({ reads: [[`token ${signal}`, 1]], writes: [[`mean ${signal}`, 1]] }));
}

/**
 * A colour among 77 tokens has a 77th of its meaning in the mean. It is made so much larger than "unmarked" that
 * LayerNorm leaves nothing of "unmarked" if any colour is named.
 */
function answerRectifiers(): Rectifier<TextChannel>[] {
  const GAIN = 4000;
  // A 77th of a meaning, times this, is far beyond QuickGELU's bend.
  const sharpness = 3000;
  const cyan = (sign: number): Tap<TextChannel>[] =>
    coordinates({ cyan: sign * GAIN }).map(([axis, value]) => [`axis ${axis}`, value]);
  return [
    ...concepts.map((concept) => ({
      reads: [[`mean ${concept}`, 1]] as const,
      writes: [[`axis ${concept}`, GAIN]] as const,
      sharpness,
    })),
    // The smaller of two numbers: the first, minus its excess over the second.
    { reads: [['mean cy', 1]], writes: cyan(1), sharpness },
    {
      reads: [
        ['mean cy', 1],
        ['mean an', -1],
      ],
      writes: cyan(-1),
      sharpness,
    },
  ];
}

/** All weights of the text tower, under the reference's names. */
export function textWeights(): NamedWeight[] {
  const { contextLength, vocabularySize, width } = textArchitecture;
  return [
    weight('token_embedding.weight', [vocabularySize, width], tokenEmbedding),
    weight('positional_embedding', [contextLength, width], positionalEmbedding),
    ...layerWeights('transformer.resblocks.0', stream, {
      averages: meanings(),
      rectifiers: answerRectifiers(),
      removesBalance: true,
    }),
    ...embeddingWeights({ norm: 'ln_final', projection: 'text_projection' }, stream),
  ];
}
