import type { Synonyms } from '../classify/classifier.ts';
import type { Fit } from '../contract/options.ts';
import { invariant } from '../errors.ts';
import type { Precision } from '../precision.ts';
import type { PhotoAnswer } from './answer-photos.ts';
import { isCostly } from './arguments.ts';
import type { LabelledFile } from './labelled-folder.ts';
import { compareAnswers, measure, type Truth } from './measure.ts';
import { type Measured, recommend } from './recommend.ts';
import type { Recommended, Report } from './report.ts';

/** All answers of one precision, fit and template. */
export interface Asked {
  readonly precision: Precision;
  readonly fit: Fit;
  readonly template: string;
  /** By the photos' paths. */
  readonly answers: ReadonlyMap<string, PhotoAnswer>;
  readonly synonyms: readonly Synonyms[];
}

interface ReportParts {
  readonly folder: string;
  readonly model: Report['model'];
  /** The precision that the settings serve. */
  readonly served: Precision;
  readonly precisionNote: string | null;
  readonly labels: readonly string[];
  readonly photos: readonly LabelledFile[];
  readonly asked: readonly Asked[];
  readonly passes: Report['passes'];
  readonly unreadable: Report['unreadable'];
  /** 0 to 1. */
  readonly maxWrong: number;
}

/** Measures all answers, and puts the numbers together. */
export function createReport(parts: ReportParts): Report {
  const { labels, photos, maxWrong, served } = parts;
  const places = new Map(labels.map((label, place) => [label, place]));
  const truth: Truth = {
    labels,
    categoryOf: photos.map(({ category }) => {
      if (category === null) return null;
      const place = places.get(category);
      invariant(place !== undefined, 'a photo of an unknown category');
      return place;
    }),
  };
  const measured = parts.asked.map(({ precision, fit, template, answers: byPath }): Measured => {
    const answers = photos.map(({ file: { path } }) => {
      const answer = byPath.get(path);
      invariant(answer, 'a photo without an answer');
      return answer;
    });
    const result = { precision, fit, template, ...measure(answers, truth, maxWrong) };
    return { result, answers, isCostly: isCostly[fit] };
  });
  const isServed = ({ result }: Measured) => result.precision === served;
  const inOrder = [...measured.filter(isServed), ...measured.filter((one) => !isServed(one))];
  const { at, ...recommended } = recommend(inOrder, truth);
  const labelled = truth.categoryOf.filter((category) => category !== null).length;
  return {
    folder: parts.folder,
    model: parts.model,
    precision_note: parts.precisionNote,
    photos: labelled,
    none_photos: photos.length - labelled,
    largest_category: largestOf(at, labelled),
    unreadable: parts.unreadable,
    passes: parts.passes,
    max_wrong: maxWrong,
    results: measured.map(({ result }) => result),
    int8_changes: changesOf(measured, truth),
    similar_categories: synonymsOf(parts.asked, recommended),
    recommended,
    wrong: wrongAnswers(at, recommended.others, { photos, truth }),
  };
}

function largestOf({ result }: Measured, labelled: number): Report['largest_category'] {
  const [largest] = result.categories.toSorted((a, b) => b.photos - a.photos);
  return largest === undefined || labelled === 0
    ? null
    : { category: largest.category, share: largest.photos / labelled };
}

/** To the recommended template and precision. */
function synonymsOf(
  asked: readonly Asked[],
  { precision, template }: Recommended,
): Report['similar_categories'] {
  const same = asked.find((one) => one.precision === precision && one.template === template);
  return (same?.synonyms ?? []).map(({ categories: [first, second], similarity }) => ({
    categories: [first, second],
    similarity,
  }));
}

function changesOf(measured: readonly Measured[], truth: Truth): Report['int8_changes'] {
  return measured.flatMap(({ result: { precision, fit, template }, answers }) => {
    if (precision !== 'int8') return [];
    const fp32 = measured.find(
      ({ result }) => result.precision === 'fp32' && result.fit === fit && result.template === template,
    );
    if (!fp32) return [];
    const { changed, lost, won, pValue } = compareAnswers(fp32.answers, answers, truth);
    const counts = { right_to_wrong: lost, wrong_to_right: won, wrong_to_wrong: changed - lost - won };
    return [{ fit, template, changed, ...counts, p_value: pValue }];
  });
}

/** Highest score first: the folder may be wrong, not the answer. */
function wrongAnswers(
  { answers }: Measured,
  others: boolean,
  { photos, truth }: { readonly photos: readonly LabelledFile[]; readonly truth: Truth },
): Report['wrong'] {
  return answers
    .flatMap((answer, index) => {
      const { file, category } = photos[index]!;
      if (answer.best === truth.categoryOf[index]) return [];
      const score = others ? answer.others : answer.plain;
      return [{ file: file.path, category, answer: truth.labels[answer.best] ?? '', score }];
    })
    .toSorted((a, b) => b.score - a.score);
}
