/** Runs the vision tower over and over, with nothing around it. */
import { openSession } from '../../../native/onnx/session.ts';
import type { CompiledModel } from '../../../src/clip/graph/compiled-model.ts';
import { randomNumbers } from '../random-numbers.ts';
import { answerParent, childInput } from './child.ts';
import { measureRate, type Rate } from './rate.ts';

export interface EncodeInput {
  readonly model: CompiledModel;
  readonly threads: number;
  readonly seconds: number;
  readonly batches: readonly number[];
}

export type EncodeRates = readonly (Rate & { readonly batch: number })[];

const { model, threads, seconds, batches } = childInput<EncodeInput>();
const { embeddingDimension, vision } = model.architecture;
const session = await openSession(model.visionGraphPath, { threads, inputShapes: 'few' });
const next = randomNumbers(1);

const rates: EncodeRates[number][] = [];
for (const batch of batches) {
  const dims = [batch, vision.imageResolution, vision.imageResolution, 3];
  const pixels = Uint8Array.from({ length: dims.reduce((a, b) => a * b) }, () => 128 + 127 * next());
  const embeddings = new Float32Array(batch * embeddingDimension);
  const inputs = { pixels: { type: 'uint8', dims, data: pixels } } as const;
  const outputs = {
    embeddings: { type: 'float32', dims: [batch, embeddingDimension], data: embeddings },
  } as const;
  const run = async () => {
    await session.run(inputs, outputs);
    return batch;
  };
  await run();
  rates.push({ batch, ...(await measureRate(seconds, [run])) });
}
answerParent(rates satisfies EncodeRates);
