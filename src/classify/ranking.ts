import { takeTurns } from '../turns.ts';
import type { CandidateScore, Ranking } from './classifier.ts';

/**
 * Ranks candidates against one subject: categories against a picture, or pictures against a category.
 * The softmax is over all candidates, whatever the limit is.
 * @param subject embedding [D] float32, L2-normalised
 * @param candidates embeddings [D] float32, L2-normalised, one a name
 * @param logitScale exp(logit_scale): what cosines are multiplied with before the softmax
 * @param limit how many of the best to return; default: all. Only these become objects, so that ranking
 *   10,000 pictures by 1,000 categories does not have to hold ten million of them
 * @returns best first; ties in input order
 */
export function rank<Name = string>(
  subject: Float32Array,
  candidates: readonly Float32Array[],
  names: readonly Name[],
  logitScale: number,
  limit = Number.POSITIVE_INFINITY,
): CandidateScore<Name>[] {
  if (names.length !== candidates.length) {
    throw new Error(`This is a bug: ${names.length} names for ${candidates.length} candidates`);
  }
  const similarities = Float64Array.from(candidates, (candidate) => cosine(subject, candidate));
  const scores = softmax(similarities, logitScale);
  return bestIndices(similarities, limit).map((index) => ({
    name: names[index] as Name,
    score: scores[index] as number,
    similarity: similarities[index] as number,
  }));
}

/**
 * Of L2-normalised vectors; rounding may carry the product past ±1, which no cosine can be. Four sums at
 * once, because one alone waits for each addition: about twice as fast.
 */
function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new Error(`This is a bug: embeddings of ${a.length} and ${b.length}`);
  const fours = a.length - (a.length % 4);
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let i = 0; i < fours; i += 4) {
    sum0 += (a[i] as number) * (b[i] as number);
    sum1 += (a[i + 1] as number) * (b[i + 1] as number);
    sum2 += (a[i + 2] as number) * (b[i + 2] as number);
    sum3 += (a[i + 3] as number) * (b[i + 3] as number);
  }
  for (let i = fours; i < a.length; i++) sum0 += (a[i] as number) * (b[i] as number);
  return Math.min(1, Math.max(-1, sum0 + sum1 + (sum2 + sum3)));
}

/** In double precision; the largest logit is subtracted first, so that nothing overflows. */
function softmax(similarities: Float64Array, logitScale: number): Float64Array {
  const largest = similarities.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exponentials = similarities.map((similarity) => Math.exp(logitScale * (similarity - largest)));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((exponential) => exponential / sum);
}

/** Indices of the `limit` largest values, largest first, ties in input order. */
function bestIndices(values: Float64Array, limit: number): number[] {
  const better = (a: number, b: number) => (values[b] as number) - (values[a] as number) || a - b;
  if (limit >= values.length) return [...values.keys()].sort(better);
  const best: number[] = [];
  for (let index = 0; index < values.length; index++) {
    if (best.length === limit && better(index, best[limit - 1] ?? index) >= 0) continue;
    let place = best.length;
    while (place > 0 && better(index, best[place - 1] as number) < 0) place--;
    best.splice(place, 0, index);
    if (best.length > limit) best.pop();
  }
  return best;
}

/** Names with their embeddings [D], in the order sent. */
interface NamedEmbeddings<Name = string> {
  readonly names: readonly Name[];
  readonly embeddings: readonly Float32Array[];
}

interface RankEachOptions {
  readonly logitScale: number;
  readonly limit: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Ranks the candidates for every subject. Lets the event loop turn in between: 10,000 pictures by 1,000
 * categories take seconds.
 */
export async function rankEach<Candidate = string>(
  subjects: NamedEmbeddings,
  candidates: NamedEmbeddings<Candidate>,
  { logitScale, limit, signal }: RankEachOptions,
): Promise<readonly Ranking<Candidate>[]> {
  const rankings: Ranking<Candidate>[] = [];
  const turns = takeTurns(signal);
  for (const [index, embedding] of subjects.embeddings.entries()) {
    rankings.push({
      name: subjects.names[index] as string,
      candidates: rank(embedding, candidates.embeddings, candidates.names, logitScale, limit),
    });
    if (turns.isOver) await turns.next();
  }
  return rankings;
}
