import { takeTurns } from '../clip/turns.ts';
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
