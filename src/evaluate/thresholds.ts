/** The best category of one photo, as an answer that a threshold may hold back. */
export interface ScoredAnswer {
  /** 0 to 1. */
  readonly score: number;
  /** Always false for a photo of no category. */
  readonly isRight: boolean;
}

/** What a threshold does to the answers. */
export interface ThresholdEffect {
  /** 0: every photo gets an answer. */
  readonly threshold: number;
  readonly right: number;
  readonly wrong: number;
  /** Photos without an answer. */
  readonly unanswered: number;
}

/** @param threshold as `decide` applies it: scores equal to it pass */
export function effectOf(
  answers: readonly ScoredAnswer[],
  threshold: number,
  passes: (answer: ScoredAnswer) => boolean,
): ThresholdEffect {
  const given = answers.filter(passes);
  const right = given.filter(({ isRight }) => isRight).length;
  return { threshold, right, wrong: given.length - right, unanswered: answers.length - given.length };
}

/**
 * All thresholds that make a difference, the lowest first. Each is halfway between two neighbouring scores, with as few
 * digits as tell them apart: another photo is as likely on either side.
 */
export function effectsOfThresholds(answers: readonly ScoredAnswer[]): readonly ThresholdEffect[] {
  const sorted = answers.toSorted((a, b) => b.score - a.score);
  const effects: ThresholdEffect[] = [];
  let right = 0;
  for (const [index, { score, isRight }] of sorted.entries()) {
    if (isRight) right += 1;
    const next = sorted[index + 1];
    // Equal scores pass together.
    if (next?.score === score) continue;
    const answered = index + 1;
    effects.push({
      threshold: next === undefined ? 0 : numberBetween(next.score, score),
      right,
      wrong: answered - right,
      unanswered: answers.length - answered,
    });
  }
  return effects.toReversed();
}

/** A double has no more. */
const MAX_DIGITS = 17;

/**
 * The number with the fewest decimal places between two numbers that is nearest to their middle.
 * @param low less than `high`
 * @returns `high` if no number is between them
 */
export function numberBetween(low: number, high: number): number {
  const middle = low + (high - low) / 2;
  for (let digits = 1; digits <= MAX_DIGITS; digits++) {
    const rounded = Number(middle.toFixed(digits));
    if (rounded > low && rounded < high) return rounded;
  }
  return high;
}

/**
 * The lowest threshold at which at most a share of the given answers is wrong: as many photos as possible get an
 * answer.
 * @param maxWrong 0 to 1
 * @returns undefined: there is none
 */
export function strictThreshold(
  effects: readonly ThresholdEffect[],
  maxWrong: number,
): ThresholdEffect | undefined {
  return effects.find(({ right, wrong }) => wrong <= maxWrong * (right + wrong));
}

/**
 * F1: the harmonic mean of the right share of the given answers, and of the share of photos with a category that get
 * their right answer. A missing answer counts as much as a wrong one.
 * @param labelled photos that have a category
 */
export function f1Of({ right, wrong }: ThresholdEffect, labelled: number): number {
  return (2 * right) / (right + wrong + labelled);
}

/**
 * The threshold with the highest F1; of several, the lowest.
 * @returns undefined without answers
 */
export function balancedThreshold(
  effects: readonly ThresholdEffect[],
  labelled: number,
): ThresholdEffect | undefined {
  let best: ThresholdEffect | undefined;
  for (const effect of effects) {
    if (best === undefined || f1Of(effect, labelled) > f1Of(best, labelled)) best = effect;
  }
  return best;
}
