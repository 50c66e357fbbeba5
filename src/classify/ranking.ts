import type { Score } from '../clip/family.ts';
import type { Rules } from '../contract/options.ts';
import { invariant } from '../errors.ts';
import { takeTurns } from '../turns.ts';
import type { WorkContext } from '../work-context.ts';
import type { BackgroundMatch, CandidateScore, Comparison, Ranking } from './classifier.ts';
import { isListed, scoreAgainstBackground, similarityOf } from './decide.ts';

/** Names with their embeddings: of texts [D], of pictures [tiles, D] float32, each row L2-normalised. */
interface NamedEmbeddings<Name = string> {
  readonly names: readonly Name[];
  readonly embeddings: readonly Float32Array[];
}

/** The phrases that candidates compete with, and what their scores need. */
export interface Background extends NamedEmbeddings {
  readonly logitScale: number;
  /** Candidates that are good enough by these come first. */
  readonly rules: Rules;
}

export interface RankOptions {
  /** The model's function from cosines to scores. */
  readonly score: Score;
  /**
   * How many of the best to return; default: all. Only these become objects: 10,000 pictures by 1,000 categories would
   * be ten million.
   */
  readonly limit?: number | undefined;
  /** Set if candidates compete with it, instead of with each other. */
  readonly background?: Background | undefined;
}

/** The background's match of a candidate's picture, by the candidate's place. */
export type MatchOf = (candidate: number) => BackgroundMatch;

/** @param embedding of a picture, [tiles, D] float32 */
export function matchBackground(
  embedding: Float32Array,
  { names, embeddings }: NamedEmbeddings,
): BackgroundMatch {
  return strongest(
    names,
    embeddings.map((phrase) => similarityOf(embedding, phrase)),
  );
}

function strongest(phrases: readonly string[], similarities: readonly number[]): BackgroundMatch {
  let best = 0;
  for (const [index, similarity] of similarities.entries())
    if (similarity > similarities[best]!) best = index;
  return { phrase: phrases[best]!, similarity: similarities[best]! };
}

/**
 * Ranks categories for one picture.
 * Scores are computed over all candidates, under any limit.
 * @param picture embedding [tiles, D] float32, each row L2-normalised
 * @returns best first; ties in input order
 */
export function rank<Name = string>(
  picture: Float32Array,
  categories: NamedEmbeddings<Name>,
  options: RankOptions,
): CandidateScore<Name>[] {
  const match = options.background && matchBackground(picture, options.background);
  return rankNamed(picture, categories, options, match && (() => match));
}

function rankNamed<Name>(
  subject: Float32Array,
  { names, embeddings }: NamedEmbeddings<Name>,
  options: RankOptions,
  matchOf: MatchOf | undefined,
): CandidateScore<Name>[] {
  const sameCount = names.length === embeddings.length;
  invariant(sameCount, `${names.length} names for ${embeddings.length} candidates`);
  const similarities = Float64Array.from(embeddings, (candidate) => similarityOf(subject, candidate));
  return rankSimilarities(similarities, options, matchOf).map((ranked) => ({
    ...ranked,
    name: names[ranked.name]!,
  }));
}

/**
 * @param matchOf needed with a background
 * @returns candidates by their places, best first; ties in input order
 */
export function rankSimilarities(
  similarities: Float64Array,
  { score, limit = Number.POSITIVE_INFINITY, background }: RankOptions,
  matchOf?: MatchOf,
): CandidateScore<number>[] {
  if (!background || !matchOf) {
    const scores = score(similarities);
    return bestIndices(similarities, limit).map((index) => ({
      name: index,
      score: scores[index]!,
      similarity: similarities[index]!,
    }));
  }
  const { scores, passing, passed } = scoresAgainst(similarities, background, matchOf);
  const kept = background.rules.several ? Math.max(limit, passed) : limit;
  return bestIndices(similarities, kept, passing).map((index) => ({
    name: index,
    score: scores[index]!,
    similarity: similarities[index]!,
    background: matchOf(index),
  }));
}

/** The scores of candidates that compete with the background, and which of them are good enough: 1, otherwise 0. */
export function scoresAgainst(similarities: Float64Array, background: Background, matchOf: MatchOf) {
  const scores = similarities.map((similarity, index) =>
    scoreAgainstBackground(background.logitScale, similarity, matchOf(index).similarity),
  );
  let passed = 0;
  const passing = Uint8Array.from(scores, (score) => {
    const isGood = isListed({ score }, background.rules);
    if (isGood) passed += 1;
    return isGood ? 1 : 0;
  });
  return { scores, passing, passed };
}

export function createComparison(categories: readonly Float32Array[], options: RankOptions): Comparison {
  const { background } = options;
  const all = [...categories, ...(background?.embeddings ?? [])];
  const matchOf = (similarities: readonly Float64Array[]): MatchOf => {
    const phrases = similarities.slice(categories.length);
    return (picture) =>
      strongest(
        background?.names ?? [],
        phrases.map((values) => values[picture]!),
      );
  };
  return {
    width: all.length,
    compare: (embedding) => all.map((text) => similarityOf(text, embedding)),
    rank: (similarities, category) =>
      rankSimilarities(similarities[category]!, options, background && matchOf(similarities)),
  };
}

/**
 * Indices of the `limit` largest values, largest first, ties in input order.
 * @param passing [values] those with 1 come before those with 0
 */
function bestIndices(values: Float64Array, limit: number, passing?: Uint8Array): number[] {
  const better = (a: number, b: number) =>
    (passing ? passing[b]! - passing[a]! : 0) || values[b]! - values[a]! || a - b;
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

interface RankEachOptions extends RankOptions {
  /** Which side the pictures are. */
  readonly pictures: 'subjects' | 'candidates';
  readonly onKept?: ((candidates: number) => void) | undefined;
}

/**
 * Ranks the candidates for every subject. 10,000 pictures by 1,000 categories need seconds: other requests have their
 * turns of the event loop in between.
 */
export async function rankEach<Candidate = string>(
  subjects: NamedEmbeddings,
  candidates: NamedEmbeddings<Candidate>,
  options: RankEachOptions,
  { signal }: WorkContext,
): Promise<readonly Ranking<Candidate>[]> {
  const { background, pictures, onKept } = options;
  const rankings: Ranking<Candidate>[] = [];
  const turns = takeTurns(signal);
  const matches: BackgroundMatch[] = [];
  if (background) {
    const { embeddings } = pictures === 'subjects' ? subjects : candidates;
    for (const embedding of embeddings) {
      matches.push(matchBackground(embedding, background));
      if (turns.isOver) await turns.next();
    }
  }
  for (const [index, embedding] of subjects.embeddings.entries()) {
    const matchOf = (candidate: number) => matches[pictures === 'subjects' ? index : candidate]!;
    const ranked = rankNamed(embedding, candidates, options, background && matchOf);
    onKept?.(ranked.length);
    rankings.push({ name: subjects.names[index]!, candidates: ranked });
    if (turns.isOver) await turns.next();
  }
  return rankings;
}
