import type { Categories, Classifier, LabelOptions } from '../classify/classifier.ts';
import { invariant } from '../errors.ts';
import { takeTurns } from '../turns.ts';
import type { WorkContext } from '../work-context.ts';

/** What the model answers about one photo. Categories are given by their places. */
export interface PhotoAnswer {
  readonly best: number;
  /** The best five categories, best first. */
  readonly ranked: readonly number[];
  /** The score of the best category among all categories; 0 to 1. */
  readonly plain: number;
  /** The score of the best category against the background; 0 to 1. */
  readonly others: number;
}

const RANKED = 5;

/**
 * Answers about photos exactly as the service does, without and with `others`.
 * @param photos by name, as the model sees them
 * @throws the signal's reason
 */
export async function answerPhotos(
  classifier: Pick<Classifier, 'createRanker'>,
  photos: ReadonlyMap<string, Float32Array>,
  { categories, ...options }: LabelOptions & { readonly categories: Categories },
  work: WorkContext,
): Promise<ReadonlyMap<string, PhotoAnswer>> {
  const rankPlain = await classifier.createRanker(categories, { ...options, limit: RANKED }, work);
  const againstOthers = { ...options, others: true, limit: 1 };
  const rankOthers = await classifier.createRanker(categories, againstOthers, work);
  const places = new Map(categories.labels.map((label, place) => [label, place]));
  const turns = takeTurns(work.signal);
  const answers = new Map<string, PhotoAnswer>();
  for (const [name, embedding] of photos) {
    const ranked = rankPlain(embedding);
    const placed = ranked.map((one) => places.get(one.name) ?? -1);
    const [plain, others, best] = [ranked[0], rankOthers(embedding)[0], placed[0]];
    invariant(plain && others && best !== undefined, 'a photo without an answer');
    // Both kinds of scores have the order of the similarities.
    invariant(others.name === plain.name, 'the best category depends on the kind of score');
    answers.set(name, { best, ranked: placed, plain: plain.score, others: others.score });
    if (turns.isOver) await turns.next();
  }
  return answers;
}
