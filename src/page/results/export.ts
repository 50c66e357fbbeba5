import { decide, isListed } from '../../classify/decide.ts';
import type { Rules } from '../../contract/options.ts';
import type { VideoDetails } from '../../contract/schemas.ts';
import { csvCell } from '../../csv-cell.ts';
import {
  type Asked,
  answerTo,
  bestPhotos,
  categoriesOf,
  groupByCategory,
  movedTo,
  type Photo,
  rankingOf,
} from './photo.ts';

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

/** The answers about photos, as on the page. */
interface PhotoResults {
  readonly photos: readonly Photo[];
  readonly asked: Asked;
  /** Name of the model. */
  readonly model: string | undefined;
  readonly rules: Rules;
}

/** Categories of a photo, and photos of a category, that are listed. */
const LISTED = 10;

/** All photos as in the detailed answer of /categorize, with the corrections, and the best photos of each category. */
export function photosJson({ photos, asked, model, rules }: PhotoResults): string {
  const nameOf = (label: number) => asked.categories[label]!.name;
  const results = photos.flatMap((photo) => {
    const answer = answerTo(photo, asked);
    if (!answer) return [];
    const labels = categoriesOf(photo, asked, rules);
    const scores = rankingOf(answer)
      .slice(0, LISTED)
      .map(({ label, score, similarity }) => ({
        category: nameOf(label),
        score: rounded(score),
        similarity: rounded(similarity),
      }));
    const names = labels.map(nameOf);
    return {
      file: photo.path,
      ...(rules.several ? { categories: names } : { category: names[0] ?? null }),
      ...(movedTo(photo, asked) && { moved: true }),
      scores,
    };
  });
  const best = bestPhotos(photos, asked, LISTED, rules);
  const document = {
    model: model ?? null,
    template: asked.template || null,
    ...rules,
    results,
    best: asked.categories.map(({ name }, label) => ({
      category: name,
      photos: best[label]!.map(({ path, answer }) => ({
        file: path,
        score: rounded(answer!.scores[label]!),
        similarity: rounded(answer!.similarities[label]!),
      })),
    })),
    warnings: photos.flatMap(({ path, embedding }) =>
      embedding?.warning === undefined ? [] : [{ file: path, warning: embedding.warning }],
    ),
    errors: photos.flatMap(({ path, fault }) =>
      fault ? [{ file: path, code: fault.code, error: fault.sentence }] : [],
    ),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** One line per photo and group, in the order of the page. */
export function photosCsv({ photos, asked, rules }: PhotoResults): string {
  const { groups, unsure, broken } = groupByCategory(photos, asked, rules);
  const line = (photo: Photo, label?: number) => {
    const answer = answerTo(photo, asked);
    const place = label ?? answer?.best ?? -1;
    return [
      photo.path,
      label === undefined ? null : asked.categories[label]!.name,
      rounded(answer?.scores[place]),
      rounded(answer?.similarities[place]),
      movedTo(photo, asked) ? 'yes' : null,
      photo.fault?.sentence ?? null,
    ];
  };
  return csvText([
    ['file', 'category', 'score', 'similarity', 'moved', 'error'],
    ...groups.flatMap((group, label) => group.map((photo) => line(photo, label))),
    ...unsure.map((photo) => line(photo)),
    ...broken.map((photo) => line(photo)),
  ]);
}

/** Answers are stored in single precision, which has seven digits. */
function rounded(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : Number(value.toPrecision(7));
}
