import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { EMBEDDING_DIMENSION } from './concepts.ts';
import { weight } from './residual-stream.ts';
import { textArchitecture, textWeights } from './text-tower.ts';
import { visionArchitecture, visionWeights } from './vision-tower.ts';

/** What `CLIP_MODEL` calls the demo model, and what it calls itself in answers. */
export const DEMO_MODEL_NAME = 'demo';

/**
 * Cosines are multiplied with this before the softmax: CLIP's 100 would leave no doubt even where two
 * colours share a picture.
 */
const LOGIT_SCALE = 30;

/**
 * A CLIP model that was constructed, not trained: it knows colours and brightness, nothing else. The same
 * kind of transformer as OpenAI's, small; see the README beside this file.
 */
export function demoCheckpoint(): Checkpoint {
  return {
    family: 'clip',
    layout: 'constructed',
    architecture: {
      embeddingDimension: EMBEDDING_DIMENSION,
      activation: 'quick_gelu',
      vision: visionArchitecture,
      text: textArchitecture,
    },
    weights: new Map([
      ...visionWeights(),
      ...textWeights(),
      weight('logit_scale', [], () => Float32Array.of(Math.log(LOGIT_SCALE))),
    ]),
    [Symbol.dispose]() {
      // Nothing is held open: every weight is made when it is read.
    },
  };
}

/**
 * sha256 of all names, shapes and values of the demo model's weights, hex: what a compiled copy of it is
 * kept under. It makes every weight once: some 40 ms.
 */
export function demoCheckpointSha256(): string {
  const hash = new Bun.CryptoHasher('sha256');
  for (const [name, { shape, read }] of demoCheckpoint().weights) {
    hash.update(`${name} ${shape.join('x')}\n`);
    hash.update(read());
  }
  return hash.digest('hex');
}
