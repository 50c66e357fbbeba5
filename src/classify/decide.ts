import type { Rules } from '../contract/options.ts';

interface Scored {
  /** 0 to 1. */
  readonly score: number;
}

/** How many of the best candidates `decide` compares. A ranking keeps at least as many. */
export const DECIDING_CANDIDATES = 1;

/**
 * Decides which candidate is the answer. The service, the command line and the page all call this function.
 * @param ranked candidates, best first; at least `DECIDING_CANDIDATES`, if there are that many
 * @returns null: no candidate is good enough
 */
export function decide<Candidate extends Scored>(
  ranked: readonly Candidate[],
  rules: Rules,
): Candidate | null {
  const [best] = ranked;
  return best && isListed(best, rules) ? best : null;
}

/** Whether a candidate alone, the best one or not, is good enough to be shown among the best. */
export function isListed({ score }: Scored, { threshold = 0 }: Rules): boolean {
  return score >= threshold;
}
