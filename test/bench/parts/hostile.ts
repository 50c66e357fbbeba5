import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { colourPicture } from '../../fixtures/colour-pictures.ts';
import { makeVideo, manyScenes } from '../../fixtures/videos.ts';
import type { Service } from '../../service/service.ts';
import type { Findings, Sitting } from '../bench.ts';
import { type CaseOutcome, type HostileCase, hostileCases } from '../hostile/cases.ts';
import { clockMs, type ProbeAsk, probeWindow, startProbe } from '../load/probe.ts';
import { type FormPart, formRequest, requestHead, sendRaw } from '../load/raw-request.ts';
import { type DemoModels, demoModels } from '../model/compiled.ts';
import { createMemoryCgroup } from '../process/memory-cgroup.ts';
import { watchUsage } from '../process/usage-watch.ts';
import { megabytes, number, type Table } from '../report/table.ts';
import { startWithin } from '../service/start.ts';

/** What a case did to the service and to others. */
export interface CaseFindings {
  readonly name: string;
  readonly kind: HostileCase['kind'];
  readonly root: string;
  readonly limitBytes: number;
  readonly outcome: CaseOutcome;
  /** From the first byte sent until the service answered others again. */
  readonly seconds: number;
  /** Of the probe, by what it asks. */
  readonly probed: Readonly<Record<string, ReturnType<typeof probeWindow>>>;
  /** The same before anything was sent. */
  readonly quiet: Readonly<Record<string, ReturnType<typeof probeWindow>>>;
  readonly probeLatenessMs: number;
  /** Of the service and its children, without what the probe's requests cost it before. */
  readonly cpuSeconds: number;
  /** Of it on the service's main thread. */
  readonly mainThreadSeconds: number;
  /** Of the control group, page cache included, above what it had before. */
  readonly cgroupGrowthBytes: number;
  readonly cgroupPeakBytes: number;
  /** Resident memory of the service and of its largest child, at their most. */
  readonly peakBytes: number;
  readonly childPeakBytes: number;
  /** In the temporary folder, at the most. */
  readonly temporaryBytes: number;
  readonly logBytes: number;
  readonly kills: number;
  /** Whether it lives and answers a good request rightly; or the exit code. */
  readonly after: 'right' | 'wrong' | 'no answer' | `ended with ${number}`;
}

const LIMITS = [2 * 1024 ** 3, 1024 ** 3] as const;
const QUIET_MS = 2000;
const SETTLE_MS = 30_000;
/** A request that is not answered until then is given up. */
const REQUEST_SECONDS = 120;
const STOP_MS = 15_000;

/** Each case on a service of its own, with the demo model, beside a probe. */
export async function hostilePart({ options, tell }: Sitting): Promise<Findings> {
  const cases = hostileCases.filter(
    ({ name, kind }) => name.includes(options.scenarios) || kind === options.scenarios,
  );
  if (cases.length === 0) {
    throw new Error(
      `--scenarios: none is named so; there are ${hostileCases.map(({ name }) => name).join('; ')}`,
    );
  }
  const limits = options.memoryLimit === undefined ? LIMITS : [options.memoryLimit];
  await using models = await demoModels(options.roots);
  const all: CaseFindings[] = [];
  for (const limitBytes of limits) {
    for (const each of cases) {
      const run = await each.prepare();
      for (const root of options.roots) {
        tell(`${each.name}, ${gibibytes(limitBytes)}, ${root}`);
        const { floodSeconds } = options;
        const found = await runCase(each, run, { root, models, limitBytes, floodSeconds });
        tell(`  ${counts(found.outcome.statuses)}; ${found.after}`);
        all.push(found);
      }
    }
  }
  return { data: all, tables: limits.flatMap((limit) => tablesOf(all, limit)) };
}

interface CaseSetting {
  readonly root: string;
  readonly models: DemoModels;
  readonly limitBytes: number;
  readonly floodSeconds: number;
}

