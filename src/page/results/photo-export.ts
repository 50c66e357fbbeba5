import { bestPhotos } from './best-photos.ts';
import { csvText } from './csv.ts';
import { groupByCategory } from './grouping.ts';
import { answerTo, type Photo, type Question } from './photo.ts';

/** What is saved: the answers to one question, as they are shown. */
export interface PhotoResults {
  readonly photos: readonly Photo[];
  readonly question: Question;
  /** Name of the model. */
  readonly model: string | undefined;
  /** Least score that counts, 0 to 1. */
  readonly threshold: number;
  /** How many categories of a photo and photos of a category are listed. */
  readonly topK: number;
}

/** The detailed answer of /categorize for all photos together, and the best photos of every category. */
export function photosJson({ photos, question, model, threshold, topK }: PhotoResults): string {
  const best = bestPhotos(photos, question, topK, threshold);
  const document = {
    model: model ?? null,
    template: question.template || null,
    threshold,
    results: answered(photos, question).map(({ path, answer }) => {
      const scores = answer.best.slice(0, topK).map((label) => ({
        category: question.labels[label],
        score: rounded(answer.scores[label]),
        similarity: rounded(answer.similarities[label]),
      }));
      const [first] = scores;
      const isClear = (first?.score ?? 0) >= threshold;
      return { file: path, ...first, category: isClear ? (first?.category ?? null) : null, scores };
    }),
    best: question.labels.map((category, label) => ({
      category,
      photos: (best[label] ?? []).map(({ path, answer }) => ({
        file: path,
        score: rounded(answer?.scores[label]),
        similarity: rounded(answer?.similarities[label]),
      })),
    })),
    errors: photos.flatMap(({ path, fault }) =>
      fault ? [{ file: path, code: fault.code, error: fault.sentence }] : [],
    ),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** One line a photo, in groups as they are shown. */
export function photosCsv({ photos, question, threshold }: PhotoResults): string {
  const { groups, undecided, broken } = groupByCategory(photos, question, threshold);
  const line = ({ path, answer, fault }: Photo, label: number | undefined) => {
    const best = answer?.best[0] ?? -1;
    return [
      path,
      label === undefined ? null : (question.labels[label] ?? null),
      fault ? null : rounded(answer?.scores[best]),
      fault ? null : rounded(answer?.similarities[best]),
      fault?.sentence ?? null,
    ];
  };
  return csvText([
    ['file', 'category', 'score', 'similarity', 'error'],
    ...groups.flatMap(({ label, photos }) => photos.map((photo) => line(photo, label))),
    ...undecided.map((photo) => line(photo, undefined)),
    ...broken.map((photo) => line(photo, undefined)),
  ]);
}

function answered(photos: readonly Photo[], question: Question) {
  return photos.flatMap(({ path, fault, ...photo }) => {
    const answer = answerTo({ path, ...photo }, question);
    return answer && !fault ? [{ path, answer }] : [];
  });
}

/** Kept in single precision: seven digits are what there is. */
function rounded(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : Number(value.toPrecision(7));
}
