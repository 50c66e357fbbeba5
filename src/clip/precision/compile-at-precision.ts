import { mkdir, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { type ActivationRanges, observedInputs } from '../graph/activation-ranges.ts';
import { type CompileTarget, compileModel } from '../graph/compile-model.ts';
import {
  addPrecisionReport,
  type CompiledModelDescription,
  DESCRIPTION_FILE,
  graphFiles,
  observedGraphFiles,
  type Precision,
  type PrecisionSetting,
} from '../graph/compiled-model.ts';
import { writeDurably } from '../graph/durable-file.ts';
import { comparePrecisions, type ProbeEmbeddings } from './compare-precisions.ts';
import { encodeProbePictures, encodeProbeTexts } from './encode-probes.ts';
import { type Probes, probesFor } from './probes.ts';

/** Beside the graphs: the comparison of both precisions, probe by probe. */
export const REPORT_FILE = 'precision-report.json';

/** How much of all work a step is, as measured with ViT-B/32. */
const shares = { compileFp32: 0.25, probeFp32: 0.35, compileInt8: 0.25, probeInt8: 0.15 } as const;

/** What is compiled, and for whom. */
export interface CompileRequest {
  readonly checkpoint: Checkpoint;
  /** A name for people, and the checkpoint file's sha256 in hex. */
  readonly identity: { readonly name: string; readonly sha256: string };
  readonly setting: PrecisionSetting;
  /** Exists and is empty. */
  readonly directory: string;
  /** Told how much is done, from 0 to 1. */
  readonly onShare: (share: number) => void;
}

/**
 * Compiles a checkpoint in the precision that is asked for. `auto` and `int8` compile both: fp32 first, whose
 * answers to the probes int8 is held against, and whose activations tell which channels are loud. With `auto`
 * the better one stays: int8 where it answers as fp32 does. Needs room for both on the disk, and some 600 MB
 * of memory for ViT-B/32, which only the end of the process gives back. Of the 1.5 GB that ViT-L/14 takes, 1.2
 * are fp32's weights in pages of their file, so it is compiled within 2 GB.
 * @throws UnusableWeightError
 */
export async function compileAtPrecision(request: CompileRequest): Promise<void> {
  const { checkpoint, identity, setting, directory, onShare } = request;
  if (setting === 'fp32') {
    await compileModel(checkpoint, identity, { precision: 'fp32' }, directory, ({ bytesDone, bytesTotal }) =>
      onShare(bytesDone / bytesTotal),
    );
    return;
  }
  const step = stepper(onShare);
  const probes = probesFor(checkpoint.architecture);
  const compile = async (target: CompileTarget): Promise<CompiledModelDescription> => {
    const folder = join(directory, target.precision);
    await mkdir(folder);
    const inStep = step(target.precision === 'fp32' ? 'compileFp32' : 'compileInt8');
    return await compileModel(checkpoint, identity, target, folder, ({ bytesDone, bytesTotal }) =>
      inStep(bytesDone / bytesTotal),
    );
  };
  const encode = (precision: Precision) =>
    encodeAll(
      join(directory, precision),
      precision,
      checkpoint,
      probes,
      step(precision === 'fp32' ? 'probeFp32' : 'probeInt8'),
    );

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

/** Runs the probes through both towers. */
async function encodeAll(
  folder: string,
  precision: Precision,
  { architecture }: Checkpoint,
  probes: Probes,
  onShare: (share: number) => void,
): Promise<ProbeEmbeddings & { readonly ranges: ActivationRanges }> {
  const tower = (name: keyof typeof graphFiles) => ({
    graphPath: join(folder, precision === 'fp32' ? observedGraphFiles[name] : graphFiles[name].graph),
    observed: precision === 'fp32' ? observedInputs(name, architecture) : [],
    embeddingDimension: architecture.embeddingDimension,
    threads: availableParallelism(),
    weights: precision === 'fp32' ? ('mapped' as const) : ('packed' as const),
  });
  // A text takes far less time than a picture.
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

/** Shares of a step become shares of all steps; steps are begun in their order. */
function stepper(onShare: (share: number) => void) {
  let before = 0;
  return (name: keyof typeof shares) => {
    const start = before;
    before += shares[name];
    return (share: number) => onShare(start + share * shares[name]);
  };
}
