import { mkdir, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Precision, PrecisionSetting } from '../../precision.ts';
import type { Calibration } from '../graph/calibration.ts';
import {
  type CompileRequest,
  type CompileTarget,
  compileModel,
  compileSwitchedTower,
  type SwitchedTower,
} from '../graph/compile-model.ts';
import {
  addPrecisionReport,
  DESCRIPTION_FILE,
  graphFiles,
  observedGraphFiles,
  type PrecisionReport,
  writeDurably,
} from '../graph/compiled-model.ts';
import type { Exceptions, Product } from '../graph/linear.ts';
import { observedInputs } from '../graph/transformer.ts';
import { type Comparison, comparePrecisions, isClose, type ProbeEmbeddings } from './compare-precisions.ts';
import { encodeProbePictures, encodeProbeTexts, type ProbeSets, type TowerGraph } from './encode-probes.ts';
import { calibrationFor, type Probes, probesFor } from './probes.ts';
import { type Exception, findWorstProducts, type Measured, someProbes } from './product-errors.ts';

/** The comparison of both precisions, probe by probe, and what int8 costs in the measured products, beside the graphs. */
export const REPORT_FILE = 'precision-report.json';

/**
 * Each step's share of all work, measured with ViT-B/32. `repair` is only needed if int8 loses too much in some of its
 * products; each try takes half of what is left.
 */
const shares = { compileFp32: 0.2, probeFp32: 0.35, compileInt8: 0.2, probeInt8: 0.15, repair: 0.1 } as const;

/**
 * What the products that stay in int8 may lose, as a share of the limits: less with each try, because errors do not
 * add up exactly.
 */
const TRIES = [0.85, 0.6, 0.4] as const;

/** With more of a tower's weights in float32, int8 is hardly faster and not much smaller. */
const LARGEST_FP32_SHARE = 0.5;

interface PrecisionRequest extends Required<Omit<CompileRequest, 'target'>> {
  readonly setting: PrecisionSetting;
}

/**
 * Compiles a checkpoint in the wanted precision. `auto` and `int8` compile both. fp32 comes first: its activations show
 * which channels have large values, and which inputs of products one scale suits; then int8's embeddings of other
 * probes are compared with its own. With `auto`, int8 stays if it answers as fp32 does. If it does not, each product's
 * own error is measured. The few that lose most get a scale for each row or stay in float32, whichever suffices; if too
 * many stay in float32, all of fp32 stays. Needs disk space for both precisions, and while products are
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

  const { description } = await compileInto(
    { precision: 'fp32', observed: true },
    { ...request, onShare: step('compileFp32') },
  );
  const fp32 = await encodeAll(
    (tower) => towerGraph(tower, 'fp32', request),
    { probes, calibrating: calibrationFor(checkpoint) },
    step('probeFp32'),
  );
  const { calibration } = fp32;
  const tryInt8: Loss['tryInt8'] = async (exceptions, [whileCompiling, whileProbing]) => {
    await rm(join(directory, 'int8'), { recursive: true, force: true });
    const target = { precision: 'int8', calibration, ...exceptions } as const;
    const { rowProducts } = await compileInto(target, { ...request, onShare: whileCompiling });
    const int8 = await encodeAll((tower) => towerGraph(tower, 'int8', request), { probes }, whileProbing);
    const fp32Products = [...(exceptions.fp32Products ?? [])];
    const { logitScale } = description;
    return comparePrecisions(probes, { fp32, int8 }, logitScale, { fp32Products, rowProducts });
  };
  const first = await tryInt8({}, [step('compileInt8'), step('probeInt8')]);
  const { comparison, measured } =
    setting === 'auto' && !first.report.accepted
      ? await repair({ ...request, onShare: step('repair') }, { probes, fp32, calibration, first, tryInt8 })
      : { comparison: first, measured: [] };

  const chosen = setting === 'int8' || comparison.report.accepted ? 'int8' : 'fp32';
  await addPrecisionReport(join(directory, chosen), comparison.report);
  const details = { ...comparison, measured };
  await writeDurably(join(directory, REPORT_FILE), `${JSON.stringify(details, null, 2)}\n`);
  await keepOnly(chosen, directory);
  onShare(1);
}

async function compileInto(target: CompileTarget, request: PrecisionRequest) {
  const directory = join(request.directory, target.precision);
  await mkdir(directory);
  return await compileModel({ ...request, target, directory });
}

interface Loss {
  readonly probes: Probes;
  readonly fp32: ProbeEmbeddings;
  readonly calibration: Calibration;
  /** The comparison of int8 without exceptions. */
  readonly first: Comparison;
  /**
   * Compiles int8, in the place of what was there, and compares it.
   * @param onShares called with the share that is done of the compiling, and of the comparison
   */
  tryInt8(
    exceptions: Exceptions,
    onShares: readonly [compiling: (share: number) => void, probing: (share: number) => void],
  ): Promise<Comparison>;
}

