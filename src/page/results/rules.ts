import type { Rules } from '../../contract/options.ts';

/** The middle of the slider. */
const MIDDLE = 50;

/** What a person has set. */
interface Strictness {
  /** Of the slider, 0 to 100. */
  readonly strictness: number;
  /** Whether a photo may be in several groups. */
  readonly several: boolean;
}

/**
 * The slider's middle is what the service does by default: a photo fits better than the background. Its loose end gives
 * each photo a group.
 */
export function rulesOf({ strictness, several }: Strictness): Rules {
  // In several groups at once, a photo of no group at all says more than one of all groups.
  if (strictness === 0 && !several) return { others: true, threshold: 0 };
  const threshold = 1 / (1 + Math.exp((MIDDLE - strictness) / 10));
  return { others: true, ...(several && { several }), ...(strictness !== MIDDLE && { threshold }) };
}
