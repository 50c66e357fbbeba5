import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import {
  BUILDER_VERSION,
  type CompiledModelDescription,
  DESCRIPTION_FILE,
  graphFiles,
  type Precision,
  type StoredDescription,
} from './compiled-model.ts';
import { GraphBuilder } from './graph-builder.ts';
import { createLinear, type Linear } from './linear.ts';
import { type CompileProgress, NamedWeights } from './named-weights.ts';
import { buildTextGraph } from './text-graph.ts';
import { buildVisionGraph } from './vision-graph.ts';
import { WeightFile } from './weight-file.ts';

/**
 * Writes a checkpoint's two towers as ONNX graphs into a folder. Weights are read, written and dropped one by
 * one: ViT-B/32, 605 MB of them, takes some 300 MB. When it returns, all files stand on the disk.
 * @param identity of the checkpoint: a name for people, and its file's sha256 in hex
 * @param directory exists and is empty
 * @throws UnusableWeightError when the checkpoint's weights do not make a model
 */
export async function compileModel(
  checkpoint: Checkpoint,
  identity: { readonly name: string; readonly sha256: string },
  precision: Precision,
  directory: string,
  onProgress: (progress: CompileProgress) => void = () => {},
): Promise<CompiledModelDescription> {
  const weights = new NamedWeights(checkpoint, onProgress);
  const { architecture } = checkpoint;
  const vision = await writeGraph(directory, 'vision', precision, (graph, linear) =>
    buildVisionGraph(graph, weights, linear, architecture),
  );
  const text = await writeGraph(directory, 'text', precision, (graph, linear) =>
    buildTextGraph(graph, weights, linear, architecture),
  );
  const [logitScale] = weights.read('logit_scale', []);
  const description: CompiledModelDescription = {
    ...identity,
    precision,
    builderVersion: BUILDER_VERSION,
    architecture,
    logitScale: Math.exp(logitScale as number),
  };
  const stored = {
    ...description,
    builderVersion: BUILDER_VERSION,
    fileBytes: {
      [graphFiles.vision.graph]: vision.graphBytes,
      [graphFiles.vision.weights]: vision.weightBytes,
      [graphFiles.text.graph]: text.graphBytes,
      [graphFiles.text.weights]: text.weightBytes,
    },
  } satisfies StoredDescription;
  await writeDurably(join(directory, DESCRIPTION_FILE), `${JSON.stringify(stored, null, 2)}\n`);
  return description;
}

async function writeGraph(
  directory: string,
  tower: keyof typeof graphFiles,
  precision: Precision,
  build: (graph: GraphBuilder, linear: Linear) => Promise<void>,
): Promise<{ graphBytes: number; weightBytes: number }> {
  const files = graphFiles[tower];
  await using weightFile = await WeightFile.create(join(directory, files.weights));
  const graph = new GraphBuilder(tower, weightFile, files.weights);
  await build(graph, createLinear(graph, precision));
  await weightFile.flush();
  const encoded = graph.encode();
  await writeDurably(join(directory, files.graph), encoded);
  return { graphBytes: encoded.byteLength, weightBytes: weightFile.byteLength };
}

/** Returns when the content stands on the disk. */
async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(content);
    await file.datasync();
  } finally {
    await file.close();
  }
}
