import type { Rules } from '../contract/options.ts';

interface Scored {
  /** 0 to 1. */
  readonly score: number;
}

/**
 * Cosine of L2-normalised vectors, clamped because rounding may carry the product past ±1. Four sums are twice as fast
 * as one, in which each addition waits for the last.
 */
export function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new RangeError(`embeddings of ${a.length} and ${b.length} numbers`);
  return cosineFrom(a, b, 0);
}

/** @param from where the other vector begins in `b` */
function cosineFrom(a: Float32Array, b: Float32Array, from: number): number {
  const fours = a.length - (a.length % 4);
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let i = 0; i < fours; i += 4) {
    sum0 += a[i]! * b[from + i]!;
    sum1 += a[i + 1]! * b[from + i + 1]!;
    sum2 += a[i + 2]! * b[from + i + 2]!;
    sum3 += a[i + 3]! * b[from + i + 3]!;
  }
  for (let i = fours; i < a.length; i++) sum0 += a[i]! * b[from + i]!;
  return Math.min(1, Math.max(-1, sum0 + sum1 + (sum2 + sum3)));
}

/**
 * The similarity of a picture with a text: with the fit `tiles`, that of the tile that fits best.
 * @param a the text's embedding [D], or the picture's [tiles, D]; `b` is the other one
 */
export function similarityOf(a: Float32Array, b: Float32Array): number {
  if (a.length === b.length) return cosine(a, b);
  const [text, picture] = a.length < b.length ? [a, b] : [b, a];
  if (text.length === 0 || picture.length % text.length !== 0) {
    throw new RangeError(`embeddings of ${a.length} and ${b.length} numbers`);
  }
  let best = -1;
  for (let from = 0; from < picture.length; from += text.length) {
    best = Math.max(best, cosineFrom(text, picture, from));
  }
  return best;
}

/** The embeddings of a picture's tiles: [D] each → [tiles, D]. */
export function joinTiles(tiles: readonly Float32Array[]): Float32Array {
  const [first = new Float32Array()] = tiles;
  if (tiles.length === 1) return first;
  const all = new Float32Array(tiles.length * first.length);
  for (const [order, tile] of tiles.entries()) all.set(tile, order * first.length);
  return all;
}

/** The embeddings of a picture's tiles, as views. @param embedding [tiles, D] */
export function tilesOf(embedding: Float32Array, dimension: number): readonly Float32Array[] {
  if (embedding.length === dimension) return [embedding];
  return Array.from({ length: embedding.length / dimension }, (_, tile) =>
    embedding.subarray(tile * dimension, (tile + 1) * dimension),
  );
}

/**
 * The embedding of a text in several templates, or of a category with several phrases: the mean, L2-normalised again, as in open_clip's
 * zero_shot_classifier. A single embedding is returned unchanged, to the bit.
 * @param embeddings at least one, [D] float32 each, L2-normalised
 * @returns [D] float32, L2-normalised; zeros where the embeddings cancel out
 */
export function averageEmbedding(embeddings: readonly Float32Array[]): Float32Array {
  const [first] = embeddings;
  if (!first) throw new RangeError('there are no embeddings to average');
  if (embeddings.length === 1) return first;
  const sum = new Float64Array(first.length);
  for (const embedding of embeddings) {
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + embedding[i]!;
  }
  // Normalising makes a division by the count unnecessary.
  const norm = Math.sqrt(sum.reduce((squares, value) => squares + value * value, 0));
  return Float32Array.from(sum, (value) => (norm === 0 ? 0 : value / norm));
}

/**
 * Makes the score of candidates that compete with each other: the softmax of their scaled cosines, 0 to 1. Computed in
 * double precision. The largest logit is subtracted first, so that no exponential overflows.
 * @param logitScale of the model: exp(logit_scale)
 */
export function softmax(logitScale: number): (similarities: Float64Array) => Float64Array {
  return (similarities) => {
    const largest = similarities.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const exponentials = similarities.map((similarity) => Math.exp(logitScale * (similarity - largest)));
    const sum = exponentials.reduce((a, b) => a + b, 0);
    return exponentials.map((exponential) => exponential / sum);
  };
}

/**
 * The score with `others`: one candidate competes, alone, with the background. It is the softmax of the two, so that it
 * does not depend on other candidates. It is a comparison, not a probability: above 0.5, the candidate fits better than
 * every phrase of the background.
 * @param logitScale of the model: exp(logit_scale)
 * @param similarity of the picture with the category
 * @param background the highest similarity of the same picture with a phrase of the background
 */
export function scoreAgainstBackground(logitScale: number, similarity: number, background: number): number {
  return 1 / (1 + Math.exp(logitScale * (background - similarity)));
}

/** The threshold where scores are comparisons with the background: a candidate has to be better than that. */
export const DEFAULT_OTHERS_THRESHOLD = 0.5;
/** Embeddings are rounded, in an index and by the model, which moves a score near one half by up to this much. */
const ROUNDING = 0.001;

/** Whether scores are comparisons with the background. Several answers need them. */
export function usesBackground({ others = false, several = false }: Rules): boolean {
  return others || several;
}

/** The lowest score of an answer. */
export function thresholdOf(rules: Rules): number {
  return rules.threshold ?? (usesBackground(rules) ? DEFAULT_OTHERS_THRESHOLD : 0);
}

/**
 * Two categories above this cosine share one meaning, and one score. The limit is high, because CLIP gives all short
 * texts a high cosine, and more so in one template: a lower one would report neighbours such as two breeds of dogs. It
 * is a judgement: `bun run bench --only others --model FILE` prints the cosines of pairs of words for your weights.
 */
export const SYNONYM_COSINE = 0.98;

/** How many of the best candidates `decide` compares. A ranking keeps at least as many. */
export const DECIDING_CANDIDATES = 1;

/**
 * Decides which candidate is the answer. The service, the command line and the page all call this function.
 * @param ranked candidates, best first; at least `DECIDING_CANDIDATES`, if there are that many
 * @returns null: no candidate is good enough
 */
export function decide<Candidate extends Scored>(
  ranked: readonly Candidate[],
  rules: Rules,
): Candidate | null {
  const [best] = ranked;
  return best && isListed(best, rules) ? best : null;
}

/**
 * Decides which candidates are the answers if there may be several.
 * @param ranked all candidates, best first
 * @returns those that are good enough, best first; none if no candidate is
 */
export function decideSeveral<Candidate extends Scored>(
  ranked: readonly Candidate[],
  rules: Rules,
): Candidate[] {
  return ranked.filter((candidate) => isListed(candidate, rules));
}

/**
 * Whether a candidate alone, the best one or not, is good enough to be shown among the best. One that is as good as the
 * background, such as a category that is as neutral, is not better than it.
 */
export function isListed({ score }: Scored, rules: Rules): boolean {
  const isCompared = rules.threshold === undefined && usesBackground(rules);
  return isCompared ? score > DEFAULT_OTHERS_THRESHOLD + ROUNDING : score >= thresholdOf(rules);
}
