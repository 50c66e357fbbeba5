import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packTar } from 'modern-tar';
import { partName } from '../../../src/cli/shards/shard.ts';
import { invariant } from '../../../src/errors.ts';
import { type StorageServer, startStorageServer } from '../../cli/storage/storage-server.ts';
import { bitmap, encodePicture } from '../../fixtures/colour-pictures.ts';
import type { Findings, Sitting } from '../bench.ts';
import { cacheFolder, ownRoot } from '../cache-folder.ts';
import { watchChildren } from '../process/process-usage.ts';
import { randomNumbers } from '../random-numbers.ts';
import { megabytes, number, percent } from '../report/table.ts';

/** How much is answered, and how often a worker is killed. */
interface Scale {
  readonly archives: number;
  readonly photosEach: number;
  readonly kills: number;
  /** How many photos fresh workers answer: one, and more up to where all code that matters is compiled. */
  readonly fresh: readonly [1, ...number[]];
}

const full: Scale = { archives: 100, photosEach: 1000, kills: 200, fresh: [1, 60, 250, 1000] };
const quick: Scale = { archives: 20, photosEach: 100, kills: 20, fresh: [1, 25, 100] };

const WORKERS = 4;
const PICTURES = 240;
const SEED = 7;
const POLL_MS = 10;
const question = ['red', 'green', 'blue', 'grey'].flatMap((colour) => ['--category', `something ${colour}`]);

/** A process of a worker that has ended. */
interface EndedProcess {
  readonly cpuSeconds: number;
  readonly code: number;
}

interface ShardProcess extends EndedProcess {
  /** That it has recorded. */
  readonly photos: number;
}

/** What new workers use, each of which has this number of photos for itself. */
interface FreshRound {
  readonly photos: number;
  readonly cpuSeconds: readonly number[];
}

interface FreshWorkers {
  readonly photos: number;
  /** The median. */
  readonly cpuSeconds: number;
}

interface Run {
  readonly seconds: number;
  /** Of the largest process of a worker. */
  readonly peakBytes: number;
  readonly processes: readonly ShardProcess[];
  readonly kills: number;
  /** The merged answers, in order. */
  readonly lines: readonly string[];
}

