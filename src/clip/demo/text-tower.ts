import type { TextArchitecture } from '../architecture.ts';
import { colourWords, cyanTokens } from './colour-words.ts';
import { type Concept, concepts, direction, type Mixture, parts } from './concepts.ts';
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
  /** What a token means. */
  | `token ${Concept}`
  | 'token cy'
  | 'token an'
  /** The mean of what all tokens so far mean. */
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

/** [vocabulary, width]: colour words carry their meaning, the end of the text carries "unmarked". */
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

/** [contextLength, width]: every position holds the balance; the order of words means nothing. */
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
 * A colour among 77 tokens leaves a 77th of its meaning in the mean: it is made large against "unmarked",
 * so that LayerNorm leaves nothing of that as soon as any colour is named.
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
    // The smaller of two numbers: the first, less what it has over the second.
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