async function runCase(
  { name, kind, withVideos, stretch = 1 }: HostileCase,
  run: Awaited<ReturnType<HostileCase['prepare']>>,
  { root, models, limitBytes, floodSeconds }: CaseSetting,
): Promise<CaseFindings> {
  await using cleanup = new AsyncDisposableStack();
  const temporary = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  cleanup.defer(() => rm(temporary, { recursive: true, force: true }));
  const cgroup = cleanup.use(createMemoryCgroup(limitBytes));
  const service = await startWithin(cgroup, root, models.environment(root, temporary));
  cleanup.defer(() => stopAtLast(service));
  await service.ready();
  const asks = await probeAsks(service.url, withVideos === true);

  const probe = cleanup.use(startProbe(asks));
  await probe.answered(1, 10_000);
  const quietFrom = clockMs();
  const usage = cleanup.use(watchUsage(service.pid, temporary));
  await Bun.sleep(QUIET_MS);
  const quietUsage = usage.since();
  const quietUntil = clockMs();

  const usedBytes = cgroup.usedBytes;
  const logBefore = logBytes(service);
  cgroup.forgetPeak();
  usage.begin();
  const from = clockMs();
  const leaving = new AbortController();
  const seconds = floodSeconds * stretch;
  const limitMs = (kind === 'flood' ? seconds : REQUEST_SECONDS) * 1000;
  const timer = setTimeout(() => leaving.abort(), limitMs);
  const outcome = await run({ url: service.url, seconds, leave: leaving.signal });
  clearTimeout(timer);
  const attackedUntil = clockMs();
  leaving.abort();
  const ended = service.exited.then((code) => ({ code, at: clockMs() }));
  const end = await Promise.race([ended, probe.answered(2, SETTLE_MS)]);
  const spent = usage.since();
  const settledAt = end ? end.at : clockMs();
  const until = kind === 'flood' ? Math.min(attackedUntil, settledAt) : settledAt;
  const after = end ? (`ended with ${end.code}` as const) : await askAgain(asks[1] as ProbeAsk);
  const found = await probe.stop();
  const windows = (begin: number, finish: number, gapUntil: number) =>
    Object.fromEntries(
      asks.map(({ name: ask }) => {
        const { longestGapMs } = probeWindow(found, ask, begin, gapUntil);
        return [ask, { ...probeWindow(found, ask, begin, finish), longestGapMs }];
      }),
    );
  // Of what is asked, the last takes nearly all of the time.
  const dearest = asks.at(-1)?.name ?? '';
  const answered = (begin: number, finish: number) => probeWindow(found, dearest, begin, finish).right;
  const shares = answered(from, settledAt) / Math.max(1, answered(quietFrom, quietUntil));
  return {
    name,
    kind,
    root,
    limitBytes,
    outcome,
    seconds: (until - from) / 1000,
    probed: windows(from, until, settledAt),
    quiet: windows(quietFrom, quietUntil, quietUntil),
    probeLatenessMs: found.ownLatenessMs,
    cpuSeconds: Math.max(0, spent.cpuSeconds - shares * quietUsage.cpuSeconds),
    mainThreadSeconds: Math.max(0, spent.mainThreadSeconds - shares * quietUsage.mainThreadSeconds),
    cgroupGrowthBytes: cgroup.peakBytes - usedBytes,
    cgroupPeakBytes: cgroup.peakBytes,
    peakBytes: spent.peakBytes,
    childPeakBytes: spent.childPeakBytes,
    temporaryBytes: spent.temporaryBytes,
    logBytes: logBytes(service) - logBefore,
    kills: cgroup.kills,
    after,
  };
}

/** `/health` more often than the others: the longest time without its answer is then a stall's length, nearly. */
async function probeAsks(url: string, withVideos: boolean): Promise<readonly ProbeAsk[]> {
  const health = new URL('/health', url);
  const picture = await colourPicture([205, 25, 35]);
  const categories: FormPart = { disposition: 'name="categories"', content: 'red,green,blue' };
  const form = (path: string, field: string, name: string, content: Uint8Array) =>
    formRequest(new URL(path, url), [
      categories,
      { disposition: `name="${field}"; filename="${name}"`, content },
    ]);
  const asks: ProbeAsk[] = [
    { name: 'health', request: { url: health, pieces: [requestHead(health, 'GET')] }, everyMs: 25 },
    { name: 'photo', request: form('/categorize', 'files', 'a.jpg', picture), everyMs: 100 },
  ];
  if (withVideos) {
    const clip = readFileSync(
      makeVideo({ scenes: manyScenes(2, 1), width: 160, height: 90, frameRate: 10 }).path,
    );
    asks.push({ name: 'clip', request: form('/video', 'video', 'clip.mp4', clip), everyMs: 500 });
  }
  return await Promise.all(
    asks.map(async (ask) => {
      const { status, body } = await sendRaw(ask.request);
      if (status !== 200) throw new Error(`The probe’s ${ask.name} was answered with ${status}: ${body}`);
      return ask.name === 'photo' ? { ...ask, expected: body } : ask;
    }),
  );
}

async function askAgain({ request, expected }: ProbeAsk): Promise<CaseFindings['after']> {
  const { status, body } = await sendRaw(request, AbortSignal.timeout(10_000));
  if (status !== 200) return 'no answer';
  return body === expected ? 'right' : 'wrong';
}

/** Some cases keep it at work for hours: it is asked first, and made to. */
async function stopAtLast(service: Service): Promise<void> {
  const timer = setTimeout(() => process.kill(service.pid, 'SIGKILL'), STOP_MS);
  await service.stop();
  clearTimeout(timer);
}

