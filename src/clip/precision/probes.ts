import type { ClipArchitecture } from '../architecture.ts';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { type ProbePicture, probePictures } from './probe-pictures.ts';
import { probeTexts } from './probe-texts.ts';

/** A label and its tokens. */
export interface ProbeText {
  readonly text: string;
  /** Start and end included. */
  readonly ids: Int32Array;
}

/** What both precisions are asked. */
export interface Probes {
  /** Side of the pictures, in pixels. */
  readonly side: number;
  /** How many positions of the vision tower a picture takes: its patches, and the class token. */
  readonly positions: number;
  readonly pictures: readonly ProbePicture[];
  readonly texts: readonly ProbeText[];
}

/** The probes for one architecture: its size of pictures, and the texts that are not too long for it. */
export function probesFor({ vision, text }: ClipArchitecture): Probes {
  const tokenizer = createTokenizer();
  const side = vision.imageResolution;
  return {
    side,
    positions: (side / vision.patchSize) ** 2 + 1,
    pictures: [...probePictures(side)],
    texts: probeTexts
      .map((label) => ({ text: label, ids: tokenizer.tokenize(label, Number.POSITIVE_INFINITY) }))
      .filter(({ ids }) => ids.length <= text.contextLength),
  };
}
