import { demoCheckpoint } from '../../../src/clip/demo/demo-checkpoint.ts';
import { createTokenizer } from '../../../src/clip/tokenizer/tokenizer.ts';
import { compileAndOpen } from '../graph/compiled.ts';
import { dot } from '../graph/reference-forward.ts';

/** A label and how it stands against the others. */
export interface Standing {
  readonly label: string;
  /** Softmax over all labels; 0 to 1. */
  readonly score: number;
  /** Cosine. */
  readonly similarity: number;
}

/** The demo model through its compiled graphs, as the service runs it. It knows what it has encoded before. */
export interface DemoModel extends AsyncDisposable {
  /** @param pixels [224, 224, 3] uint8, RGB */
  encodeImage(pixels: Uint8Array): Promise<Float32Array>;
  encodeText(text: string): Promise<Float32Array>;
  /** Labels, best first. */
  rank(pixels: Uint8Array, labels: readonly string[]): Promise<Standing[]>;
  similarity(pixels: Uint8Array, label: string): Promise<number>;
}

export async function openDemoModel(): Promise<DemoModel> {
  const tokenizer = createTokenizer();
  const encoders = await compileAndOpen(demoCheckpoint());
  const { logitScale, architecture } = encoders.model;
  const images = new WeakMap<Uint8Array, Float32Array>();
  const texts = new Map<string, Float32Array>();

  const encodeImage = async (pixels: Uint8Array) => {
    const known = images.get(pixels);
    if (known) return known;
    const embedding = (await encoders.encodeImages([pixels]))[0]!;
    images.set(pixels, embedding);
    return embedding;
  };
  const encodeText = async (text: string) => {
    const known = texts.get(text);
    if (known) return known;
    const ids = tokenizer.tokenize(text, architecture.text.contextLength);
    const embedding = (await encoders.encodeTexts([[...ids]]))[0]!;
    texts.set(text, embedding);
    return embedding;
  };

  return {
    encodeImage,
    encodeText,
    async rank(pixels, labels) {
      const image = await encodeImage(pixels);
      const similarities: number[] = [];
      for (const label of labels) similarities.push(dot(image, await encodeText(label)));
      const weights = similarities.map((similarity) => Math.exp(logitScale * similarity));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return labels
        .map((label, i) => ({ label, score: weights[i]! / total, similarity: similarities[i]! }))
        .sort((a, b) => b.similarity - a.similarity);
    },
    async similarity(pixels, label) {
      return dot(await encodeImage(pixels), await encodeText(label));
    },
    [Symbol.asyncDispose]: () => encoders[Symbol.asyncDispose](),
  };
}
