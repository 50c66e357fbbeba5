import type { Bench } from '../../bench.ts';
import { bestRate, type Rate } from '../../measure/rate.ts';
import { number, type Table } from '../../report/table.ts';
import { type Contender, type Field, type RunningContender, startContender } from './contenders.ts';

const batches = [8, 1] as const;

/** Turns in a round: short ones, so that what disturbs one contender disturbs the others. */
const TURNS_PER_ROUND = 4;

/** How near the embeddings are to the reference's, as cosines. */
interface Fidelity {
  readonly mean: number;
  readonly lowest: number;
}

interface TowerResult {
  readonly name: string;
  readonly ours: boolean;
  /** One a batch size. */
  readonly rates: readonly Rate[];
  readonly fidelity: Fidelity;
}

interface TowerComparison {
  readonly results: readonly TowerResult[];
  /** Those that cannot run here, with the reason. */
  readonly absent: readonly string[];
}

interface Runner {
  readonly name: string;
  readonly ours: boolean;
  readonly running: RunningContender;
  readonly fidelity: Fidelity;
  readonly rates: Rate[][];
}

/** All towers in turn, each in a process that lives as long as the comparison. */
export async function compareTowers(bench: Bench, field: Field): Promise<TowerComparison> {
  const { rounds, seconds } = bench.options;
  await using cleanup = new AsyncDisposableStack();
  const absent: string[] = [];
  const runners: Runner[] = [];
  const enter = async (contender: Contender, ours: boolean) => {
    bench.tell(`starting ${contender.name}`);
    try {
      const running = cleanup.use(await startContender(contender));
      const fidelity = compareEmbeddings(await running.embed(), field.reference, field.dimension);
      runners.push({ name: contender.name, ours, running, fidelity, rates: batches.map(() => []) });
    } catch (fault) {
      if (ours) throw fault;
      absent.push((fault as Error).message);
    }
  };
  for (const contender of field.ours) await enter(contender, true);
  for (const contender of field.theirs) {
    if (contender.name.includes(bench.options.scenarios)) await enter(contender, false);
  }
  for (let turn = 1; turn <= rounds * TURNS_PER_ROUND; turn++) {
    bench.tell(`turn ${turn} of ${rounds * TURNS_PER_ROUND}`);
    for (const [at, batch] of batches.entries()) {
      for (const { running, rates } of runners) {
        rates[at]?.push(await running.measure(batch, seconds / 10));
      }
    }
  }
  const results = runners.map(({ name, ours, fidelity, rates }) => ({
    name,
    ours,
    fidelity,
    rates: rates.map(bestRate),
  }));
  return { results, absent };
}

/** @param dimension of an embedding */
function compareEmbeddings(embeddings: Float32Array, reference: Float32Array, dimension: number): Fidelity {
  const cosines: number[] = [];
  for (let start = 0; start < reference.length; start += dimension) {
    const own = embeddings.subarray(start, start + dimension);
    cosines.push(cosine(own, reference.subarray(start, start + dimension)));
  }
  const mean = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
  return { mean, lowest: Math.min(...cosines) };
}

function cosine(one: Float32Array, other: Float32Array): number {
  const dot = (left: Float32Array, right: Float32Array) =>
    left.reduce((sum, value, at) => sum + value * (right[at] ?? Number.NaN), 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}

export function towerTable(bench: Bench, { results, absent }: TowerComparison): Table {
  const served = results.find(({ name }) => name.endsWith(bench.precision));
  const cells = (result: TowerResult, at: number): readonly string[] => {
    const { perSecond, cpuMs } = result.rates[at] ?? { perSecond: Number.NaN, cpuMs: Number.NaN };
    const ratio = (served?.rates[at]?.perSecond ?? Number.NaN) / perSecond;
    return [number(perSecond), result === served ? '–' : number(ratio), number(cpuMs)];
  };
  return {
    title: `Peers: the vision tower alone, the same weights, pictures and cores; “ours” is ${bench.precision}`,
    columns: [
      'tower',
      ...['batches of 8', 'one picture'].flatMap((load) => [
        `${load}: pictures/s`,
        'ours: … times',
        'CPU ms',
      ]),
      'mean cosine',
      'lowest',
    ],
    rows: results.map((result) => [
      result.name,
      ...batches.flatMap((_, at) => cells(result, at)),
      result.fidelity.mean.toFixed(5),
      result.fidelity.lowest.toFixed(5),
    ]),
    note: [
      `The best of ${bench.options.rounds * TURNS_PER_ROUND} turns, all towers in turn. CPU ms: processor time of one picture. Cosines: to PyTorch in fp32, of pictures that no tower was calibrated with.`,
      ...absent.map((reason) => `Not here: ${reason}.`),
    ].join('\n'),
  };
}
