import { decide, isListed } from '../../classify/decide.ts';
import type { Rules } from '../../contract/options.ts';
import type { VideoDetails } from '../../contract/schemas.ts';
import { csvCell } from '../../csv-cell.ts';
import { answerTo, bestOf, bestPhotos, groupByCategory, type Photo, type Question } from './photo.ts';

/** A CSV document. Spreadsheets recognise UTF-8 by the byte order mark. */
export function csvText(rows: readonly (readonly (string | number | null)[])[]): string {
  return `\ufeff${rows.map((row) => `${row.map(csvCell).join(',')}\r\n`).join('')}`;
}

/** The answers about a video, filtered as on the page. */
interface VideoResults {
  readonly name: string;
  readonly details: VideoDetails;
  readonly rules: Rules;
  /** Frames per category. */
  readonly topK: number;
}

export function videoJson({ name, details, rules, topK }: VideoResults): string {
  const { model, video, warnings } = details;
  const results = details.results.map(({ category, score, similarity, scores, moments }) => ({
    category,
    timestamp: decide(scores, rules)?.timestamp ?? null,
    score,
    similarity,
    scores: scores.slice(0, topK),
    moments,
  }));
  return `${JSON.stringify({ file: name, model, ...rules, video, results, warnings }, null, 2)}\n`;
}

/** One line per category and frame, best first. */
export function videoCsv({ name, details, rules, topK }: VideoResults): string {
  return csvText([
    ['file', 'category', 'seconds', 'score', 'similarity'],
    ...details.results.flatMap(({ category, scores }) =>
      scores
        .slice(0, topK)
        .filter((frame) => isListed(frame, rules))
        .map(({ timestamp, score, similarity }) => [name, category, timestamp, score, similarity]),
    ),
  ]);
}

/** The answers about photos, filtered as on the page. */
interface PhotoResults {
  readonly photos: readonly Photo[];
  readonly question: Question;
  /** Name of the model. */
  readonly model: string | undefined;
  readonly rules: Rules;
  /** Categories per photo, and photos per category. */
  readonly topK: number;
}

/** All photos as in the detailed answer of /categorize, and the best photos of each category. */
export function photosJson({ photos, question, model, rules, topK }: PhotoResults): string {
  const best = bestPhotos(photos, question, topK, rules);
  const document = {
    model: model ?? null,
    template: question.template || null,
    ...rules,
    results: answered(photos, question).map(({ path, answer }) => {
      const ranked = bestOf(answer);
      const scores = ranked.slice(0, topK).map(({ label, score, similarity }) => ({
        category: question.labels[label],
        score: rounded(score),
        similarity: rounded(similarity),
      }));
      const decided = decide(ranked, rules);
      return { file: path, ...scores[0], category: decided && question.labels[decided.label], scores };
    }),
    best: question.labels.map((category, label) => ({
      category,
      photos: (best[label] ?? []).map(({ path, answer }) => ({
        file: path,
        score: rounded(answer?.scores[label]),
        similarity: rounded(answer?.similarities[label]),
      })),
    })),
    warnings: answered(photos, question).flatMap(({ path, answer: { warning } }) =>
      warning === undefined ? [] : [{ file: path, warning }],
    ),
    errors: photos.flatMap(({ path, fault }) =>
      fault ? [{ file: path, code: fault.code, error: fault.sentence }] : [],
    ),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** One line per photo, in the groups of the page. */
export function photosCsv({ photos, question, rules }: PhotoResults): string {
  const { groups, undecided, broken } = groupByCategory(photos, question, rules);
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

/** Answers are stored in single precision, which has seven digits. */
function rounded(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : Number(value.toPrecision(7));
}
