import { mkdir, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Precision, PrecisionSetting } from '../../precision.ts';
import {
  type CompileRequest,
  type CompileTarget,
  compileModel,
  compileSwitchedTower,
} from '../graph/compile-model.ts';
import {
  addPrecisionReport,
  type CompiledModelDescription,
  DESCRIPTION_FILE,
  graphFiles,
  observedGraphFiles,
  type PrecisionReport,
  writeDurably,
} from '../graph/compiled-model.ts';
import { type ActivationRanges, observedInputs } from '../graph/transformer.ts';
import { type Comparison, comparePrecisions, isClose, type ProbeEmbeddings } from './compare-precisions.ts';
import { encodeProbePictures, encodeProbeTexts, type TowerGraph } from './encode-probes.ts';
import { type Probes, probesFor } from './probes.ts';
import { measureProducts, type ProductError, someProbes, worstProducts } from './product-errors.ts';

/** The comparison of both precisions, probe by probe, and the measured products, beside the graphs. */
export const REPORT_FILE = 'precision-report.json';

/**
 * Each step's share of all work, measured with ViT-B/32. `repair` is only needed if int8 loses too much in some of its
 * products; each try takes half of what is left.
 */
const shares = { compileFp32: 0.2, probeFp32: 0.35, compileInt8: 0.2, probeInt8: 0.15, repair: 0.1 } as const;

/**
 * What the products that stay in int8 may lose, as a share of the limits: less with each try, because the errors of
 * products do not add up exactly.
 */
const TRIES = [0.85, 0.5, 0.2] as const;

/** With more of a tower's weights in float32, int8 is hardly faster and not much smaller. */
const LARGEST_FP32_SHARE = 0.5;

interface PrecisionRequest extends Required<Omit<CompileRequest, 'target'>> {
  readonly setting: PrecisionSetting;
}

/**
 * Compiles a checkpoint in the wanted precision. `auto` and `int8` compile both. fp32 comes first: its activations show
 * which channels have large values, and int8's embeddings of the probes are compared with its own. With `auto`, int8
 * stays if it answers as fp32 does. If it does not, each product's own error is measured, and the few that lose most
 * stay in float32; if these are too many, fp32 stays. Needs disk space for both precisions, and while products are
 * measured for a third; and about 600 MB of memory for ViT-B/32, which is only freed when the process ends. ViT-L/14
 * takes 1.5 GB, of which 1.2 are pages of fp32's weight file.
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

  const { logitScale } = await compileInto(
    { precision: 'fp32', observed: true },
    { ...request, onShare: step('compileFp32') },
  );
  const fp32 = await encodeAll((tower) => towerGraph(tower, 'fp32', request), probes, step('probeFp32'));
  const { ranges } = fp32;
  await compileInto({ precision: 'int8', ranges }, { ...request, onShare: step('compileInt8') });
  const compareInt8 = async (inStep: (share: number) => void, fp32Products: readonly string[]) => {
    const int8 = await encodeAll((tower) => towerGraph(tower, 'int8', request), probes, inStep);
    return comparePrecisions(probes, { fp32, int8 }, logitScale, fp32Products);
  };
  const first = await compareInt8(step('probeInt8'), []);
  const { comparison, products } =
    setting === 'auto' && !first.report.accepted
      ? await repair({ ...request, onShare: step('repair') }, { probes, fp32, ranges, first, compareInt8 })
      : { comparison: first, products: [] };

  const chosen = setting === 'int8' || comparison.report.accepted ? 'int8' : 'fp32';
  await addPrecisionReport(join(directory, chosen), comparison.report);
  const details = { ...comparison, products };
  await writeDurably(join(directory, REPORT_FILE), `${JSON.stringify(details, null, 2)}\n`);
  await keepOnly(chosen, directory);
  onShare(1);
}

async function compileInto(
  target: CompileTarget,
  request: PrecisionRequest,
): Promise<CompiledModelDescription> {
  const directory = join(request.directory, target.precision);
  await mkdir(directory);
  return await compileModel({ ...request, target, directory });
}

interface Loss {
  readonly probes: Probes;
  readonly fp32: ProbeEmbeddings;
  readonly ranges: ActivationRanges;
  /** The comparison of int8 without exceptions. */
  readonly first: Comparison;
  compareInt8(onShare: (share: number) => void, fp32Products: readonly string[]): Promise<Comparison>;
}