interface Repaired {
  readonly comparison: Comparison;
  /** What int8 costs in each measured block and product, in the order of the measurements. */
  readonly measured: readonly { readonly name: string; readonly meanError: number }[];
}

/**
 * Replaces int8's graphs by ones in which the products that lose most get a scale for each row or stay in float32, as
 * few as are necessary. If that does not help, the comparison is the one of int8 without exceptions.
 */
async function repair(request: PrecisionRequest, loss: Loss): Promise<Repaired> {
  let left = 1;
  const step = () => {
    const start = 1 - left;
    left /= 2;
    const size = left;
    return (share: number) => request.onShare(start + share * size);
  };
  const switched = new Map<TowerName, SwitchedTower>();
  const exceptions = new Map<string, Exception>();
  const inFp32 = new Map<string, Product>();
  const measured = new Map<string, Measured>();
  let latest = loss.first;
  for (const share of TRIES) {
    let isChanged = false;
    for (const name of losingTowers(latest.report)) {
      const compiling = { ...request, onShare: step() };
      const tower = switched.get(name) ?? (await switchedTower(name, compiling, loss));
      switched.set(name, tower);
      const kind = name === 'vision' ? 'pictures' : 'texts';
      const found = await findWorstProducts(
        {
          tower: { ...towerGraph(name, 'fp32', request), graphPath: tower.graphPath, observed: [] },
          products: tower.products,
          exceptions,
        },
        someProbes(name, {
          probes: loss.probes,
          fp32: loss.fp32[kind],
          cosines: latest[kind].map(({ cosine }) => cosine),
        }),
        share,
        step(),
      );
      // A block that is measured again lacks what stays in float32 by now.
      for (const part of found.measured) {
        const key = part.byRows ? `${part.name}, row by row` : part.name;
        measured.set(key, measured.get(key) ?? part);
      }
      for (const [product, exception] of found.worst) {
        isChanged = true;
        exceptions.set(product.name, exception);
        if (exception === 'fp32') inFp32.set(product.name, product);
      }
    }
    if ([...switched.values()].some((tower) => areTooMany(inFp32, tower))) break;
    if (!isChanged) continue;
    const inStep = step();
    latest = await loss.tryInt8(
      { fp32Products: new Set(inFp32.keys()), rowProducts: new Set(exceptions.keys()) },
      [(done) => inStep(done / 2), (done) => inStep((1 + done) / 2)],
    );
    if (latest.report.accepted) break;
  }
  return {
    comparison: latest.report.accepted ? latest : loss.first,
    measured: Array.from(measured, ([name, { errors }]) => ({
      name,
      meanError: sum(errors) / errors.length,
    })),
  };
}

function areTooMany(inFp32: ReadonlyMap<string, Product>, { products }: SwitchedTower): boolean {
  const size = (some: readonly Product[]) => sum(some.map(({ weights }) => weights));
  return size(products.filter(({ name }) => inFp32.has(name))) > LARGEST_FP32_SHARE * size(products);
}

/** The towers that lose too much. If only choices differ, both may be the reason. */
function losingTowers({ pictures, texts }: PrecisionReport): readonly TowerName[] {
  const losing: readonly TowerName[] = [
    ...(isClose(pictures) ? [] : (['vision'] as const)),
    ...(isClose(texts) ? [] : (['text'] as const)),
  ];
  return losing.length > 0 ? losing : ['vision', 'text'];
}

async function switchedTower(
  name: TowerName,
  request: PrecisionRequest,
  { calibration }: Loss,
): Promise<SwitchedTower> {
  const directory = join(request.directory, `switched-${name}`);
  await mkdir(directory);
  return await compileSwitchedTower({ ...request, directory }, name, calibration);
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
  sets: ProbeSets,
  onShare: (share: number) => void,
): Promise<ProbeEmbeddings & { readonly calibration: Calibration }> {
  // Texts take less time than pictures.
  const PICTURES = 0.7;
  const pictures = await encodeProbePictures(tower('vision'), sets, (share) => onShare(PICTURES * share));
  const texts = await encodeProbeTexts(tower('text'), sets, (share) =>
    onShare(PICTURES + (1 - PICTURES) * share),
  );
  return {
    pictures: pictures.embeddings,
    texts: texts.embeddings,
    calibration: new Map([...pictures.calibration, ...texts.calibration]),
  };
}

/** Moves the chosen precision's files up and removes all else. */
async function keepOnly(chosen: Precision, directory: string): Promise<void> {
  const files = [
    DESCRIPTION_FILE,
    ...Object.values(graphFiles).flatMap(({ graph, weights }) => [graph, weights]),
  ];
  for (const file of files) await rename(join(directory, chosen, file), join(directory, file));
  for (const folder of ['fp32', 'int8', 'switched-vision', 'switched-text']) {
    await rm(join(directory, folder), { recursive: true, force: true });
  }
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
