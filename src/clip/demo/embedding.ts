import { type Concept, concepts } from './concepts.ts';
import { type NamedWeight, type ResidualStream, weight } from './residual-stream.ts';

/** A channel of either tower's last layer that carries one coordinate of the answer. */
export type AxisChannel = `axis ${Concept}`;

/** Dimensions of the shared embedding: one for each concept, then these two, then unused ones. */
export const EMBEDDING_DIMENSION = 64;
const COMMON_DIMENSION = concepts.length;
const UNMARKED_DIMENSION = concepts.length + 1;

/**
 * Every embedding has this much of the common dimension for 1 of its concepts: the cosine of unrelated
 * colours is then 0.39, of matching ones 1.
 */
const COMMON = 0.8;

/**
 * A text that names no colour has this much of a dimension that no picture has. Its cosine with every
 * picture is then 0.49: behind a matching colour, before an absent one.
 */
const UNMARKED = 0.67;

/** The channels that a tower's last LayerNorm reads. */
export type LastChannel = AxisChannel | 'common' | 'unmarked';

/** Names of the weights that make an embedding of a tower's last token: LayerNorm's, and the projection's. */
interface EmbeddingNames {
  readonly norm: string;
  readonly projection: string;
}

/**
 * The last LayerNorm and the projection. The balance is gone by now, so that LayerNorm scales the answer's
 * axes to one length, however weak the signal was; its bias then adds the common dimension.
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
