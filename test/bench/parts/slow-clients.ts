import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Findings, Sitting } from '../bench.ts';
import { clockMs, type ProbeAsk, type ProbeWindow, probeWindow, startProbe } from '../load/probe.ts';
import { type FormPart, formRequest, sendRaw } from '../load/raw-request.ts';
import { type SlowAnswer, slowProcess } from '../load/slow-senders.ts';
import { type DemoModels, demoModels } from '../model/compiled.ts';
import type { BenchOptions } from '../options.ts';
import { madePhotos, photoOfBytes } from '../photos/photo-set.ts';
import { createMemoryCgroup } from '../process/memory-cgroup.ts';
import { type Usage, watchUsage } from '../process/usage-watch.ts';
import { megabytes, number, percent, type Table } from '../report/table.ts';
import { startWithin } from '../service/start.ts';

interface SlowRun {
  readonly root: string;
  readonly limitBytes: number;
  readonly photoBytes: number;
  /** Slow clients with the right answer, at last. */
  readonly right: number;
  /** Of them those whose first request was answered. */
  readonly rightAtOnce: number;
  /** 200 with another answer than the photo gets alone. */
  readonly wrong: number;
  /** Refusals and broken connections, by status; a client that was refused begins again. */
  readonly refused: Readonly<Record<string, number>>;
  readonly alone: ProbeWindow;
  /** While all slow clients send. */
  readonly beside: ProbeWindow;
  /** From when the first of them have sent all until the last is answered. */
  readonly finishing: ProbeWindow;
  /** From the first byte of a request that was answered to the answer, in seconds. */
  readonly longestSeconds: number;
  readonly seconds: number;
  readonly usage: Usage;
  readonly senderCpuSeconds: number;
  readonly fastCpuSeconds: number;
  readonly cgroupGrowthBytes: number;
  readonly kills: number;
}

const LIMIT = 2 * 1024 ** 3;
const FAST_CLIENTS = 4;
const PHOTO_BYTES = 3_000_000;
const BYTES_PER_SECOND = 20_000;
/** Different photos, so that one client's answer cannot pass for another's. */
const PHOTOS = 4;
const ALONE_MS = 15_000;
/** Until all slow clients are at work. */
const START_MS = 3000;
/** Of the time that sending takes: as long again the last one may be waited for. */
const PATIENCE = 1;
const categories: FormPart = {
  disposition: 'name="categories"',
  content: 'red,green,blue,yellow,brown,grey',
};

/** Hundreds of clients with a slow line beside some with a fast one. */
export async function slowPart({ options, tell }: Sitting): Promise<Findings> {
  const bytes = Math.min(PHOTO_BYTES, Math.round(options.slowSeconds * BYTES_PER_SECOND));
  const photos: Uint8Array[] = [];
  for (let seed = 1; seed <= PHOTOS; seed++) photos.push(await photoOfBytes(bytes, seed));
  await using models = await demoModels(options.roots);
  const runs: SlowRun[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const root of options.roots) {
      tell(`round ${round}: ${options.clients} slow clients, ${root}`);
      runs.push(await runSlow(root, models, photos, options));
    }
  }
  return { data: runs, tables: [slowTable(runs, options.clients)] };
}

async function runSlow(
  root: string,
  models: DemoModels,
  photos: readonly Uint8Array[],
  { clients, memoryLimit: limitBytes = LIMIT }: BenchOptions,
): Promise<SlowRun> {
  await using cleanup = new AsyncDisposableStack();
  const temporary = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  cleanup.defer(() => rm(temporary, { recursive: true, force: true }));
  const cgroup = cleanup.use(createMemoryCgroup(limitBytes));
  const service = cleanup.use(await startWithin(cgroup, root, models.environment(root, temporary)));
  await service.ready();

  const url = new URL('/categorize?details=true', service.url);
  const slowRequests = photos.map((photo, index) => photoRequest(url, `slow-${index}.jpg`, photo));
  const expected: string[] = [];
  for (const pieces of slowRequests) expected.push(await soundAnswer(url, pieces));

  const asks = await fastAsks(url);
  const fast = cleanup.use(startProbe(asks));
  await fast.answered(5, 30_000);
  const aloneFrom = clockMs();
  await Bun.sleep(ALONE_MS);
  const aloneUntil = clockMs();

  const usage = cleanup.use(watchUsage(service.pid, temporary));
  const usedBytes = cgroup.usedBytes;
  cgroup.forgetPeak();
  const from = clockMs();
  const requests = slowRequests.map((pieces) => Buffer.concat(pieces));
  const sendingMs = (Math.min(...requests.map(({ length }) => length)) / BYTES_PER_SECOND) * 1000;
  const slow = cleanup.use(
    slowProcess({
      url: service.url,
      requests,
      clients,
      bytesPerSecond: BYTES_PER_SECOND,
      isEndless: false,
    }),
  );
  await slow.done(sendingMs * (1 + PATIENCE) + 30_000);
  const until = clockMs();
  const spent = usage.since();
  const found = await slow.stop();
  const asked = await fast.stop();

  const isRight = ({ client, status, body }: SlowAnswer) =>
    status === 200 && body === expected[client % expected.length];
  const right = found.answers.filter(isRight);
  const refused: Record<string, number> = {};
  for (const { status } of found.answers) {
    if (status !== 200) refused[status] = (refused[status] ?? 0) + 1;
  }
  const firstOf = new Set<number>();
  let rightAtOnce = 0;
  for (const answer of found.answers) {
    if (!firstOf.has(answer.client) && isRight(answer)) rightAtOnce += 1;
    firstOf.add(answer.client);
  }
  // A little early: none of the slow clients is done by then.
  const sent = Math.min(until, from + 0.95 * sendingMs);
  return {
    root,
    limitBytes,
    photoBytes: Math.min(...photos.map(({ length }) => length)),
    right: right.length,
    rightAtOnce,
    wrong: found.answers.filter((answer) => answer.status === 200 && !isRight(answer)).length,
    refused,
    alone: windowOf(asked, aloneFrom, aloneUntil),
    beside: windowOf(asked, from + Math.min(START_MS, sendingMs / 4), sent),
    finishing: windowOf(asked, sent, until),
    longestSeconds: Math.max(...right.map(({ startedAt, endedAt }) => endedAt - startedAt)) / 1000,
    seconds: (until - from) / 1000,
    usage: spent,
    senderCpuSeconds: found.cpuSeconds,
    fastCpuSeconds: asked.cpuSeconds,
    cgroupGrowthBytes: cgroup.peakBytes - usedBytes,
    kills: cgroup.kills,
  };
}

