import { basename } from 'node:path';
import { publishedActivation } from '../../../models/manifest.ts';
import type { CheckpointLayout } from './checkpoint.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { HUGGING_FACE_CONFIG, readHuggingFaceConfig } from './hugging-face-config.ts';
import { readHuggingFaceNormalisation } from './hugging-face-preprocessor.ts';
import { type ModelSettings, openaiSettings } from './model-settings.ts';
import {
  OPEN_CLIP_CONFIG,
  type OpenClipConfig,
  openClipSettings,
  readOpenClipConfig,
} from './open-clip-config.ts';

/** What there is to decide a model's settings by. */
export interface SettingsEvidence {
  readonly path: string;
  readonly layout: CheckpointLayout;
  /** Whether the names are those of OpenCLIP's `CustomTextCLIP`. */
  readonly hasCustomText: boolean;
  /** In channels. */
  readonly visionWidth: number;
}

/** A model's settings, and where they come from. */
export interface DecidedSettings extends ModelSettings {
  /** The config that gave them: still to be compared with the weights' sizes. */
  readonly openClipConfig?: OpenClipConfig;
  /** Where nothing gave them: a sentence for the operator. */
  readonly assumption?: string;
}

/** OpenAI's ViT-L/14. */
const WIDEST_OF_OPENAI = 1024;

/**
 * Decides what the weights do not tell, above all GELU or QuickGELU: a model run with the wrong one of them
 * answers, and answers worse. In this order: a published file under its own name; the config beside the file; for
 * TorchScript OpenAI's settings, since only OpenAI publishes it. A file that shows signs of OpenCLIP is refused
 * without its config, since OpenCLIP has published both kinds; any other is taken for OpenAI's, and says so.
 * @throws CheckpointError
 */
export function decideSettings(evidence: SettingsEvidence): DecidedSettings {
  const { path, layout } = evidence;
  const published = publishedActivation(basename(path), layout);
  if (published !== undefined) return { activation: published };

  const sign = signOfOpenClip(evidence);
  if (layout === 'huggingface') {
    const normalisation = readHuggingFaceNormalisation(path);
    return { ...(readHuggingFaceConfig(path) ?? openaiOrRefuse(sign, HUGGING_FACE_CONFIG)), normalisation };
  }
  if (layout === 'torchscript' && sign === undefined) return openaiSettings;
  const openClipConfig = readOpenClipConfig(path);
  if (openClipConfig === undefined) return openaiOrRefuse(sign, OPEN_CLIP_CONFIG);
  return { ...openClipSettings(openClipConfig, evidence.visionWidth), openClipConfig };
}

function signOfOpenClip({ path, hasCustomText, visionWidth }: SettingsEvidence): string | undefined {
  if (basename(path).startsWith('open_clip')) return "its name is one of OpenCLIP's";
  if (hasCustomText) return 'the names of its text tower are those of OpenCLIP';
  if (visionWidth > WIDEST_OF_OPENAI) {
    return `its vision tower has ${visionWidth} channels, and OpenAI published none of more than ${WIDEST_OF_OPENAI}`;
  }
  return undefined;
}

function openaiOrRefuse(sign: string | undefined, configName: string): DecidedSettings {
  if (sign !== undefined) {
    throw new CheckpointError(
      `${sign}, and nothing tells whether it was trained with GELU or with QuickGELU; put the ${configName} ` +
        'that was published with it into the same folder',
    );
  }
  const assumption =
    "nothing beside the checkpoint tells whether it was trained with GELU or with QuickGELU; OpenAI's QuickGELU " +
    `is assumed. If that is wrong, put the ${configName} that was published with it into the same folder`;
  return { ...openaiSettings, assumption };
}
