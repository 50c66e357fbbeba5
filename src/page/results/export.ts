import type { VideoDetails } from '../../contract/schemas.ts';
import { csvCell } from '../../csv-cell.ts';
import { bestPhotos, groupByCategory } from './grouping.ts';
import { answerTo, type Photo, type Question } from './photo.ts';

/** A CSV document with a byte order mark, by which spreadsheets know it for UTF-8. */
export function csvText(rows: readonly (readonly (string | number | null)[])[]): string {
  return `\ufeff${rows.map((row) => `${row.map(csvCell).join(',')}\r\n`).join('')}`;
}

/** What is saved of a video; pictures are not part of it. */
interface VideoResults {
  readonly name: string;
  readonly details: VideoDetails;
  /** Least score that counts, 0 to 1. */
  readonly threshold: number;
  /** How many frames of a category are listed. */
  readonly topK: number;
}

export function videoJson({ name, details, threshold, topK }: VideoResults): string {
  const { model, video, warnings } = details;
  const results = details.results.map(({ category, score, similarity, timestamp, scores }) => ({
    category,
    timestamp: score >= threshold ? timestamp : null,
    score,
    similarity,
    scores: scores.slice(0, topK),
  }));
  return `${JSON.stringify({ file: name, model, threshold, video, results, warnings }, null, 2)}\n`;
}

/** One line a category and frame, best first. */
export function videoCsv({ name, details, threshold, topK }: VideoResults): string {
  return csvText([
    ['file', 'category', 'seconds', 'score', 'similarity'],
    ...details.results.flatMap(({ category, scores }) =>
      scores
        .slice(0, topK)
        .filter(({ score }) => score >= threshold)
        .map(({ timestamp, score, similarity }) => [name, category, timestamp, score, similarity]),
    ),
  ]);
}

/** What is saved: the answers to one question, as they are shown. */
interface PhotoResults {
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
