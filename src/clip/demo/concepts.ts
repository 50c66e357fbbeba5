import { type NamedWeight, type ResidualStream, weight } from './residual-stream.ts';

/** The eleven basic colour terms of English (Berlin and Kay), and two more that are frequent in pictures. */
export const colours = [
  'red',
  'orange',
  'yellow',
  'green',
  'cyan',
  'blue',
  'purple',
  'pink',
  'brown',
  'beige',
  'black',
  'grey',
  'white',
] as const;

/** The amount of light of any colour. */
export const brightnesses = ['dark', 'bright'] as const;

export type Colour = (typeof colours)[number];
export type Brightness = (typeof brightnesses)[number];
export type Concept = Colour | Brightness;

export const concepts: readonly Concept[] = [...colours, ...brightnesses];

/** A weighted sum of concepts, or of axes; absent ones are 0. */
export type Mixture<Name extends string> = { readonly [name in Name]?: number };

/** The parts of a mixture, typed by their names. */
export function parts<Name extends string>(mixture: Mixture<Name>): [Name, number][] {
  return Object.entries(mixture) as [Name, number][];
}

/** A colour's coordinate on the axis of each of its parents. */
const KINSHIP = 0.42;

/**
 * The colours that are seen as blends of others, after Hering's opponent colours: red, yellow, green, blue, black and
 * white are pure. So an orange picture is closer to "red" and "yellow" than to "blue", which matters if "orange" is
 * not offered.
 */
const parents: Partial<Record<Concept, readonly Colour[]>> = {
  orange: ['red', 'yellow'],
  cyan: ['green', 'blue'],
  purple: ['red', 'blue'],
  pink: ['red', 'white'],
  brown: ['red', 'yellow', 'black'],
  beige: ['yellow', 'white'],
  grey: ['black', 'white'],
};

/**
 * A concept's unit vector in the space that both towers share: one axis a concept, orthonormal. Its own axis has the
 * rest beside its parents' share.
 */
export function direction(concept: Concept): Mixture<Concept> {
  const kin = parents[concept] ?? [];
  const own = Math.sqrt(1 - kin.length * KINSHIP ** 2);
  return { ...Object.fromEntries(kin.map((parent) => [parent, KINSHIP])), [concept]: own };
}

/** A channel of each tower's last layer with one coordinate of the answer. */
type AxisChannel = `axis ${Concept}`;

/** Dimensions of the shared embedding: one for each concept, then the two below, then unused ones. */
export const EMBEDDING_DIMENSION = 64;
const COMMON_DIMENSION = concepts.length;
const UNMARKED_DIMENSION = concepts.length + 1;

/**
 * Every embedding has this much of the common dimension for 1 of its concepts. So the cosine of unrelated colours is
 * 0.39, of matching ones 1.
 */
const COMMON = 0.8;

/**
 * A text without a colour has this much of a dimension that no picture has. So its cosine with every picture is 0.49:
 * less than a matching colour, more than an absent one.
 */
const UNMARKED = 0.67;

/** The channels that a tower's last LayerNorm reads. */
export type LastChannel = AxisChannel | 'common' | 'unmarked';

interface EmbeddingNames {
  readonly norm: string;
  readonly projection: string;
}

/**
 * The last LayerNorm and the projection. The balance has been removed, so LayerNorm scales the answer's axes to one
 * length, even for a weak signal. Its bias then adds the common dimension.
 */
export function embeddingWeights<Channel extends string>(
  names: EmbeddingNames,
  stream: ResidualStream<Channel | LastChannel>,
): NamedWeight[] {
  const { width } = stream;
  const answer = [...concepts.map((concept): AxisChannel => `axis ${concept}`), 'unmarked' as const];
  return [
    weight(`${names.norm}.weight`, [width], () => {
      const gain = new Float32Array(width);
      for (const channel of answer) gain[stream.channel(channel)] = 1;
      return gain;
    }),
    weight(`${names.norm}.bias`, [width], () => {
      const bias = new Float32Array(width);
      // LayerNorm gives its vectors the length √width.
      bias[stream.channel('common')] = COMMON * Math.sqrt(width);
      return bias;
    }),
    weight(names.projection, [width, EMBEDDING_DIMENSION], () => {
      const matrix = new Float32Array(width * EMBEDDING_DIMENSION);
      const put = (channel: LastChannel, dimension: number, value: number) => {
        matrix[stream.channel(channel) * EMBEDDING_DIMENSION + dimension] = value;
      };
      for (const [dimension, concept] of concepts.entries()) put(`axis ${concept}`, dimension, 1);
      put('common', COMMON_DIMENSION, 1);
      put('unmarked', UNMARKED_DIMENSION, UNMARKED);
      return matrix;
    }),
  ];
}
