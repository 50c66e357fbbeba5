import { answerTo, type Photo, type Question } from './photo.ts';

/**
 * For each category the photos that fit it best, best first, equal ones in the order given. Ranked by
 * similarity: photos come from several requests, and a softmax over photos (the score of /image) only holds
 * within one; over all of them it would give this same order.
 * @param count how many for each category
 * @param threshold least score a photo has for the category, 0 to 1
 */
export function bestPhotos(
  photos: readonly Photo[],
  question: Question,
  count: number,
  threshold: number,
): readonly (readonly Photo[])[] {
  const answered = photos.filter((photo) => !photo.fault && answerTo(photo, question));
  return question.labels.map((_, label) => {
    const best: Photo[] = [];
    for (const photo of answered) {
      const similarity = similarityTo(photo, label);
      // NaN where the service listed only other categories.
      if (!(similarity >= -1) || (photo.answer?.scores[label] ?? 0) < threshold) continue;
      const last = best[count - 1];
      if (last && similarity <= similarityTo(last, label)) continue;
      let place = best.length;
      while (place > 0 && similarity > similarityTo(best[place - 1] as Photo, label)) place--;
      best.splice(place, 0, photo);
      if (best.length > count) best.pop();
    }
    return best;
  });
}

function similarityTo({ answer }: Photo, label: number): number {
  return answer?.similarities[label] ?? Number.NaN;
}

/** Photos that belong together, best first. */
interface PhotoGroup {
  /** Index of the category. */
  readonly label: number;
  readonly photos: readonly Photo[];
}

/** Every photo in exactly one place. */
export interface Grouping {
  /** Categories that got photos, in the order written. */
  readonly groups: readonly PhotoGroup[];
  /** Categories that got none. */
  readonly empty: readonly number[];
  /** The best category's score is below the threshold. */
  readonly undecided: readonly Photo[];
  readonly broken: readonly Photo[];
  /** Not asked yet, or asked something else. */
  readonly waiting: readonly Photo[];
}

/** @param threshold least score of the best category, 0 to 1 */
export function groupByCategory(photos: readonly Photo[], question: Question, threshold: number): Grouping {
  const byLabel: Photo[][] = question.labels.map(() => []);
  const undecided: Photo[] = [];
  const broken: Photo[] = [];
  const waiting: Photo[] = [];
  for (const photo of photos) {
    const [label] = answerTo(photo, question)?.best ?? [];
    if (photo.fault) broken.push(photo);
    else if (label === undefined) waiting.push(photo);
    else if (bestScore(photo) < threshold) undecided.push(photo);
    else byLabel[label]?.push(photo);
  }
  const bestFirst = (a: Photo, b: Photo) => bestScore(b) - bestScore(a) || a.id - b.id;
  const all = byLabel.map((photos, label): PhotoGroup => ({ label, photos: photos.sort(bestFirst) }));
  return {
    groups: all.filter(({ photos }) => photos.length > 0),
    empty: all.filter(({ photos }) => photos.length === 0).map(({ label }) => label),
    undecided: undecided.sort(bestFirst),
    broken,
    waiting,
  };
}

function bestScore({ answer }: Photo): number {
  return answer?.scores[answer.best[0] ?? -1] ?? 0;
}
