import { CheckpointError } from './checkpoint-error.ts';

/** The reference's `Normalize`, RGB, for channels from 0 to 1: what every compiled model contains. */
const supported = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  deviation: [0.26862954, 0.26130258, 0.27577711],
} as const;

/** Some exports went through float32. */
const TOLERANCE = 1e-6;

/**
 * @param setting where the numbers stand, for an error's sentence: `"image_mean" of preprocessor_config.json`
 * @param given three channels; undefined: those of the reference
 * @throws CheckpointError where they are others than the reference's
 */
export function refuseOtherNormalisation(
  setting: string,
  given: readonly number[] | undefined,
  which: keyof typeof supported,
): void {
  const expected = supported[which];
  if (given?.every((value, i) => Math.abs(value - expected[i]!) < TOLERANCE) ?? true) return;
  throw new CheckpointError(`${setting} is [${given}]; only OpenAI's [${expected}] is supported`);
}
