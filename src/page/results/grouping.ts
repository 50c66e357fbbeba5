import { decide, isListed } from '../../classify/decide.ts';
import type { Rules } from '../../contract/options.ts';
import { answerTo, bestOf, type Photo, type Question } from './photo.ts';

/**
 * For each category the photos that fit it best, best first, equal ones in the order given. They are ranked by
 * similarity. The scores of /image are a softmax over the photos of one request, and these photos come from several;
 * over all photos, such scores would have the same order.
 * @param count how many for each category
 */
export function bestPhotos(
  photos: readonly Photo[],
  question: Question,
  count: number,
  rules: Rules,
): readonly (readonly Photo[])[] {
  const answered = photos.filter((photo) => !photo.fault && answerTo(photo, question));
  return question.labels.map((_, label) => {
    const best: Photo[] = [];
    for (const photo of answered) {
      const similarity = similarityTo(photo, label);
      // NaN where the service listed only other categories.
      if (Number.isNaN(similarity) || !isListed({ score: photo.answer?.scores[label] ?? 0 }, rules)) continue;
      const last = best[count - 1];
      if (last && similarity <= similarityTo(last, label)) continue;
      let place = best.length;
      while (place > 0 && similarity > similarityTo(best[place - 1]!, label)) place--;
      best.splice(place, 0, photo);
      if (best.length > count) best.pop();
    }
    return best;
  });
}

function similarityTo({ answer }: Photo, label: number): number {
  return answer?.similarities[label] ?? Number.NaN;
}

/** The photos of one category, best first. */
interface PhotoGroup {
  /** Index of the category. */
  readonly label: number;
  readonly photos: readonly Photo[];
}

/** Each photo is in exactly one of these places. */
export interface Grouping {
  /** Categories with photos, in the order written. */
  readonly groups: readonly PhotoGroup[];
  /** Categories without photos. */
  readonly empty: readonly number[];
  /** The best category is not good enough. */
  readonly undecided: readonly Photo[];
  readonly broken: readonly Photo[];
  /** Without an answer to this question. */
  readonly waiting: readonly Photo[];
}

/** Groups photos by the category that is their answer. */
export function groupByCategory(photos: readonly Photo[], question: Question, rules: Rules): Grouping {
  const byLabel: Photo[][] = question.labels.map(() => []);
  const undecided: Photo[] = [];
  const broken: Photo[] = [];
  const waiting: Photo[] = [];
  for (const photo of photos) {
    const answer = answerTo(photo, question);
    const decided = answer && decide(bestOf(answer), rules);
    if (photo.fault) broken.push(photo);
    else if (!answer || answer.best.length === 0) waiting.push(photo);
    else if (!decided) undecided.push(photo);
    else byLabel[decided.label]?.push(photo);
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
