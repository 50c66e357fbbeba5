import * as v from 'valibot';
import type { PixelNormalisation } from '../architecture.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { readConfigBeside } from './config-file.ts';
import { deviationSchema, meanSchema, otherNormalisation } from './pixel-normalisation.ts';

const FILE_NAME = 'preprocessor_config.json';

/** Pillow's number. */
const BICUBIC = 3;

const preprocessorSchema = v.object({
  image_mean: v.optional(meanSchema),
  image_std: v.optional(deviationSchema),
  resample: v.optional(v.number()),
  size: v.optional(v.union([v.number(), v.record(v.string(), v.number())])),
});

/**
 * Reads the `preprocessor_config.json` that transformers keeps beside a checkpoint, where there is one.
 * @returns how it normalises pixels; undefined: as the reference
 * @throws CheckpointError naming what else it does to pictures that the reference does not
 */
export function readHuggingFaceNormalisation(checkpointPath: string): PixelNormalisation | undefined {
  const config = readConfigBeside(checkpointPath, FILE_NAME, 'a CLIP model', preprocessorSchema);
  if (config === undefined) return undefined;
  if (config.resample !== undefined && config.resample !== BICUBIC) {
    throw new CheckpointError(
      `"resample" of its ${FILE_NAME} is ${config.resample}; only ${BICUBIC}, bicubic, is supported`,
    );
  }
  if (typeof config.size === 'object' && !('shortest_edge' in config.size)) {
    throw new CheckpointError(
      `"size" of its ${FILE_NAME} is ${JSON.stringify(config.size)}, which squashes pictures; only a "shortest_edge" is supported`,
    );
  }
  return otherNormalisation({ mean: config.image_mean, deviation: config.image_std });
}
