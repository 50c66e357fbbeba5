import { softmax } from '../classify/decide.ts';
import type { ClipArchitecture } from './architecture.ts';
import { describeClip, isClip } from './checkpoint/clip-checkpoint.ts';
import type { NamedWeights } from './graph/named-weights.ts';
import type { Parts } from './graph/transformer.ts';
import { placePicture } from './preprocessing.ts';
import { createTokenizer, END_TOKEN } from './tokenizer/tokenizer.ts';

/** OpenAI's CLIP with a vision transformer, as OpenAI, OpenCLIP and Hugging Face publish it. */
export const clipFamily = {
  name: 'clip',
  // The end token has the last id.
  vocabularySize: END_TOKEN + 1,
  tokenizerName: "OpenAI's tokenizer",
  recognises: isClip,
  describe: describeClip,
  createTokenizer(contextLength: number) {
    const tokenizer = createTokenizer();
    return (text: string) => tokenizer.tokenize(text, contextLength);
  },
  placePicture,
  readScoreParameters(weights: NamedWeights) {
    const [logitScale] = weights.read('logit_scale', []);
    return { logitScale: Math.exp(logitScale!) };
  },
  createScore: ({ logitScale }: { readonly logitScale: number }) => softmax(logitScale),
  async buildGraph(tower: 'vision' | 'text', parts: Parts, architecture: ClipArchitecture) {
    // Imported here, because only compiling needs the ONNX format.
    const { buildTextGraph } = await import('./graph/text-graph.ts');
    const { buildVisionGraph } = await import('./graph/vision-graph.ts');
    const build = tower === 'vision' ? buildVisionGraph : buildTextGraph;
    await build(parts, architecture);
  },
};
