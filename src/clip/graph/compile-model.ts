import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { familyNamed } from '../family.ts';
import {
  BUILDER_VERSION,
  type CompiledModelDescription,
  DESCRIPTION_FILE,
  fileChecksum,
  graphFiles,
  observedGraphFiles,
  type StoredDescription,
  writeDurably,
} from './compiled-model.ts';
import { GraphBuilder, WeightFile } from './graph-builder.ts';
import { createLinear } from './linear.ts';
import { type CompileProgress, NamedWeights } from './named-weights.ts';
import type { ActivationRanges, Parts } from './transformer.ts';

/** What to make of a checkpoint. */
export type CompileTarget =
  | {
      readonly precision: 'fp32';
      /** Whether the graphs are written a second time, in the form that tells how loud activations are. */
      readonly observed?: boolean;
    }
  | {
      readonly precision: 'int8';
      /** What the observed form told; inputs that are not in it are rounded as they are. */
      readonly ranges: ActivationRanges;
    };

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
  target: CompileTarget,
  directory: string,
  onProgress: (progress: CompileProgress) => void = () => {},
): Promise<CompiledModelDescription> {
  const weights = new NamedWeights(checkpoint, onProgress);
  const { architecture } = checkpoint;
  const family = familyNamed(checkpoint.family);
  for (const tower of ['vision', 'text'] as const) {
    await writeGraph({ directory, tower, weights, target }, (parts) =>
      family.buildGraph(tower, parts, architecture),
    );
  }
  const description: CompiledModelDescription = {
    ...identity,
    precision: target.precision,
    builderVersion: BUILDER_VERSION,
    family: family.name,
    architecture,
    ...family.readScoreParameters(weights),
  };
  const checksum = (file: string) => fileChecksum(join(directory, file));
  const stored: StoredDescription = {
    ...description,
    files: {
      [graphFiles.vision.graph]: await checksum(graphFiles.vision.graph),
      [graphFiles.vision.weights]: await checksum(graphFiles.vision.weights),
      [graphFiles.text.graph]: await checksum(graphFiles.text.graph),
      [graphFiles.text.weights]: await checksum(graphFiles.text.weights),
    },
  };
  await writeDurably(join(directory, DESCRIPTION_FILE), `${JSON.stringify(stored, null, 2)}\n`);
  return description;
}

interface TowerFiles {
  readonly directory: string;
  readonly tower: keyof typeof graphFiles;
  readonly weights: NamedWeights;
  readonly target: CompileTarget;
}

async function writeGraph(
  { directory, tower, weights, target }: TowerFiles,
  build: (parts: Parts) => Promise<void>,
): Promise<void> {
  const { precision } = target;
  const files = graphFiles[tower];
  await using weightFile = await WeightFile.create(join(directory, files.weights));
  const graph = new GraphBuilder(tower, weightFile, files.weights);
  await build({
    graph,
    weights,
    precision,
    linear: createLinear(graph, precision),
    ranges: target.precision === 'int8' ? target.ranges : new Map(),
  });
  await weightFile.flush();
  await writeDurably(join(directory, files.graph), graph.encode());
  if (target.precision === 'fp32' && target.observed) {
    await writeDurably(join(directory, observedGraphFiles[tower]), graph.encode('observed'));
  }
}
