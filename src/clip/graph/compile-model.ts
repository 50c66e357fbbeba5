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
import { NamedWeights } from './named-weights.ts';
import type { ActivationRanges, Parts } from './transformer.ts';

/** In which precision. */
export type CompileTarget =
  | {
      readonly precision: 'fp32';
      /** Whether the graphs are also written in the form that reports how loud activations are. */
      readonly observed?: boolean;
    }
  | {
      readonly precision: 'int8';
      /** What the observed form has reported. Inputs that are missing in it are rounded as they are. */
      readonly ranges: ActivationRanges;
    };

export interface CompileRequest {
  readonly checkpoint: Checkpoint;
  /** A name for people, and the checkpoint file's sha256 in hex. */
  readonly identity: { readonly name: string; readonly sha256: string };
  readonly target: CompileTarget;
  /** Exists and is empty. */
  readonly directory: string;
  /** Called with the share of the work that is done, 0 to 1. */
  readonly onShare?: (share: number) => void;
}

/**
 * Writes a checkpoint's two towers as ONNX graphs into a folder. Weights are read, written and dropped one by
 * one: the 605 MB of ViT-B/32 take about 300 MB of memory. Returns when all files are on the disk.
 * @throws UnusableWeightError if the checkpoint's weights do not make a model
 */
export async function compileModel(request: CompileRequest): Promise<CompiledModelDescription> {
  const { checkpoint, identity, target, directory, onShare = () => {} } = request;
  const weights = new NamedWeights(checkpoint, onShare);
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
