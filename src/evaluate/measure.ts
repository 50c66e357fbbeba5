import { isListed, thresholdOf } from '../classify/decide.ts';
import type { PhotoAnswer } from './answer-photos.ts';
import type { Accuracy, Result, Threshold } from './report.ts';
import { mcNemar, wilsonInterval } from './statistics.ts';
import {
  balancedThreshold,
  effectOf,
  effectsOfThresholds,
  f1Of,
  type ScoredAnswer,
  strictThreshold,
  type ThresholdEffect,
} from './thresholds.ts';

/** What a person says about the photos. */
export interface Truth {
  readonly labels: readonly string[];
  /** The category of each photo, by its place in `labels`; null: it belongs to none. */
  readonly categoryOf: readonly (number | null)[];
}

/** With fewer categories, being among the best five says little. */
const TOP_5_CATEGORIES = 10;

/** @param maxWrong the accepted share of wrong answers, 0 to 1 */
export function measure(
  answers: readonly PhotoAnswer[],
  truth: Truth,
  maxWrong: number,
): Omit<Result, 'precision' | 'fit' | 'template'> {
  const { labels, categoryOf } = truth;
  const isRight = rightAnswers(answers, truth);
  const labelled = categoryOf.filter((category) => category !== null).length;
  const inFive = answers.filter(({ ranked }, photo) => ranked.includes(categoryOf[photo] ?? -1)).length;
  /** [category, or none][answer] photos */
  const taken = new Map<number | null, Map<number, number>>();
  for (const [photo, { best }] of answers.entries()) {
    const category = categoryOf[photo] ?? null;
    const row = taken.get(category) ?? new Map<number, number>();
    taken.set(category, row.set(best, (row.get(best) ?? 0) + 1));
  }
  const takenFor = (category: number | null) =>
    [...(taken.get(category) ?? [])]
      .filter(([answer]) => answer !== category)
      .toSorted(([a, some], [b, others]) => others - some || a - b)
      .map(([answer, photos]) => ({ category: labels[answer] ?? '', photos }));
  const categories = labels.map((category, place) => {
    const row = taken.get(place) ?? new Map<number, number>();
    const photos = row.values().reduce((sum, number) => sum + number, 0);
    return { category, photos, right: row.get(place) ?? 0, taken_for: takenFor(place) };
  });
  const shares = categories.filter(({ photos }) => photos > 0).map(({ right, photos }) => right / photos);
  const scored = (others: boolean) =>
    answers.map(({ plain, others: against }, photo) => ({
      score: others ? against : plain,
      isRight: isRight[photo] ?? false,
      isOfNone: categoryOf[photo] === null,
    }));
  return {
    ...accuracyOf(isRight.filter(Boolean).length, labelled),
    top_5: labels.length >= TOP_5_CATEGORIES ? accuracyOf(inFive, labelled) : null,
    mean_category_accuracy:
      shares.length > 0 ? shares.reduce((sum, share) => sum + share, 0) / shares.length : null,
    categories,
    none_taken_for: takenFor(null),
    thresholds: [false, true].flatMap((others) =>
      thresholdsOf(scored(others), { others, labelled, maxWrong }),
    ),
  };
}

/** @returns for each photo whether its best category is its own; false for photos of no category */
function rightAnswers(answers: readonly PhotoAnswer[], { categoryOf }: Truth): readonly boolean[] {
  return answers.map(({ best }, photo) => best === categoryOf[photo]);
}

function accuracyOf(right: number, count: number): Accuracy {
  return { right, accuracy: count > 0 ? right / count : null, ...wilsonInterval(right, count) };
}

interface MeasuredAnswer extends ScoredAnswer {
  /** The photo belongs to no category. */
  readonly isOfNone: boolean;
}

interface ThresholdOptions {
  readonly others: boolean;
  /** Photos that have a category. */
  readonly labelled: number;
  readonly maxWrong: number;
}

function thresholdsOf(
  answers: readonly MeasuredAnswer[],
  { others, labelled, maxWrong }: ThresholdOptions,
): readonly Threshold[] {
  const effects = effectsOfThresholds(answers);
  const byDefault = effectOf(answers, thresholdOf({ others }), (answer) => isListed(answer, { others }));
  const strict = strictThreshold(effects, maxWrong);
  const balanced = balancedThreshold(effects, labelled);
  const described = (rule: Threshold['rule'], effect: ThresholdEffect): Threshold => {
    const { right, wrong } = effect;
    const { low, high } = wilsonInterval(wrong, right + wrong);
    const wrongShare = right + wrong > 0 ? wrong / (right + wrong) : null;
    const f1 = labelled > 0 || right + wrong > 0 ? f1Of(effect, labelled) : 0;
    const { threshold } = effect;
    const noneUnanswered = answers.filter(
      (answer) => answer.isOfNone && !isListed(answer, { others, threshold }),
    ).length;
    return {
      others,
      rule,
      ...effect,
      none_unanswered: noneUnanswered,
      wrong_share: wrongShare,
      wrong_low: low,
      wrong_high: high,
      f1,
    };
  };
  return [
    described('default', byDefault),
    ...(strict ? [described('max_wrong', strict)] : []),
    ...(balanced ? [described('f1', balanced)] : []),
  ];
}

/** Two ways of answering about the same photos. */
interface AnswersCompared {
  /** Photos whose best category differs. */
  readonly changed: number;
  /** Photos whose answer was right and is not any more. */
  readonly lost: number;
  /** Photos whose answer has become right. */
  readonly won: number;
  /** The probability of such a difference by chance alone. */
  readonly pValue: number;
}

export function compareAnswers(
  before: readonly PhotoAnswer[],
  after: readonly PhotoAnswer[],
  truth: Truth,
): AnswersCompared {
  const [wereRight, areRight] = [rightAnswers(before, truth), rightAnswers(after, truth)];
  const changed = after.filter(({ best }, photo) => best !== before[photo]?.best).length;
  const lost = wereRight.filter((isRight, photo) => isRight && !areRight[photo]).length;
  const won = areRight.filter((isRight, photo) => isRight && !wereRight[photo]).length;
  return { changed, lost, won, pValue: mcNemar(lost, won) };
}
