import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packTar } from 'modern-tar';
import { partName } from '../../../src/cli/shards/shard.ts';
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
}

const full: Scale = { archives: 100, photosEach: 1000, kills: 200 };
const quick: Scale = { archives: 20, photosEach: 100, kills: 20 };

const WORKERS = 4;
const PICTURES = 240;
const STARTS = 5;
const SEED = 7;
const POLL_MS = 10;
const question = ['red', 'green', 'blue', 'grey'].flatMap((colour) => ['--category', `something ${colour}`]);

/** A process of a worker that has ended. */
interface EndedProcess {
  readonly cpuSeconds: number;
  readonly code: number;
}

interface Run {
  readonly seconds: number;
  /** Of the largest process of a worker. */
  readonly peakBytes: number;
  readonly processes: readonly EndedProcess[];
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
    await timeStart(at);
    const starts: number[] = [];
    for (let start = 0; start < STARTS; start++) starts.push(await timeStart(at));
    const startSeconds = starts.toSorted((a, b) => a - b)[Math.floor(STARTS / 2)] ?? 0;
    const calm = await answer('calm', 0, at);
    const killed = await answer('killed', scale.kills, at);
    return {
      tables: [report({ calm, killed, startSeconds, photos })],
      data: { scale, startSeconds, calm: numbersOf(calm), killed: numbersOf(killed) },
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

async function fill(server: StorageServer, { archives, photosEach }: Scale): Promise<void> {
  const random = randomNumbers(SEED);
  const shade = () => Math.round(127.5 * (1 + random()));
  const pictures = await Promise.all(
    Array.from({ length: PICTURES }, () => {
      const [red, green, blue] = [shade(), shade(), shade()];
      const picture = bitmap(160, 120, (x, y) => [red, (green + x) % 256, (blue + y) % 256]);
      return encodePicture(picture, 'jpeg');
    }),
  );
  for (let archive = 0; archive < archives; archive++) {
    const members = Array.from({ length: photosEach }, (_, place) => {
      const body = Uint8Array.from(pictures[(archive * photosEach + place) % PICTURES] ?? []);
      const header = {
        name: `${String(place).padStart(6, '0')}.jpg`,
        size: body.length,
        type: 'file' as const,
      };
      return { header, body };
    });
    server.objects.set(`photos/${String(archive).padStart(6, '0')}.tar`, await packTar(members));
  }
  const [body = new Uint8Array()] = pictures;
  const header = { name: '1.jpg', size: body.length, type: 'file' as const };
  server.objects.set('one/1.tar', await packTar([{ header, body: Uint8Array.from(body) }]));
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

/** @returns the processor time of a worker with one photo: what each start costs, whatever follows */
async function timeStart({ environment, folder }: Setting): Promise<number> {
  const output = join(folder, `start-${crypto.randomUUID()}.jsonl`);
  return (await ended(spawn({ environment }, ['s3://one/', ...question, '--output', output]))).cpuSeconds;
}

/** Runs all shards to their end, and kills a random worker each time that a random number of bytes is recorded. */
async function answer(name: string, kills: number, setting: Setting): Promise<Run> {
  const { environment, folder, tell } = setting;
  const output = join(folder, name);
  const startedAt = performance.now();
  // What the system tells of an ended process includes the memory of this program, which started it.
  using children = watchChildren(process.pid);
  const random = randomNumbers(SEED);
  const processes: EndedProcess[] = [];
  const running = new Map<number, Child>();
  let done = 0;
  let killed = 0;
  const work = async (index: number) => {
    for (;;) {
      const argv = ['s3://photos/', ...question, '--shard', `${index}/${WORKERS}`, '--output', output];
      const child = spawn(setting, argv);
      running.set(index, child);
      const process = await ended(child);
      processes.push(process);
      running.delete(index);
      if (process.code === 0) break;
    }
    done += 1;
  };
  const recordedBytes = async () => {
    let bytes = 0;
    for (let index = 0; index < WORKERS; index++) {
      const part = partName({ index, count: WORKERS }, 'jsonl');
      const log = await stat(join(output, `_${part}.progress`)).catch(() => undefined);
      const whole = log ?? (await stat(join(output, part)).catch(() => undefined));
      bytes += whole?.size ?? 0;
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
      while (done < WORKERS && (await recordedBytes()) < moment) await Bun.sleep(POLL_MS);
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

const cpuSecondsOf = ({ processes }: Run) => processes.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);

function numbersOf(run: Run) {
  return { ...run, lines: run.lines.length, cpuSeconds: cpuSecondsOf(run) };
}

function report({
  calm,
  killed,
  startSeconds,
  photos,
}: {
  readonly calm: Run;
  readonly killed: Run;
  readonly startSeconds: number;
  readonly photos: number;
}) {
  // A process that was killed while it started has not used a whole start.
  const withoutStarts = ({ processes }: Run) =>
    processes.reduce((sum, { cpuSeconds }) => sum + Math.max(0, cpuSeconds - startSeconds), 0);
  const row = (name: string, run: Run) => [
    name,
    String(run.processes.length),
    String(run.kills),
    number(cpuSecondsOf(run)),
    number(withoutStarts(run)),
    number(run.seconds),
    megabytes(run.peakBytes),
    String(run.lines.length),
    String(new Set(run.lines.map((line) => JSON.parse(line).file)).size),
  ];
  const isSame =
    calm.lines.length === killed.lines.length && calm.lines.every((line, at) => line === killed.lines[at]);
  const slower = withoutStarts(killed) / withoutStarts(calm) - 1;
  return {
    title: `${photos.toLocaleString('en-GB')} photos in tar files in object storage, ${WORKERS} workers, the demo model`,
    columns: [
      'workers',
      'processes',
      'kills',
      'CPU s',
      'without starts',
      'seconds',
      'peak of one',
      'answers',
      'photos',
    ],
    rows: [row('undisturbed', calm), row('killed', killed)],
    note: `A start takes ${number(startSeconds)} s of processor time (median of ${STARTS} workers with one photo). Without starts, the killed workers used ${percent(slower)} more. The merged answers are ${isSame ? 'the same to the last byte' : 'DIFFERENT'}.`,
  };
}
