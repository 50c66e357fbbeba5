import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { familyNamed } from '../family.ts';
import type { Calibration } from './calibration.ts';
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
import { createLinear, createSwitchedLinear, type Exceptions, type Product } from './linear.ts';
import { NamedWeights } from './named-weights.ts';
import type { Parts } from './transformer.ts';

/** In which precision. */
export type CompileTarget =
  | {
      readonly precision: 'fp32';
      /** Whether the graphs are also written in the form that reports what goes into products. */
      readonly observed?: boolean;
    }
  | ({
      readonly precision: 'int8';
      /** What the observed form has reported. Inputs that are missing in it are rounded as they are, row by row. */
      readonly calibration: Calibration;
    } & Exceptions);

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

/** What a compiled model is, and what its graphs do not show when they are loaded. */
interface Compiled {
  readonly description: CompiledModelDescription;
  /** Names of int8 products with a scale for each row instead of a fixed one. */
  readonly rowProducts: readonly string[];
}

/**
 * Writes a checkpoint's two towers as ONNX graphs into a folder. Weights are read, written and dropped one by
 * one: the 605 MB of ViT-B/32 take about 300 MB of memory. Returns when all files are on the disk.
 * @throws UnusableWeightError if the checkpoint's weights do not make a model
 */
export async function compileModel(request: CompileRequest): Promise<Compiled> {
  const { checkpoint, identity, target, directory, onShare = () => {} } = request;
  const weights = new NamedWeights(checkpoint, onShare);
  const { architecture } = checkpoint;
  const family = familyNamed(checkpoint.family);
  const rowProducts: string[] = [];
  for (const tower of ['vision', 'text'] as const) {
    await writeGraph({ directory, tower, weights, target, rowProducts }, (parts) =>
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
  return { description, rowProducts };
}

/** A tower whose products can each be computed in either precision. */
export interface SwitchedTower {
  readonly graphPath: string;
  /** In the order of the graph's switches. */
  readonly products: readonly Product[];
}

/**
 * Writes one tower as a graph that has every product in both precisions, and an input that chooses between them.
 * @param calibration as for int8
 * @throws UnusableWeightError
 */
export async function compileSwitchedTower(
  request: Pick<CompileRequest, 'checkpoint' | 'directory' | 'onShare'>,
  tower: keyof typeof graphFiles,
  calibration: Calibration,
): Promise<SwitchedTower> {
  const { checkpoint, directory, onShare = () => {} } = request;
  const files = graphFiles[tower];
  await using weightFile = await WeightFile.create(join(directory, files.weights));
  const graph = new GraphBuilder(tower, weightFile, files.weights);
  const products: Product[] = [];
  const parts: Parts = {
    graph,
    weights: new NamedWeights(checkpoint, onShare),
    precision: 'fp32',
    linear: createSwitchedLinear(graph, products),
    calibration,
  };
  await familyNamed(checkpoint.family).buildGraph(tower, parts, checkpoint.architecture);
  const graphPath = join(directory, files.graph);
  await writeDurably(graphPath, graph.encode());
  return { graphPath, products };
}

interface TowerFiles {
  readonly directory: string;
  readonly tower: keyof typeof graphFiles;
  readonly weights: NamedWeights;
  readonly target: CompileTarget;
  /** Names of int8 products with a scale for each row are added to it. */
  readonly rowProducts: string[];
}

async function writeGraph(
  { directory, tower, weights, target, rowProducts }: TowerFiles,
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
    linear: createLinear(graph, precision, target.precision === 'int8' ? target : {}, rowProducts),
    calibration: target.precision === 'int8' ? target.calibration : new Map(),
  });
  await weightFile.flush();
  await writeDurably(join(directory, files.graph), graph.encode());
  if (target.precision === 'fp32' && target.observed) {
    await writeDurably(join(directory, observedGraphFiles[tower]), graph.encode('observed'));
  }
}
