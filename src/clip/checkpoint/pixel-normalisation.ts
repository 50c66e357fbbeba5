import * as v from 'valibot';
import { type PixelNormalisation, referenceNormalisation } from '../architecture.ts';

const finite = v.pipe(v.number(), v.finite());
const positive = v.pipe(finite, v.gtValue(0));

export const meanSchema = v.strictTuple([finite, finite, finite]);
export const deviationSchema = v.strictTuple([positive, positive, positive]);

/** Some exports went through float32. */
const TOLERANCE = 1e-6;

/**
 * @param mean of a config; undefined: the reference's
 * @param deviation of a config; undefined: the reference's
 * @returns undefined where it is the reference's
 */
export function otherNormalisation({
  mean = referenceNormalisation.mean,
  deviation = referenceNormalisation.deviation,
}: {
  readonly mean: PixelNormalisation['mean'] | undefined;
  readonly deviation: PixelNormalisation['deviation'] | undefined;
}): PixelNormalisation | undefined {
  const same =
    isClose(mean, referenceNormalisation.mean) && isClose(deviation, referenceNormalisation.deviation);
  return same ? undefined : { mean, deviation };
}

function isClose(given: readonly number[], expected: readonly number[]): boolean {
  return given.every((value, channel) => Math.abs(value - (expected[channel] as number)) < TOLERANCE);
}
