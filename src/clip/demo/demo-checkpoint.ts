import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { EMBEDDING_DIMENSION } from './concepts.ts';
import { weight } from './residual-stream.ts';
import { textArchitecture, textWeights } from './text-tower.ts';
import { visionArchitecture, visionWeights } from './vision-tower.ts';

/** The demo model's name in `CLIP_MODEL` and in answers. */
export const DEMO_MODEL_NAME = 'demo';

/**
 * Factor of cosines before the softmax. With CLIP's 100, one of two colours in a picture would get the whole score.
 */
const LOGIT_SCALE = 30;

/**
 * A CLIP model that was constructed, not trained: it only knows colours and brightness. A small transformer of the same
 * kind as OpenAI's; see the README beside this file.
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
      // Nothing is open: every weight is made when it is read.
    },
  };
}

/**
 * sha256 of all names, shapes and values of the demo model's weights, hex. It identifies the compiled model. Makes every
 * weight once: about 40 ms.
 */
export function demoCheckpointSha256(): string {
  const hash = new Bun.CryptoHasher('sha256');
  for (const [name, { shape, read }] of demoCheckpoint().weights) {
    hash.update(`${name} ${shape.join('x')}\n`);
    hash.update(read());
  }
  return hash.digest('hex');
}
