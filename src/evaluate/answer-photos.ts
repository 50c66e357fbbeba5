import { cosine, scoreAgainstBackground, softmax } from '../classify/decide.ts';
import { rankSimilarities } from '../classify/ranking.ts';
import { takeTurns } from '../turns.ts';

/** A photo as the model sees it: one embedding, or one for each of its tiles. [D] float32, L2-normalised. */
export type SeenPhoto = readonly Float32Array[];

/** Words as the model sees them in one template. [D] float32, L2-normalised. */
export interface SeenWords {
  readonly categories: readonly Float32Array[];
  readonly background: readonly Float32Array[];
}

/** What the model answers about one photo. */
export interface PhotoAnswer {
  /** The best category, by its place among the categories. */
  readonly best: number;
  /** The best categories by their places, best first. */
  readonly ranked: readonly number[];
  /** The score of the best category among all categories. */
  readonly plain: number;
  /** The score of the best category against the background. */
  readonly others: number;
}

/** How many of the best categories are kept. */
export const RANKED = 5;

/** Answers as the service does, from embeddings. @throws the signal's reason */
export async function answerPhotos(
  photos: readonly SeenPhoto[],
  { categories, background }: SeenWords,
  logitScale: number,
  signal: AbortSignal,
): Promise<readonly PhotoAnswer[]> {
  const score = softmax(logitScale);
  const turns = takeTurns(signal);
  const answers: PhotoAnswer[] = [];
  for (const tiles of photos) {
    const similarity = (words: Float32Array) => highest(tiles.map((tile) => cosine(tile, words)));
    const similarities = Float64Array.from(categories, similarity);
    const ranked = rankSimilarities(similarities, { score, limit: RANKED });
    const [best] = ranked;
    if (best === undefined) throw new RangeError('there are no categories');
    answers.push({
      best: best.name,
      ranked: ranked.map(({ name }) => name),
      plain: best.score,
      others: scoreAgainstBackground(logitScale, best.similarity, highest(background.map(similarity))),
    });
    if (turns.isOver) await turns.next();
  }
  return answers;
}

function highest(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
}
