import { cosine } from '../../classify/decide.ts';
import { takeTurns } from '../../turns.ts';
import { ROUNDING } from './similarities.ts';

interface GroupOptions {
  /** −1 to 1. */
  readonly minSimilarity: number;
  readonly signal: AbortSignal;
  /** Called with the number of pictures that have been compared with all earlier ones. */
  readonly tellCompared: (done: number, total: number) => void;
}

interface GroupMember {
  readonly place: number;
  /** With the first of the group; 1 for the first itself. */
  readonly similarity: number;
}

/** The first numbers of an embedding, from which most pairs are known to be different. */
const FIRST_NUMBERS = 128;
/**
 * Groups pictures that look alike. Each picture joins the group whose first picture is most similar; a chain of small
 * differences does not join different pictures. Compares each picture with the first one of every group, so twice as
 * many pictures take four times as long.
 * @param embeddings [D] float32 each, L2-normalised; undefined: not to be compared
 * @returns the groups of two and more, by their first pictures
 */
export async function groupNearDuplicates(
  embeddings: readonly (Float32Array | undefined)[],
  { minSimilarity, signal, tellCompared }: GroupOptions,
): Promise<readonly (readonly GroupMember[])[]> {
  const turns = takeTurns(signal);
  const firsts: {
    readonly embedding: Float32Array;
    readonly rest: number;
    readonly members: GroupMember[];
  }[] = [];
  for (const [place, embedding] of embeddings.entries()) {
    if (!embedding) continue;
    const rest = lengthOfRest(embedding);
    let best: { readonly members: GroupMember[]; readonly similarity: number } | undefined;
    for (const first of firsts) {
      // By Cauchy and Schwarz, the other numbers add at most the product of their lengths.
      const atLeast = Math.max(minSimilarity, best?.similarity ?? -1);
      if (firstProduct(embedding, first.embedding) + rest * first.rest < atLeast - 2 * ROUNDING) continue;
      const similarity = cosine(first.embedding, embedding);
      if (
        similarity >= minSimilarity - ROUNDING &&
        similarity > (best?.similarity ?? Number.NEGATIVE_INFINITY)
      ) {
        best = { members: first.members, similarity };
      }
    }
    if (best) best.members.push({ place, similarity: best.similarity });
    else firsts.push({ embedding, rest, members: [{ place, similarity: 1 }] });
    if (turns.isOver) {
      tellCompared(place, embeddings.length);
      await turns.next();
    }
  }
  return firsts.map(({ members }) => members).filter(({ length }) => length > 1);
}

function firstProduct(a: Float32Array, b: Float32Array): number {
  const end = Math.min(FIRST_NUMBERS, a.length);
  let even = 0;
  let odd = 0;
  for (let i = 0; i < end; i += 2) {
    even += a[i]! * b[i]!;
    odd += (a[i + 1] ?? 0) * (b[i + 1] ?? 0);
  }
  return even + odd;
}

function lengthOfRest(embedding: Float32Array): number {
  let sum = 0;
  for (let i = FIRST_NUMBERS; i < embedding.length; i++) sum += embedding[i]! ** 2;
  return Math.sqrt(sum);
}