function logBytes({ log }: Service): number {
  return log.reduce((sum, line) => sum + JSON.stringify(line).length + 1, 0);
}

function gibibytes(bytes: number): string {
  return `${number(bytes / 1024 ** 3)} GiB`;
}

const milliseconds = (value: number) => (Number.isFinite(value) ? `${value.toFixed(0)} ms` : '–');

function tablesOf(all: readonly CaseFindings[], limitBytes: number): Table[] {
  const own = all.filter((found) => found.limitBytes === limitBytes);
  const quiet = (ask: string) =>
    milliseconds(Math.max(...own.map((found) => found.quiet[ask]?.longestGapMs ?? Number.NaN)));
  const late = milliseconds(Math.max(...own.map(({ probeLatenessMs }) => probeLatenessMs)));
  const note = [
    `With nothing beside it, the probe’s longest gap was ${quiet('health')} for /health (asked every 25 ms) and ${quiet('photo')} for a photo (every 100 ms); the probe itself was ${late} late at the most.`,
    'Processor seconds: of the service and its children, without the probe’s requests; in brackets the main thread’s.',
    'Memory: the control group’s peak above what it had before, page cache included; the service’s resident peak, and its largest child’s.',
  ].join(' ');
  const tables = [requestTable(own, limitBytes, note), floodTable(own, limitBytes, note)];
  return tables.filter(({ rows }) => rows.length > 0);
}

/** What both tables say of the service. */
const serviceColumns = ['CPU s (main)', 'cgroup +', 'resident, child', 'afterwards'] as const;

function serviceCells(found: CaseFindings): string[] {
  const child = found.childPeakBytes > 0 ? `, ${megabytes(found.childPeakBytes)}` : '';
  return [
    `${number(found.cpuSeconds)} (${number(found.mainThreadSeconds)})`,
    megabytes(found.cgroupGrowthBytes),
    `${megabytes(found.peakBytes)}${child}`,
    found.kills > 0 ? `${found.after}, ${found.kills} killed for memory` : found.after,
  ];
}

function requestTable(all: readonly CaseFindings[], limitBytes: number, note: string): Table {
  return {
    title: `One hostile request, ${gibibytes(limitBytes)}`,
    columns: ['input', 'checkout', 'bytes', 'answer', 'gap /health', 'gap photo', ...serviceColumns],
    rows: all
      .filter(({ kind }) => kind === 'request')
      .map((found) => [
        found.name,
        basename(found.root),
        found.outcome.sentBytes.toLocaleString('en'),
        `${Object.keys(found.outcome.statuses).join(' ')} ${sentence(found.outcome.sentence)}`.trim(),
        milliseconds(found.probed.health?.longestGapMs ?? Number.NaN),
        milliseconds(found.probed.photo?.longestGapMs ?? Number.NaN),
        ...serviceCells(found),
      ]),
    note,
  };
}

function floodTable(all: readonly CaseFindings[], limitBytes: number, note: string): Table {
  return {
    title: `Floods, ${gibibytes(limitBytes)}`,
    columns: [
      'input',
      'checkout',
      's',
      'sent',
      'what came of it',
      'gap /health',
      'photo beside it',
      'clip beside it',
      'temporary',
      'log',
      ...serviceColumns,
    ],
    rows: all
      .filter(({ kind }) => kind === 'flood')
      .map((found) => [
        found.name,
        basename(found.root),
        number(found.seconds),
        megabytes(found.outcome.sentBytes),
        `${counts(found.outcome.statuses)} ${sentence(found.outcome.sentence)}`.trim(),
        milliseconds(found.probed.health?.longestGapMs ?? Number.NaN),
        beside(found, 'photo'),
        beside(found, 'clip'),
        megabytes(found.temporaryBytes),
        megabytes(found.logBytes),
        ...serviceCells(found),
      ]),
    note: `${note} Beside it: right answers, their median and longest wait (with those still waited for), and refusals.`,
  };
}

function beside({ probed }: CaseFindings, ask: string): string {
  const window = probed[ask];
  if (!window) return '–';
  const waits = `${window.right} right, ${milliseconds(window.medianMs)} / ${milliseconds(window.longestMs)}`;
  return Object.keys(window.refused).length > 0 ? `${waits}, ${counts(window.refused)}` : waits;
}

function counts(by: Readonly<Record<string, number>>): string {
  return Object.entries(by)
    .map(([name, count]) => `${name} ×${count}`)
    .join(', ');
}

/** The beginning, fit for a table. */
function sentence(text: string): string {
  const short = [...text].slice(0, 100).join('');
  return short.replaceAll('|', '\\|').replaceAll(/\p{C}/gu, '·');
}
