/** A share of a whole, from 0 to 1. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** The quantile of the normal distribution that leaves 2.5 % on each side. */
const Z_95 = 1.959963984540054;

/**
 * Wilson's interval of 95 % for a share. Unlike the textbook interval around the measured share, it holds for small
 * counts and for shares near 0 and 1, too: 10 right answers of 10 give 0.72 to 1, not 1 to 1.
 * Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
 * @param hits of `count`
 * @returns 0 to 1 if nothing was counted
 */
export function wilsonInterval(hits: number, count: number): Interval {
  if (count === 0) return { low: 0, high: 1 };
  const share = hits / count;
  const z2 = Z_95 ** 2;
  const centre = share + z2 / (2 * count);
  const spread = Z_95 * Math.sqrt((share * (1 - share)) / count + z2 / (4 * count ** 2));
  const scale = 1 + z2 / count;
  // The bounds are exactly 0 and 1 there, which rounding may miss.
  const low = hits === 0 ? 0 : (centre - spread) / scale;
  const high = hits === count ? 1 : (centre + spread) / scale;
  return { low, high };
}

/**
 * McNemar's exact test of two ways of answering the same questions. Only questions that one way answers rightly and the
 * other wrongly count. If both ways are equally good, each of these is a toss of a coin.
 * Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
 * @param lost right before, wrong after
 * @param won wrong before, right after
 * @returns the probability of a difference at least as large by chance alone; 1 if there is none
 */
export function mcNemar(lost: number, won: number): number {
  const tosses = lost + won;
  // The term for k heads is C(tosses, k) / 2^tosses. Logarithms keep the first one above zero for any number of tosses.
  let logTerm = -tosses * Math.LN2;
  let tail = Math.exp(logTerm);
  for (let heads = 1; heads <= Math.min(lost, won); heads++) {
    logTerm += Math.log((tosses - heads + 1) / heads);
    tail += Math.exp(logTerm);
  }
  return Math.min(1, 2 * tail);
}
