import type { Bench, Findings } from '../bench.ts';
import { oneRequest, steadyLoad } from '../load/load.ts';
import { type Observation, observe } from '../load/observed.ts';
import { bestLimit, type Limit, limitCpuMs, limitPerSecond, measureLimit } from '../measure/limit.ts';
import type { PhotoKind } from '../photos/photo-set.ts';
import { megabytes, number, percent, type Table } from '../report/table.ts';
import { type CgroupFindings, withService } from '../service/running-service.ts';
import { photoCount, type Scenario, scenariosNamed } from '../service/scenario.ts';

type Round = Observation & CgroupFindings & { readonly idleBytes: number };

interface ScenarioResult {
  readonly scenario: Scenario;
  readonly rounds: readonly Round[];
  readonly limit: Limit;
}

const categories = ['a cat', 'a dog', 'a tree'] as const;

/** The whole service over HTTP, each scenario in a fresh process, against the machine's own limit. */
export async function servicePart(bench: Bench): Promise<Findings> {
  const scenarios = scenariosNamed(bench.options.scenarios);
  const kinds = new Set(scenarios.map(({ kind }) => kind));
  const limits = new Map<PhotoKind, Limit[]>([...kinds].map((kind) => [kind, []]));
  const rounds = new Map<Scenario, Round[]>(scenarios.map((scenario) => [scenario, []]));
  for (let round = 1; round <= bench.options.rounds; round++) {
    for (const kind of kinds) {
      bench.tell(`round ${round}: the machine's limit for ${kind} photos`);
      limits.get(kind)?.push(await measureLimit(bench, kind));
    }
    for (const scenario of scenarios) {
      bench.tell(`round ${round}: ${scenario.name}`);
      rounds.get(scenario)?.push(await runScenario(bench, scenario));
    }
  }
  const results = scenarios.map(
    (scenario): ScenarioResult => ({
      scenario,
      rounds: rounds.get(scenario) ?? [],
      limit: bestLimit(limits.get(scenario.kind) ?? []),
    }),
  );
  return { data: { precision: bench.precision, results }, tables: [serviceTable(bench, results)] };
}

async function runScenario(bench: Bench, { kind, shape }: Scenario): Promise<Round> {
  const { photos, meanBytes } = await bench.photos(kind);
  const { warmUpSeconds, seconds } = bench.options;
  return await withService(bench, async ({ url, pid, idleBytes }) => {
    const target = { url: new URL('/categorize', url), photos, categories };
    const observation = await observe(pid, (stopwatch) =>
      'clients' in shape
        ? steadyLoad({ ...target, ...shape }, warmUpSeconds, seconds, stopwatch)
        : oneRequest(target, photoCount(shape.photos, meanBytes), stopwatch),
    );
    return { ...observation, idleBytes };
  });
}

function serviceTable(bench: Bench, results: readonly ScenarioResult[]): Table {
  const hasCgroup = bench.options.memoryLimit !== undefined;
  const all = results.flatMap(({ rounds }) => rounds);
  const idle = Math.min(...all.map(({ idleBytes }) => idleBytes));
  const kills = all.reduce((sum, round) => sum + (round.kills ?? 0), 0);
  const clientShare = Math.max(...all.map((round) => round.clientShare));
  return {
    title: `The service over HTTP, ${bench.precision}`,
    columns: [
      'scenario',
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
    rows: results.map((result) => scenarioRow(result, hasCgroup)),
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

function scenarioRow({ scenario, rounds, limit }: ScenarioResult, hasCgroup: boolean): string[] {
  const best = rounds.reduce((a, b) => (b.perSecond > a.perSecond ? b : a));
  const cpuMs = Math.min(...rounds.map((round) => round.cpuMs));
  const peak = (bytes: (round: Round) => number | undefined) =>
    megabytes(Math.max(...rounds.map((round) => bytes(round) ?? Number.NaN)));
  return [
    scenario.name,
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
