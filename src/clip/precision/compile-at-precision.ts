import { mkdir, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type HostTensor, openSession, type WeightPlacement } from '../../../native/onnx/session.ts';
import type { Precision, PrecisionSetting } from '../../precision.ts';
import { type CompileRequest, type CompileTarget, compileModel } from '../graph/compile-model.ts';
import {
  addPrecisionReport,
  type CompiledModelDescription,
  DESCRIPTION_FILE,
  graphFiles,
  observedGraphFiles,
  writeDurably,
} from '../graph/compiled-model.ts';
import { type ActivationRanges, type ObservedInput, observedInputs } from '../graph/transformer.ts';
import { comparePrecisions, type ProbeEmbeddings } from './compare-precisions.ts';
import { type Probes, probesFor } from './probes.ts';

/**
 * Positions of pictures in a run: those of 8 pictures for ViT-B/32, of one for ViT-L/14. Beside a large model's fp32
 * weights, memory has no room for more intermediate results.
 */
const POSITIONS_PER_RUN = 400;
/** Texts in a run. Only those of one length share a run. */
const TEXTS_PER_RUN = 32;

/** A tower's graph and how to run it. */
interface TowerGraph {
  readonly graphPath: string;
  readonly embeddingDimension: number;
  /** The graph's outputs besides embeddings, if it is the observed form. */
  readonly observed: readonly ObservedInput[];
  readonly threads: number;
  /** `mapped` for fp32, whose weights may be too large for memory. */
  readonly weights: WeightPlacement;
}

