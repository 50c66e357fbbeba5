import { basename } from 'node:path';
import type { Bench, Findings } from '../bench.ts';
import { oneRequest, percentile, steadyLoad } from '../load/load.ts';
import { type Observation, observe } from '../load/observed.ts';
import { bestLimit, type Limit, limitCpuMs, limitPerSecond, measureLimit } from '../measure/limit.ts';
import type { PhotoKind } from '../photos/photo-set.ts';
import { megabytes, number, percent, type Table } from '../report/table.ts';
import { type CgroupFindings, type RunningService, withService } from '../service/running-service.ts';
import { photoCount, type Scenario, scenariosNamed } from '../service/scenario.ts';

type Round = Observation & CgroupFindings & { readonly idleBytes: number; readonly idleTreeBytes: number };

interface ScenarioResult {
  readonly scenario: Scenario;
  readonly root: string;
  readonly rounds: readonly Round[];
  readonly limit: Limit;
}

const categories = ['a cat', 'a dog', 'a tree'] as const;

/** The whole service over HTTP, each scenario in a fresh process, against the machine's own limit. */
export async function servicePart(bench: Bench): Promise<Findings> {
  const scenarios = scenariosNamed(bench.options.scenarios);
  const kinds = new Set(scenarios.map(({ kind }) => kind));
  const limits = new Map<PhotoKind, Limit[]>([...kinds].map((kind) => [kind, []]));
  const results = scenarios.flatMap((scenario) =>
    bench.options.roots.map((root) => ({ scenario, root, rounds: [] as Round[] })),
  );
  for (const root of bench.options.roots) {
    bench.tell(`compiled models of ${root}`);
    await withService(bench, async () => ({}), root);
  }
  for (let round = 1; round <= bench.options.rounds; round++) {
    for (const kind of kinds) {
      bench.tell(`round ${round}: the machine's limit for ${kind} photos`);
      limits.get(kind)?.push(await measureLimit(bench, kind));
    }
    // Checkouts take turns: what disturbs one disturbs the other.
    for (const { scenario, root, rounds } of results) {
      bench.tell(`round ${round}: ${scenario.name}, ${root}`);
      rounds.push(await runScenario(bench, scenario, root));
    }
  }
  const found = results.map(
    (result): ScenarioResult => ({ ...result, limit: bestLimit(limits.get(result.scenario.kind) ?? []) }),
  );
  const tables = [serviceTable(bench, found), ...comparisonTables(found)];
  return { data: { precision: bench.precision, results: found }, tables };
}

async function runScenario(bench: Bench, { kind, shape }: Scenario, root: string): Promise<Round> {
  const { photos, meanBytes } = await bench.photos(kind);
  const { warmUpSeconds, seconds } = bench.options;
  const use = async ({ url, pid, idleBytes, idleTreeBytes }: RunningService) => {
    const target = { url: new URL('/categorize', url), photos, categories };
    const observation = await observe(pid, (stopwatch) =>
      'clients' in shape
        ? steadyLoad({ ...target, ...shape }, warmUpSeconds, seconds, stopwatch)
        : oneRequest(target, photoCount(shape.photos, meanBytes), stopwatch),
    );
    return { ...observation, idleBytes, idleTreeBytes };
  };
  return await withService(bench, use, root);
}

