import type { Score } from '../clip/family.ts';
import { invariant } from '../errors.ts';
import { takeTurns } from '../turns.ts';
import type { WorkContext } from '../work-context.ts';
import type { CandidateScore, Comparison, Ranking } from './classifier.ts';
import { similarityOf } from './decide.ts';

/** Names with their embeddings: of texts [D], of pictures [tiles, D] float32, each row L2-normalised. */
interface NamedEmbeddings<Name = string> {
  readonly names: readonly Name[];
  readonly embeddings: readonly Float32Array[];
}

interface RankOptions {
  /** The model's function from cosines to scores. */
  readonly score: Score;
  /**
   * How many of the best to return; default: all. Only these become objects: 10,000 pictures by 1,000 categories would
   * be ten million.
   */
  readonly limit?: number | undefined;
}

/**
 * Ranks candidates against one subject: categories against a picture, or pictures against a category.
 * Scores are computed over all candidates, under any limit.
 * @param subject embedding of a text [D], or of a picture [tiles, D]
 * @returns best first; ties in input order
 */
export function rank<Name = string>(
  subject: Float32Array,
  { names, embeddings }: NamedEmbeddings<Name>,
  { score, limit }: RankOptions,
): CandidateScore<Name>[] {
  const sameCount = names.length === embeddings.length;
  invariant(sameCount, `${names.length} names for ${embeddings.length} candidates`);
  const similarities = Float64Array.from(embeddings, (candidate) => similarityOf(subject, candidate));
  return rankSimilarities(similarities, { score, limit }).map((ranked) => ({
    ...ranked,
    name: names[ranked.name]!,
  }));
}

/** @returns candidates by their places, best first; ties in input order */
export function rankSimilarities(
  similarities: Float64Array,
  { score, limit = Number.POSITIVE_INFINITY }: RankOptions,
): CandidateScore<number>[] {
  const scores = score(similarities);
  return bestIndices(similarities, limit).map((index) => ({
    name: index,
    score: scores[index]!,
    similarity: similarities[index]!,
  }));
}

export function createComparison(categories: readonly Float32Array[], options: RankOptions): Comparison {
  return {
    compare: (embedding) => categories.map((category) => similarityOf(category, embedding)),
    rank: (similarities) => rankSimilarities(similarities, options),
  };
}

/** Indices of the `limit` largest values, largest first, ties in input order. */
function bestIndices(values: Float64Array, limit: number): number[] {
  const better = (a: number, b: number) => values[b]! - values[a]! || a - b;
  if (limit >= values.length) return [...values.keys()].sort(better);
  const best: number[] = [];
  for (let index = 0; index < values.length; index++) {
    if (best.length === limit && better(index, best[limit - 1] ?? index) >= 0) continue;
    let place = best.length;
    while (place > 0 && better(index, best[place - 1]!) < 0) place--;
    best.splice(place, 0, index);
    if (best.length > limit) best.pop();
  }
  return best;
}

/**
 * Ranks the candidates for every subject. 10,000 pictures by 1,000 categories need seconds: other requests have their
 * turns of the event loop in between.
 */
export async function rankEach<Candidate = string>(
  subjects: NamedEmbeddings,
  candidates: NamedEmbeddings<Candidate>,
  options: RankOptions,
  { signal }: WorkContext,
): Promise<readonly Ranking<Candidate>[]> {
  const rankings: Ranking<Candidate>[] = [];
  const turns = takeTurns(signal);
  for (const [index, embedding] of subjects.embeddings.entries()) {
    rankings.push({ name: subjects.names[index]!, candidates: rank(embedding, candidates, options) });
    if (turns.isOver) await turns.next();
  }
  return rankings;
}

/** The embeddings of a picture's tiles: [D] each → [tiles, D]. */
export function joinTiles(tiles: readonly Float32Array[]): Float32Array {
  const [first = new Float32Array()] = tiles;
  if (tiles.length === 1) return first;
  const all = new Float32Array(tiles.length * first.length);
  for (const [order, tile] of tiles.entries()) all.set(tile, order * first.length);
  return all;
}
