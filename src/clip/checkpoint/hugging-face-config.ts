import * as v from 'valibot';
import type { Activation } from '../architecture.ts';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { readConfigBeside } from './config-file.ts';
import type { ModelSettings } from './model-settings.ts';

/** What transformers calls the file. */
export const HUGGING_FACE_CONFIG = 'config.json';

const towerSchema = v.optional(
  v.object({
    hidden_act: v.optional(v.string()),
    num_attention_heads: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  }),
  {},
);
const configSchema = v.object({ vision_config: towerSchema, text_config: towerSchema });

/**
 * Reads the `config.json` beside a checkpoint. What it leaves open is as with OpenAI's models, as in transformers.
 * @returns undefined where there is none
 * @throws CheckpointError where it cannot be read, or names an activation that is not known
 */
export function readHuggingFaceConfig(checkpointPath: string): ModelSettings | undefined {
  const config = readConfigBeside(checkpointPath, HUGGING_FACE_CONFIG, 'a CLIP model', configSchema);
  if (config === undefined) return undefined;
  const vision = knownActivation(config.vision_config.hidden_act);
  const text = knownActivation(config.text_config.hidden_act);
  if (vision !== text) {
    throw new CheckpointError(
      `its config.json gives its towers different activations: ${vision} and ${text}`,
    );
  }
  return {
    activation: vision,
    visionHeads: config.vision_config.num_attention_heads,
    textHeads: config.text_config.num_attention_heads,
  };
}

function knownActivation(name = 'quick_gelu'): Activation {
  if (name === 'quick_gelu' || name === 'gelu') return name;
  throw new CheckpointError(
    `its config.json names the activation ${quote(name)}; quick_gelu and gelu are known`,
  );
}