/** The last checkout against the first. */
function comparisonTables(results: readonly ScenarioResult[]): Table[] {
  const roots = [...new Set(results.map(({ root }) => root))];
  const [first, last] = [roots[0], roots.at(-1)];
  if (first === last) return [];
  const rows = [...new Set(results.map(({ scenario }) => scenario))].map((scenario) => {
    const of = (wanted: string | undefined) =>
      results.find((result) => result.scenario === scenario && result.root === wanted)?.rounds ?? [];
    const [before, after] = [of(first), of(last)];
    const best = (pick: (round: Round) => number, from: typeof Math.max) =>
      from(...after.map(pick)) / from(...before.map(pick));
    const inTurn = before.map((round, index) => (after[index]?.perSecond ?? Number.NaN) / round.perSecond);
    return [
      scenario.name,
      ratio(best(({ perSecond }) => perSecond, Math.max)),
      ratio(
        percentile(
          inTurn.toSorted((a, b) => a - b),
          0.5,
        ),
      ),
      ratio(best(({ cpuMs }) => cpuMs, Math.min)),
      ratio(best(({ medianMs }) => medianMs, Math.min)),
      ratio(best(({ peakBytes }) => peakBytes, Math.max)),
      ratio(best(({ idleBytes }) => idleBytes, Math.min)),
      ratio(best(({ idleTreeBytes }) => idleTreeBytes, Math.min)),
    ];
  });
  return [
    {
      title: `The service of ${last} against that of ${first}`,
      columns: [
        'scenario',
        'pictures/s, best',
        'of the same round, median',
        'CPU ms a picture',
        'median ms',
        'peak memory',
        'idle memory',
        'with children',
      ],
      rows,
      note: 'Ratios: 1 is the same, and of pictures/s more is better, of all else less.',
    },
  ];
}

/** Where a percent matters. */
function ratio(value: number): string {
  return Number.isFinite(value) ? value.toFixed(3) : '–';
}

function serviceTable(bench: Bench, results: readonly ScenarioResult[]): Table {
  const hasCgroup = bench.options.memoryLimit !== undefined;
  const hasRoots = bench.options.roots.length > 1;
  const all = results.flatMap(({ rounds }) => rounds);
  const idle = Math.min(...all.map(({ idleBytes }) => idleBytes));
  const kills = all.reduce((sum, round) => sum + (round.kills ?? 0), 0);
  const clientShare = Math.max(...all.map((round) => round.clientShare));
  return {
    title: `The service over HTTP, ${bench.precision}`,
    columns: [
      'scenario',
      ...(hasRoots ? ['checkout'] : []),
      'pictures/s',
      'worst round',
      'machine’s limit',
      'of the limit',
      'by CPU time',
      'CPU ms a picture',
      'main thread ms',
      'median ms',
      '99 % ms',
      'peak memory',
      ...(hasCgroup ? ['cgroup peak'] : []),
    ],
    rows: results.map((result) => scenarioRow(result, hasCgroup, hasRoots)),
    note: [
      `Idle: ${megabytes(idle)} resident.`,
      'The limit is the time of the bare decodes plus that of the bare model runs (batches of 8), each with all cores; by CPU time, the same of processor time.',
      `Sending the photos took at most ${percent(clientShare)} of all cores, which the service did not have.`,
      ...(hasCgroup
        ? [
            `Under a limit of ${megabytes(bench.options.memoryLimit ?? 0)}, page cache included: ${kills} killed.`,
          ]
        : []),
    ].join(' '),
  };
}

function scenarioRow(
  { scenario, root, rounds, limit }: ScenarioResult,
  hasCgroup: boolean,
  hasRoots: boolean,
): string[] {
  const best = rounds.reduce((a, b) => (b.perSecond > a.perSecond ? b : a));
  const cpuMs = Math.min(...rounds.map((round) => round.cpuMs));
  const peak = (bytes: (round: Round) => number | undefined) =>
    megabytes(Math.max(...rounds.map((round) => bytes(round) ?? Number.NaN)));
  return [
    scenario.name,
    ...(hasRoots ? [basename(root)] : []),
    number(best.perSecond),
    number(Math.min(...rounds.map(({ perSecond }) => perSecond))),
    number(limitPerSecond(limit)),
    number(best.perSecond / limitPerSecond(limit)),
    number(limitCpuMs(limit) / cpuMs),
    number(cpuMs),
    number(best.mainThreadMs),
    number(best.medianMs),
    number(best.p99Ms),
    peak(({ peakBytes }) => peakBytes),
    ...(hasCgroup ? [peak(({ cgroupPeakBytes }) => cgroupPeakBytes)] : []),
  ];
}
