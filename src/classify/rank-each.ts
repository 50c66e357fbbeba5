import type { Ranking } from './classifier.ts';
import { rank } from './ranking.ts';

/** Names with their embeddings [D], in the order sent. */
export interface NamedEmbeddings<Name = string> {
  readonly names: readonly Name[];
  readonly embeddings: readonly Float32Array[];
}

export interface RankEachOptions {
  readonly logitScale: number;
  readonly limit: number | undefined;
  readonly signal: AbortSignal;
}

/** Comparing this many pairs takes some 10 ms: so long may other requests wait for their turn. */
const pairsPerTurn = 25_000;

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
  let pairs = 0;
  for (const [index, embedding] of subjects.embeddings.entries()) {
    rankings.push({
      name: subjects.names[index] as string,
      candidates: rank(embedding, candidates.embeddings, candidates.names, logitScale, limit),
    });
    pairs += candidates.names.length;
    if (pairs >= pairsPerTurn) {
      pairs = 0;
      await Bun.sleep(0);
      signal.throwIfAborted();
    }
  }
  return rankings;
}