/** Many tar files in object storage, four workers, and many kills, against the same without kills. */
export async function shardsPart({ options, tell }: Sitting): Promise<Findings> {
  const scale = options.quick ? quick : full;
  const photos = scale.archives * scale.photosEach;
  await using server = startStorageServer();
  tell(`${photos} photos in ${scale.archives} tar files`);
  await fill(server, scale);
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  try {
    const environment = {
      PATH: process.env.PATH,
      ...server.environment,
      CLIP_MODEL: 'demo',
      CLIP_CACHE: await cacheFolder('shards'),
      THREADS: '1',
    };
    const at: Setting = { environment, folder, tell };
    // The first start compiles the model.
    await answerAlone(1, at);
    // Before, between and after the runs, because a machine is not always equally fast.
    const rounds = [...(await timeFresh(scale.fresh, at))];
    const calm = await answer('calm', 0, at);
    rounds.push(...(await timeFresh(scale.fresh, at)));
    const killed = await answer('killed', scale.kills, at);
    rounds.push(...(await timeFresh(scale.fresh, at)));
    const fresh = scale.fresh.map((count) => medianOf(count, rounds));
    return {
      tables: [report({ calm, killed, fresh, photos })],
      data: { scale, rounds, calm: numbersOf(calm), killed: numbersOf(killed) },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Setting {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly folder: string;
  tell(line: string): void;
}

async function fill(server: StorageServer, { archives, photosEach, fresh }: Scale): Promise<void> {
  const random = randomNumbers(SEED);
  const shade = () => Math.round(127.5 * (1 + random()));
  const pictures = await Promise.all(
    Array.from({ length: PICTURES }, () => {
      const [red, green, blue] = [shade(), shade(), shade()];
      const picture = bitmap(160, 120, (x, y) => [red, (green + x) % 256, (blue + y) % 256]);
      return encodePicture(picture, 'jpeg');
    }),
  );
  const archiveOf = (first: number, count: number) =>
    packTar(
      Array.from({ length: count }, (_, place) => {
        const body = Uint8Array.from(pictures[(first + place) % PICTURES] ?? []);
        const name = `${String(place).padStart(6, '0')}.jpg`;
        return { header: { name, size: body.length, type: 'file' as const }, body };
      }),
    );
  for (let archive = 0; archive < archives; archive++) {
    const name = `photos/${String(archive).padStart(6, '0')}.tar`;
    server.objects.set(name, await archiveOf(archive * photosEach, photosEach));
  }
  for (const count of fresh) server.objects.set(`fresh-${count}/0.tar`, await archiveOf(0, count));
}

function spawn({ environment }: Pick<Setting, 'environment'>, argv: readonly string[]) {
  return Bun.spawn([process.execPath, 'src/cli/main.ts', ...argv, '--quiet'], {
    cwd: ownRoot,
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

type Child = ReturnType<typeof spawn>;

async function ended(child: Child): Promise<EndedProcess> {
  const text = await child.stderr.text();
  await child.exited;
  const code = child.exitCode ?? -1;
  if (code > 0) throw new Error(`A worker ended with ${code}: ${text}`);
  const usage = child.resourceUsage();
  return { cpuSeconds: Number(usage?.cpuTime.total ?? 0) / 1e6, code };
}

/** @returns the processor time of a new worker without its end, because killed workers do not reach their end */
async function answerAlone(photos: number, { environment, folder }: Setting): Promise<number> {
  const name = `fresh-${crypto.randomUUID()}.jsonl`;
  const output = join(folder, name);
  const child = spawn({ environment }, [`s3://fresh-${photos}/`, ...question, '--output', output]);
  const process = ended(child);
  // A part is written when all photos are recorded.
  const isWriting = () => existsSync(join(folder, `_${name}.part`)) || existsSync(output);
  while (child.exitCode === null && !isWriting()) await Bun.sleep(1);
  child.kill('SIGKILL');
  return (await process).cpuSeconds;
}

/** One round, as many at a time as in the runs. @returns for each number of photos the times of the workers */
async function timeFresh(counts: readonly number[], setting: Setting): Promise<readonly FreshRound[]> {
  const rounds: FreshRound[] = [];
  for (const photos of counts) {
    const workers = Array.from({ length: WORKERS }, () => answerAlone(photos, setting));
    rounds.push({ photos, cpuSeconds: await Promise.all(workers) });
  }
  return rounds;
}

function medianOf(photos: number, rounds: readonly FreshRound[]): FreshWorkers {
  const times = rounds.flatMap((round) => (round.photos === photos ? round.cpuSeconds : []));
  const sorted = times.toSorted((a, b) => a - b);
  return { photos, cpuSeconds: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN };
}

/** Runs all shards to their end, and kills a random worker each time that a random number of bytes is recorded. */
async function answer(name: string, kills: number, setting: Setting): Promise<Run> {
  const { environment, folder, tell } = setting;
  const output = join(folder, name);
  const startedAt = performance.now();
  // What the system tells of an ended process includes the memory of this program, which started it.
  using children = watchChildren(process.pid);
  const random = randomNumbers(SEED);
  const processes: ShardProcess[] = [];
  const running = new Map<number, Child>();
  let done = 0;
  let killed = 0;
  const work = async (index: number) => {
    for (let before = 0; ; ) {
      const argv = ['s3://photos/', ...question, '--shard', `${index}/${WORKERS}`, '--output', output];
      const child = spawn(setting, argv);
      running.set(index, child);
      const process = await ended(child);
      running.delete(index);
      const recorded = await recordedPhotos(output, index);
      processes.push({ ...process, photos: recorded - before });
      before = recorded;
      if (process.code === 0) break;
    }
    done += 1;
  };
  const recordedBytes = async () => {
    let bytes = 0;
    for (let index = 0; index < WORKERS; index++) {
      const { log, part } = outputsOf(output, index);
      const found = await stat(log).catch(() => stat(part).catch(() => undefined));
      bytes += found?.size ?? 0;
    }
    return bytes;
  };
  const killing = async () => {
    // Of the whole, so that the last kills come near the end; records are a little longer in the log than in the part.
    const total = kills > 0 ? (await stat(join(folder, 'calm.jsonl'))).size : 0;
    const moments = Array.from({ length: kills }, () => ((1 + random()) / 2) * total).toSorted(
      (a, b) => a - b,
    );
    for (const moment of moments) {
      const isEarly = async () => (await recordedBytes()) < moment || running.size === 0;
      while (done < WORKERS && (await isEarly())) await Bun.sleep(POLL_MS);
      const victims = [...running.values()];
      const victim = victims[Math.floor(((1 + random()) / 2) * victims.length)];
      if (!victim) return;
      victim.kill('SIGKILL');
      killed += 1;
      if (killed % 20 === 0) tell(`${killed} kills`);
      await victim.exited;
    }
  };
  await Promise.all([killing(), ...Array.from({ length: WORKERS }, (_, index) => work(index))]);
  const seconds = (performance.now() - startedAt) / 1000;
  const { peakBytes } = children;
  tell(`${name}: ${processes.length} processes, ${number(seconds)} s; merging`);
  const merged = join(folder, `${name}.jsonl`);
  await ended(spawn({ environment }, ['merge', output, '--output', merged]));
  const lines = (await Bun.file(merged).text()).trim().split('\n').toSorted();
  return { seconds, peakBytes, processes, kills: killed, lines };
}

function outputsOf(output: string, index: number): { readonly log: string; readonly part: string } {
  const name = partName({ index, count: WORKERS }, 'jsonl');
  return { log: join(output, `_${name}.progress`), part: join(output, name) };
}

/** Of a shard without a running worker. */
async function recordedPhotos(output: string, index: number): Promise<number> {
  const { log, part } = outputsOf(output, index);
  const isComplete = await Bun.file(part).exists();
  const path = isComplete ? part : log;
  // A worker that is killed early has no log yet; one that is killed while it writes a line leaves a part of it.
  const text = await Bun.file(path)
    .text()
    .catch(() => '');
  return text.match(isComplete ? /\n/g : /^member\t.*\n/gm)?.length ?? 0;
}

function sum<Item>(items: readonly Item[], numberOf: (item: Item) => number): number {
  return items.reduce((total, item) => total + numberOf(item), 0);
}

const cpuSecondsOf = ({ processes }: Run) => sum(processes, ({ cpuSeconds }) => cpuSeconds);

function numbersOf(run: Run) {
  return { ...run, lines: run.lines.length, cpuSeconds: cpuSecondsOf(run) };
}

interface Measured {
  readonly calm: Run;
  readonly killed: Run;
  readonly fresh: readonly FreshWorkers[];
  readonly photos: number;
}

type Processes = readonly Omit<ShardProcess, 'code'>[];

/**
 * Splits the processor time of workers into what each start costs, whatever follows, and the rest.
 * @param calm workers that are not killed, each with more photos than any fresh one
 * @param fresh by their photos; the first ones have one
 */
export function separateStarts(calm: Processes, fresh: readonly FreshWorkers[]) {
  const [first, last] = [fresh[0], fresh.at(-1)];
  invariant(first && last, 'no fresh workers');
  // The undisturbed workers, from where all their code is compiled.
  const steadySeconds =
    sum(calm, (one) => one.cpuSeconds - last.cpuSeconds) / sum(calm, (one) => one.photos - last.photos);
  const overheads = fresh.map((one) => one.cpuSeconds - one.photos * steadySeconds);
  /** Between the measured numbers of photos it is on a straight line, which is below the curve. */
  const warmStart = (recorded: number): number => {
    const after = fresh.findIndex((one) => recorded <= one.photos);
    const [before, next] = [fresh[after - 1], fresh[after]];
    if (!next) return overheads.at(-1) ?? 0;
    if (!before) return overheads[0] ?? 0;
    const share = (recorded - before.photos) / (next.photos - before.photos);
    return (overheads[after - 1] ?? 0) * (1 - share) + (overheads[after] ?? 0) * share;
  };
  // A process that was killed while it started has not used a whole start.
  const rest = (processes: Processes, startOf: (process: Processes[number]) => number) =>
    sum(processes, (one) => one.cpuSeconds - Math.min(one.cpuSeconds, startOf(one)));
  return {
    startSeconds: first.cpuSeconds,
    steadySeconds,
    withoutStarts: (processes: Processes) => rest(processes, () => first.cpuSeconds),
    withoutWarmStarts: (processes: Processes) => rest(processes, (one) => warmStart(one.photos)),
  };
}

function report({ calm, killed, fresh, photos }: Measured) {
  const split = separateStarts(calm.processes, fresh);
  const { startSeconds, steadySeconds } = split;
  const withoutStarts = ({ processes }: Run) => split.withoutStarts(processes);
  const withoutWarmStarts = ({ processes }: Run) => split.withoutWarmStarts(processes);
  const row = (name: string, run: Run) => [
    name,
    String(run.processes.length),
    String(run.kills),
    number(cpuSecondsOf(run)),
    number(withoutStarts(run)),
    number(withoutWarmStarts(run)),
    number(run.seconds),
    megabytes(run.peakBytes),
    String(run.lines.length),
    String(new Set(run.lines.map((line) => JSON.parse(line).file)).size),
  ];
  const isSame =
    calm.lines.length === killed.lines.length && calm.lines.every((line, at) => line === killed.lines[at]);
  const slower = (rest: (run: Run) => number) => percent(rest(killed) / rest(calm) - 1);
  const lost = (withoutWarmStarts(killed) - withoutWarmStarts(calm)) / killed.kills;
  const warmUp = (withoutStarts(killed) - withoutWarmStarts(killed)) / killed.processes.length;
  return {
    title: `${photos.toLocaleString('en-GB')} photos in tar files in object storage, ${WORKERS} workers, the demo model`,
    columns: [
      'workers',
      'processes',
      'kills',
      'CPU s',
      'without starts',
      'and warm-up',
      'seconds',
      'peak of one',
      'answers',
      'photos',
    ],
    rows: [row('undisturbed', calm), row('killed', killed)],
    note: [
      `A start takes ${number(startSeconds)} s of processor time until the first photo is answered (the median of workers with one photo).`,
      `Then the code is compiled while it runs, which took the killed processes ${number(warmUp)} s more on average: what fresh workers with ${fresh.map((one) => one.photos).join(', ')} photos need beyond ${number(steadySeconds * 1000)} ms a photo, for as many photos as each process has recorded.`,
      `Without starts, the killed workers used ${slower(withoutStarts)} more; without starts and warm-up, ${slower(withoutWarmStarts)}.`,
      `This rest is ${number(lost)} s a kill, as much as ${number(lost / steadySeconds)} photos: photos that are answered again, because at most 16 were begun and not recorded, and reading again what is recorded.`,
      `The merged answers are ${isSame ? 'the same to the last byte' : 'DIFFERENT'}.`,
    ].join(' '),
  };
}