interface Repaired {
  readonly comparison: Comparison;
  /** What int8 costs in each measured product, worst first. */
  readonly products: readonly { readonly product: string; readonly meanError: number }[];
}

/**
 * Replaces int8's graphs by ones that leave the products in float32 that lose most, as few as are necessary. If that
 * does not help, the comparison is the one of int8 without exceptions.
 */
async function repair(request: PrecisionRequest, loss: Loss): Promise<Repaired> {
  const measured = new Map<TowerName, readonly ProductError[]>();
  const step = () => {
    const start = 1 - left;
    left /= 2;
    const size = left;
    return (share: number) => request.onShare(start + share * size);
  };
  let left = 1;
  let latest = loss.first;
  for (const share of TRIES) {
    for (const tower of losingTowers(latest.report)) {
      if (measured.has(tower)) continue;
      measured.set(tower, await measureTower(tower, { ...request, onShare: step() }, loss));
    }
    const worst = [...measured.values()].map((products) => worstProducts(products, share));
    if ([...measured.values()].some((products, index) => areTooMany(worst[index] ?? [], products))) break;
    const names = worst.flat().map(({ name }) => name);
    if (names.length === latest.report.fp32Products.length) continue;
    await rm(join(request.directory, 'int8'), { recursive: true });
    const inStep = step();
    await compileInto(
      { precision: 'int8', ranges: loss.ranges, fp32Products: new Set(names) },
      { ...request, onShare: (done) => inStep(done / 2) },
    );
    latest = await loss.compareInt8((done) => inStep((1 + done) / 2), names);
    if (latest.report.accepted) break;
  }
  const products = [...measured.values()]
    .flat()
    .map(({ name, errors }) => ({ product: name, meanError: sum(errors) / errors.length }))
    .toSorted((one, other) => other.meanError - one.meanError);
  return { comparison: latest.report.accepted ? latest : loss.first, products };
}

function areTooMany(some: readonly ProductError[], all: readonly ProductError[]): boolean {
  const size = (products: readonly ProductError[]) => sum(products.map(({ weights }) => weights));
  return size(some) > LARGEST_FP32_SHARE * size(all);
}

/** The towers that lose too much. If only choices differ, both may be the reason. */
function losingTowers({ pictures, texts }: PrecisionReport): readonly TowerName[] {
  const losing: readonly TowerName[] = [
    ...(isClose(pictures) ? [] : (['vision'] as const)),
    ...(isClose(texts) ? [] : (['text'] as const)),
  ];
  return losing.length > 0 ? losing : ['vision', 'text'];
}

async function measureTower(
  tower: TowerName,
  request: PrecisionRequest,
  { probes, fp32, ranges, first }: Loss,
): Promise<readonly ProductError[]> {
  const directory = join(request.directory, 'switched');
  await mkdir(directory);
  const { onShare } = request;
  const compiling = { ...request, directory, onShare: (share: number) => onShare(share / 4) };
  const { graphPath, products } = await compileSwitchedTower(compiling, tower, ranges);
  const kind = tower === 'vision' ? 'pictures' : 'texts';
  const measured = await measureProducts(
    { ...towerGraph(tower, 'fp32', request), graphPath },
    products,
    someProbes(
      tower,
      { probes, fp32: fp32[kind] },
      first[kind].map(({ cosine }) => cosine),
    ),
    (share) => onShare((1 + 3 * share) / 4),
  );
  await rm(directory, { recursive: true });
  return measured;
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0);
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
