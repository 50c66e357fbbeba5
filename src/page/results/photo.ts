import { decide, isListed } from '../../classify/decide.ts';
import type { Rules } from '../../contract/options.ts';

/** The question for every photo. A changed question is a new object: answers are matched to it by identity. */
export interface Question {
  readonly labels: readonly string[];
  /** A sentence with one `{}`; empty: the labels themselves. */
  readonly template: string;
}

/** The scores of one photo. */
export interface PhotoAnswer {
  readonly question: Question;
  /** [labels] cosine with each category. */
  readonly similarities: Float32Array;
  /** [labels] softmax over the categories, 0 to 1. */
  readonly scores: Float32Array;
  /** Indices of the best categories, best first. */
  readonly best: readonly number[];
  /** A sentence about the part of the photo that is missing. */
  readonly warning?: string | undefined;
  /** A small JPEG of the square that the model has looked at, if browsers do not show the photo's format. */
  readonly thumbnail?: Blob | undefined;
}

/** Why a file could not be used. */
export interface Fault {
  readonly code: string;
  /** For a person. */
  readonly sentence: string;
}

/** A photo on the page. The browser reads its bytes from the disk only when needed. */
export interface Photo {
  readonly id: number;
  readonly file: File;
  /** The file's size. It is stored because browsers read it from the disk each time. */
  readonly bytes: number;
  /** The file's name, with its folders in a dropped folder. */
  readonly path: string;
  answer?: PhotoAnswer;
  fault?: Fault;
}

/** A photo's score for one category. */
interface Standing {
  /** Index of the category. */
  readonly label: number;
  readonly score: number;
  readonly similarity: number;
}

/** The best categories of a photo, best first. */
export function bestOf({ best, scores, similarities }: PhotoAnswer): readonly Standing[] {
  return best.map((label) => ({ label, score: scores[label]!, similarity: similarities[label]! }));
}

/** The photo's answer, if it answers this question. */
export function answerTo(photo: Photo, question: Question): PhotoAnswer | undefined {
  return photo.answer?.question === question ? photo.answer : undefined;
}

/**
 * The best photos of each category, best first, equal ones in the order given. They are ranked by similarity, because
 * the scores of /image are a softmax over the photos of one request, and these photos come from several requests. A
 * softmax over all photos would have the same order.
 * @param count photos per category
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
      // NaN: the service did not list this category.
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

/** Each photo is in exactly one of these lists. */
export interface Grouping {
  /** Categories with photos, in the order written. */
  readonly groups: readonly PhotoGroup[];
  /** Categories without photos. */
  readonly empty: readonly number[];
  /** Photos whose best score is below the threshold. */
  readonly undecided: readonly Photo[];
  readonly broken: readonly Photo[];
  /** Photos without an answer to this question. */
  readonly waiting: readonly Photo[];
}

/** Groups photos by their category. */
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
