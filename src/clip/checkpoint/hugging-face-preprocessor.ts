import * as v from 'valibot';
import { CheckpointError } from './checkpoint-error.ts';
import { readConfigBeside } from './config-file.ts';
import { refuseOtherNormalisation } from './pixel-normalisation.ts';

const FILE_NAME = 'preprocessor_config.json';

/** Pillow's number. */
const BICUBIC = 3;

const channels = v.pipe(v.array(v.number()), v.length(3));
const preprocessorSchema = v.object({
  image_mean: v.optional(channels),
  image_std: v.optional(channels),
  resample: v.optional(v.number()),
  size: v.optional(v.union([v.number(), v.record(v.string(), v.number())])),
});

/**
 * Reads the `preprocessor_config.json` that transformers keeps beside a checkpoint, where there is one.
 * @throws CheckpointError naming what it does to pictures that the reference does not
 */
export function refuseOtherPreprocessing(checkpointPath: string): void {
  const config = readConfigBeside(checkpointPath, FILE_NAME, 'a CLIP model', preprocessorSchema);
  if (config === undefined) return;
  refuseOtherNormalisation(`"image_mean" of its ${FILE_NAME}`, config.image_mean, 'mean');
  refuseOtherNormalisation(`"image_std" of its ${FILE_NAME}`, config.image_std, 'deviation');
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
}
