import { invariant } from '../errors.ts';
import type { PhotoAnswer } from './answer-photos.ts';
import { compareAnswers, type Truth } from './measure.ts';
import type { Recommended, Result, Threshold } from './report.ts';

/** One way of asking, with its answers. */
export interface Measured {
  readonly result: Result;
  readonly answers: readonly PhotoAnswer[];
  /** The model runs once for each photo with some fits, and several times with others. */
  readonly isCostly: boolean;
}

/** A difference that chance alone makes in at most one of twenty folders. */
export const SIGNIFICANT = 0.05;

/**
 * Chooses the precision, fit and template with the most right answers; of several, the first. What costs time has to be
 * better than chance explains: a fit with several tiles, and another precision than the one that is served.
 * @param measured in the order of preference: those of the precision that is served come first
 */
export function recommend(
  measured: readonly Measured[],
  truth: Truth,
): Recommended & { readonly at: Measured } {
  const compare = (before: Measured, after: Measured) => compareAnswers(before.answers, after.answers, truth);
  const isWorthIt = (before: Measured, after: Measured) => {
    const { lost, won, pValue } = compare(before, after);
    return won > lost && pValue < SIGNIFICANT;
  };
  const [first] = measured;
  invariant(first, 'nothing was measured');
  const served = measured.filter(({ result }) => result.precision === first.result.precision);
  const cheap = bestOf(served.filter(({ isCostly }) => !isCostly));
  const costly = bestOf(served.filter(({ isCostly }) => isCostly));
  const atServed = costly && (cheap === undefined || isWorthIt(cheap, costly)) ? costly : (cheap ?? first);
  const atOther = measured.find(
    ({ result }) =>
      result.precision !== atServed.result.precision &&
      result.fit === atServed.result.fit &&
      result.template === atServed.result.template,
  );
  const at = atOther && isWorthIt(atServed, atOther) ? atOther : atServed;
  const { precision, fit, template } = at.result;
  const standard = served.find(({ result }) => result.fit === 'crop' && result.template === 'none');
  const threshold = chooseThreshold(at.result);
  return {
    at,
    precision,
    fit,
    template,
    ...threshold,
    options: optionsFor(at.result, threshold),
    settings: precision === first.result.precision ? [] : [`CLIP_PRECISION=${precision}`],
    default_right: standard?.result.right ?? null,
    p_value: standard === undefined || standard === at ? null : compare(standard, at).pValue,
  };
}

function bestOf(measured: readonly Measured[]): Measured | undefined {
  return measured.toSorted((a, b) => b.result.right - a.result.right)[0];
}

/** What limiting the wrong answers may cost of the right ones. */
const KEPT_SHARE = 0.5;

/**
 * A wrong answer costs more than a missing one: the photo goes into a wrong folder, and must be found again. So the
 * wrong answers are limited, and the kind of score that then gives more right answers is chosen. If that costs too many
 * right answers, it is the threshold with the highest F1.
 */
function chooseThreshold({ right, thresholds }: Result): Threshold {
  const strict = thresholds.filter((one) => one.rule === 'max_wrong' && one.right >= KEPT_SHARE * right);
  const balanced = thresholds.filter(({ rule }) => rule === 'f1');
  const [best] =
    strict.length > 0
      ? strict.toSorted((a, b) => b.right - a.right)
      : balanced.toSorted((a, b) => b.f1 - a.f1);
  invariant(best, 'a result without thresholds');
  return best;
}

function optionsFor({ fit, template }: Result, { others, threshold }: Threshold): string[] {
  return [
    ...(fit === 'crop' ? [] : ['--fit', fit]),
    ...(template === 'none' ? [] : ['--template', template]),
    ...(others ? ['--others'] : []),
    ...(others || threshold > 0 ? ['--threshold', String(threshold)] : []),
  ];
}