const FAST = 'fast';

function windowOf(found: Parameters<typeof probeWindow>[0], from: number, until: number): ProbeWindow {
  return probeWindow(found, FAST, from, until);
}

function photoRequest(url: URL, name: string, photo: Uint8Array): readonly Uint8Array[] {
  const file = { disposition: `name="files"; filename="${name}"`, content: photo };
  return formRequest(url, [categories, file]).pieces;
}

/** What a request is answered with when it comes alone. */
async function soundAnswer(url: URL, pieces: readonly Uint8Array[]): Promise<string> {
  const { status, body } = await sendRaw({ url, pieces });
  if (status !== 200) throw new Error(`A sound photo was answered with ${status}: ${body}`);
  return body;
}

/** One photo of 500 pixels after another, by each client. */
async function fastAsks(url: URL): Promise<ProbeAsk[]> {
  const { photos } = await madePhotos('500px');
  const asks: ProbeAsk[] = [];
  for (const { name, bytes } of photos.slice(0, FAST_CLIENTS)) {
    const pieces = photoRequest(url, name, bytes);
    const expected = await soundAnswer(url, pieces);
    asks.push({ name: FAST, request: { url, pieces }, everyMs: 0, expected });
  }
  return asks;
}

function slowTable(runs: readonly SlowRun[], clients: number): Table {
  const [first] = runs;
  const seconds = (first?.photoBytes ?? Number.NaN) / BYTES_PER_SECOND;
  return {
    title: `${clients} clients that send a photo of ${number((first?.photoBytes ?? 0) / 1e6)} MB at ${BYTES_PER_SECOND / 1000} KB/s for ${number(seconds)} s, beside ${FAST_CLIENTS} fast ones`,
    columns: [
      'checkout',
      'slow ones right',
      'at once',
      'wrong',
      'refused and begun again',
      'longest s',
      'fast alone, median / 99 % ms',
      'beside them',
      'ratio of medians',
      'as they finish',
      'fast ones refused',
      'longest gap ms',
      'cgroup +',
      'resident',
      'temporary',
      'killed',
      'service CPU s',
      'of it main',
      'senders CPU',
      'fast CPU',
    ],
    rows: runs.map((run) => [
      basename(run.root),
      `${run.right} of ${clients}`,
      String(run.rightAtOnce),
      String(run.wrong),
      counts(run.refused),
      number(run.longestSeconds),
      waits(run.alone),
      waits(run.beside),
      number(run.beside.medianMs / run.alone.medianMs),
      waits(run.finishing),
      counts(run.beside.refused),
      number(run.beside.longestGapMs),
      megabytes(run.cgroupGrowthBytes),
      megabytes(run.usage.peakBytes),
      megabytes(run.usage.temporaryBytes),
      String(run.kills),
      number(run.usage.cpuSeconds),
      number(run.usage.mainThreadSeconds),
      share(run.senderCpuSeconds, run.seconds),
      share(run.fastCpuSeconds, run.seconds),
    ]),
    note: [
      'Right: the answer that the photo gets when it comes alone, to the last digit. A client that is refused begins again after a second.',
      'The fast ones send photos of 500 pixels, one after another. Beside them: while all of the slow ones send.',
      'Memory: the control group’s peak above what it had before, page cache and so the temporary folder included.',
      'CPU of senders and of the fast ones: their share of all cores, which the service did not have.',
    ].join(' '),
  };
}

function waits({ medianMs, p99Ms }: ProbeWindow): string {
  return `${number(medianMs)} / ${number(p99Ms)}`;
}

function counts(by: Readonly<Record<string, number>>): string {
  const all = Object.entries(by).map(([name, count]) => `${name} ×${count}`);
  return all.join(', ') || '–';
}

function share(cpuSeconds: number, seconds: number): string {
  return percent(cpuSeconds / seconds / availableParallelism());
}
