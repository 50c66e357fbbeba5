import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import type { Activation } from '../architecture.ts';
import { CheckpointError, quote } from './checkpoint-error.ts';

/** What Hugging Face's weights do not tell about their model. */
export interface HuggingFaceConfig {
  readonly activation: Activation;
  /** undefined: as in the reference, one for every 64 channels. */
  readonly visionHeads: number | undefined;
  readonly textHeads: number | undefined;
}

const MAX_CONFIG_BYTES = 1024 ** 2;

const towerSchema = v.optional(
  v.object({
    hidden_act: v.optional(v.string()),
    num_attention_heads: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  }),
  {},
);
const configSchema = v.object({ vision_config: towerSchema, text_config: towerSchema });

/**
 * Reads the `config.json` beside a checkpoint.
 * @returns OpenAI's own settings where there is none, or where it leaves them open, as transformers does
 * @throws CheckpointError where it cannot be read, or names an activation that is not known
 */
export function readHuggingFaceConfig(checkpointPath: string): HuggingFaceConfig {
  const config = parseConfig(join(dirname(checkpointPath), 'config.json'));
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

function parseConfig(path: string): v.InferOutput<typeof configSchema> {
  let text: string;
  try {
    const size = statSync(path).size;
    if (size > MAX_CONFIG_BYTES) throw new CheckpointError(`the config.json beside it has ${size} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return v.parse(configSchema, {});
    if (error instanceof CheckpointError) throw error;
    throw new CheckpointError(`the config.json beside it cannot be read (${String(error)})`, {
      cause: error,
    });
  }
  try {
    return v.parse(configSchema, JSON.parse(text));
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    throw new CheckpointError(`the config.json beside it is not one of a CLIP model (${fault})`, {
      cause: error,
    });
  }
}

function knownActivation(name = 'quick_gelu'): Activation {
  if (name === 'quick_gelu' || name === 'gelu') return name;
  throw new CheckpointError(
    `its config.json names the activation ${quote(name)}; quick_gelu and gelu are known`,
  );
}