interface EncodedProbes {
  /** [D] float32 each, L2-normalised, in the order of the probes. */
  readonly embeddings: readonly Float32Array[];
  readonly ranges: ActivationRanges;
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbePictures(
  tower: TowerGraph,
  { pictures, side, positions }: Probes,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  const perRun = Math.max(1, Math.floor(POSITIONS_PER_RUN / positions));
  const batches = Array.from({ length: Math.ceil(pictures.length / perRun) }, (_, index) => {
    const first = index * perRun;
    return Array.from(pictures.slice(first, first + perRun).keys(), (offset) => first + offset);
  });
  return await encode(tower, batches, onShare, (batch) => {
    const data = new Uint8Array(batch.length * side * side * 3);
    batch.forEach((index, row) => {
      data.set(pictures[index]?.pixels ?? [], row * side * side * 3);
    });
    return { pixels: { type: 'uint8', dims: [batch.length, side, side, 3], data } };
  });
}

/** @param onShare how much is done, from 0 to 1 */
export async function encodeProbeTexts(
  tower: TowerGraph,
  { texts }: Probes,
  onShare: (share: number) => void,
): Promise<EncodedProbes> {
  const byLength = Map.groupBy(texts.keys(), (index) => texts[index]?.ids.length ?? 0);
  const batches = [...byLength.values()].flatMap((indices) =>
    Array.from({ length: Math.ceil(indices.length / TEXTS_PER_RUN) }, (_, part) =>
      indices.slice(part * TEXTS_PER_RUN, (part + 1) * TEXTS_PER_RUN),
    ),
  );
  return await encode(tower, batches, onShare, (batch) => {
    const data = Int32Array.from(batch.flatMap((index) => [...(texts[index]?.ids ?? [])]));
    return { input_ids: { type: 'int32', dims: [batch.length, data.length / batch.length], data } };
  });
}

/** @param batches indices of probes: all of them, each once */
async function encode(
  { graphPath, embeddingDimension, observed, threads, weights }: TowerGraph,
  batches: readonly (readonly number[])[],
  onShare: (share: number) => void,
  inputsOf: (batch: readonly number[]) => Readonly<Record<string, HostTensor>>,
): Promise<EncodedProbes> {
  await using session = await openSession(graphPath, { threads, weights });
  const embeddings: Float32Array[] = [];
  const ranges = new Map(observed.map(({ name, width }) => [name, new Float32Array(width)]));
  for (const [done, batch] of batches.entries()) {
    const batchEmbeddings = float32([batch.length, embeddingDimension]);
    const batchRanges = observed.map(({ name, output, width }) => ({
      name,
      output,
      peaks: float32([width]),
    }));
    await session.run(inputsOf(batch), {
      embeddings: batchEmbeddings,
      ...Object.fromEntries(batchRanges.map(({ output, peaks }) => [output, peaks])),
    });
    batch.forEach((index, row) => {
      embeddings[index] = batchEmbeddings.data.slice(
        row * embeddingDimension,
        (row + 1) * embeddingDimension,
      );
    });
    for (const { name, peaks } of batchRanges) {
      const loudest = ranges.get(name);
      loudest?.forEach((before, channel) => {
        loudest[channel] = Math.max(before, peaks.data[channel]!);
      });
    }
    onShare((done + 1) / batches.length);
  }
  return { embeddings, ranges };
}

function float32(dims: readonly number[]) {
  const data = new Float32Array(dims.reduce((product, size) => product * size, 1));
  return { type: 'float32', dims, data } as const;
}

/** The comparison of both precisions, probe by probe, beside the graphs. */
export const REPORT_FILE = 'precision-report.json';

/** Each step's share of all work, measured with ViT-B/32. */
const shares = { compileFp32: 0.25, probeFp32: 0.35, compileInt8: 0.25, probeInt8: 0.15 } as const;

interface PrecisionRequest extends Required<Omit<CompileRequest, 'target'>> {
  readonly setting: PrecisionSetting;
}

/**
 * Compiles a checkpoint in the wanted precision. `auto` and `int8` compile both. fp32 comes first: its activations show
 * which channels have large values, and int8's embeddings of the probes are compared with its own. With `auto`, int8
 * stays if it answers as fp32 does, otherwise fp32. Needs disk space for both, and about 600 MB of memory for ViT-B/32,
 * which is only freed when the process ends. ViT-L/14 takes 1.5 GB, of which 1.2 are pages of fp32's weight file.
 * @throws UnusableWeightError
 */
export async function compileAtPrecision(request: PrecisionRequest): Promise<void> {
  const { checkpoint, setting, directory, onShare } = request;
  if (setting === 'fp32') {
    await compileModel({ ...request, target: { precision: 'fp32' } });
    return;
  }
  const step = stepper(onShare);
  const probes = probesFor(checkpoint);
  const compile = async (target: CompileTarget): Promise<CompiledModelDescription> => {
    const folder = join(directory, target.precision);
    await mkdir(folder);
    const inStep = step(target.precision === 'fp32' ? 'compileFp32' : 'compileInt8');
    return await compileModel({ ...request, target, directory: folder, onShare: inStep });
  };
  const encode = (precision: Precision) => {
    const inStep = step(precision === 'fp32' ? 'probeFp32' : 'probeInt8');
    return encodeAll((tower) => towerGraph(tower, precision, request), probes, inStep);
  };

  const { logitScale } = await compile({ precision: 'fp32', observed: true });
  const fp32 = await encode('fp32');
  await compile({ precision: 'int8', ranges: fp32.ranges });
  const int8 = await encode('int8');
  const comparison = comparePrecisions(probes, fp32, int8, logitScale);

  const chosen = setting === 'int8' || comparison.report.accepted ? 'int8' : 'fp32';
  await addPrecisionReport(join(directory, chosen), comparison.report);
  await writeDurably(join(directory, REPORT_FILE), `${JSON.stringify(comparison, null, 2)}\n`);
  await keepOnly(chosen, directory);
}

type TowerName = keyof typeof graphFiles;

function towerGraph(
  name: TowerName,
  precision: Precision,
  { directory, checkpoint: { architecture } }: PrecisionRequest,
): TowerGraph {
  const file = precision === 'fp32' ? observedGraphFiles[name] : graphFiles[name].graph;
  return {
    graphPath: join(directory, precision, file),
    observed: precision === 'fp32' ? observedInputs(name, architecture) : [],
    embeddingDimension: architecture.embeddingDimension,
    threads: availableParallelism(),
    weights: precision === 'fp32' ? 'mapped' : 'packed',
  };
}

/** Runs the probes through both towers. */
async function encodeAll(
  tower: (name: TowerName) => TowerGraph,
  probes: Probes,
  onShare: (share: number) => void,
): Promise<ProbeEmbeddings & { readonly ranges: ActivationRanges }> {
  // Texts take far less time than pictures.
  const PICTURES = 0.8;
  const pictures = await encodeProbePictures(tower('vision'), probes, (share) => onShare(PICTURES * share));
  const texts = await encodeProbeTexts(tower('text'), probes, (share) =>
    onShare(PICTURES + (1 - PICTURES) * share),
  );
  return {
    pictures: pictures.embeddings,
    texts: texts.embeddings,
    ranges: new Map([...pictures.ranges, ...texts.ranges]),
  };
}

/** Moves the chosen precision's files up and removes all else. */
async function keepOnly(chosen: Precision, directory: string): Promise<void> {
  const files = [
    DESCRIPTION_FILE,
    ...Object.values(graphFiles).flatMap(({ graph, weights }) => [graph, weights]),
  ];
  for (const file of files) await rename(join(directory, chosen, file), join(directory, file));
  await rm(join(directory, 'fp32'), { recursive: true });
  await rm(join(directory, 'int8'), { recursive: true });
}

/** Turns shares of a step into shares of all steps. Steps begin in their order. */
function stepper(onShare: (share: number) => void) {
  let before = 0;
  return (name: keyof typeof shares) => {
    const start = before;
    before += shares[name];
    return (share: number) => onShare(start + share * shares[name]);
  };
}
