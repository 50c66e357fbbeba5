/** Choices that a seed decides: the same in every run. */
export interface Random {
  /** A whole number from 0 to `limit` − 1. */
  below(limit: number): number;
  /** True in this share of all cases, 0 to 1. */
  chance(share: number): boolean;
  pick<T>(choices: readonly T[]): T;
  /** A generator of its own, so that what one attack draws does not change the others. */
  fork(): Random;
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed | 0;
  const unit = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(unit() * limit);
  return {
    below,
    chance: (share) => unit() < share,
    pick: (choices) => {
      if (choices.length === 0) throw new Error('there is nothing to pick from');
      return choices[below(choices.length)] as (typeof choices)[number];
    },
    fork: () => createRandom(below(2 ** 32)),
  };
}
