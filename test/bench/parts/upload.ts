import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Findings, Sitting } from '../bench.ts';
import { ownRoot } from '../cache-folder.ts';
import { formRequest, sendRaw } from '../load/raw-request.ts';
import type { UploadInput } from '../measure/upload-program.ts';
import { demoModels } from '../model/compiled.ts';
import type { BenchOptions } from '../options.ts';
import { madePhotos, type PhotoSet } from '../photos/photo-set.ts';
import { processUsage } from '../process/process-usage.ts';
import { number, type Table } from '../report/table.ts';
import { startFrom } from '../service/start.ts';

const stages: Readonly<Record<UploadInput['stage'], string>> = {
  dropped: 'Bun reads the request and drops it',
  split: '… and the form is split',
  joined: '… and the photo is joined in one piece',
  checked: '… and its markers are checked',
  decoded: '… and it is decoded, by other threads',
};

/** How a client writes: as curl does, or all at once. */
const pieceSizes = { 'pieces of 64 KiB': 64 * 1024, 'one piece': Number.MAX_SAFE_INTEGER } as const;

interface UploadResult {
  readonly name: string;
  /** Of the main thread for one photo, by how the client writes. */
  readonly mainThreadMs: readonly number[];
}

/** Something that is sent photos. */
interface Target extends AsyncDisposable {
  readonly url: URL;
  readonly pid: number;
}

/** What one photo costs the main thread, step by step. */
export async function uploadPart({ options, tell }: Sitting): Promise<Findings> {
  const photos = await madePhotos('phone');
  await using models = await demoModels([ownRoot]);
  const temporary = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  try {
    const results: UploadResult[] = [];
    const measure = async (name: string, start: () => Promise<Target>) => {
      tell(name);
      await using target = await start();
      results.push({ name, mainThreadMs: await measureTarget(target, photos, options) });
    };
    for (const [stage, name] of Object.entries(stages)) {
      await measure(name, () => startStage(stage as UploadInput['stage']));
    }
    await measure('the whole service, with the demo model', async () => {
      const service = await startFrom(ownRoot, models.environment(ownRoot, temporary));
      await service.ready();
      return {
        url: new URL('/categorize', service.url),
        pid: service.pid,
        [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
      };
    });
    return { data: results, tables: [uploadTable(results, photos)] };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function startStage(stage: UploadInput['stage']): Promise<Target> {
  const program = join(ownRoot, 'test/bench/measure/upload-program.ts');
  const input: UploadInput = { stage };
  const child = Bun.spawn([process.execPath, program, JSON.stringify(input)], {
    cwd: ownRoot,
    // As the service's.
    env: { ...process.env, MIMALLOC_PURGE_DELAY: '1000' },
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const { value: printed } = await child.stdout.getReader().read();
  const port = Number(new TextDecoder().decode(printed));
  return {
    url: new URL(`http://127.0.0.1:${port}/`),
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

/** One photo after another. @returns processor time of the main thread for one, by how the client writes */
async function measureTarget(
  { url, pid }: Target,
  { photos }: PhotoSet,
  { rounds, seconds, warmUpSeconds }: BenchOptions,
): Promise<readonly number[]> {
  const send = async (index: number, pieceBytes: number) => {
    const photo = photos[index % photos.length];
    if (!photo) throw new Error('There are no photos.');
    const { pieces } = formRequest(url, [
      { disposition: 'name="categories"', content: 'red,green,blue' },
      { disposition: `name="files"; filename="${photo.name}"`, content: photo.bytes },
    ]);
    const { status } = await sendRaw({ url, pieces: pieces.flatMap((piece) => cut(piece, pieceBytes)) });
    if (status !== 200) throw new Error(`A photo was answered with ${status}.`);
  };
  const sendFor = async (ms: number, pieceBytes: number) => {
    const startedAt = performance.now();
    let sent = 0;
    for (; performance.now() - startedAt < ms; sent++) await send(sent, pieceBytes);
    return sent;
  };
  const sizes = Object.values(pieceSizes);
  const best = sizes.map(() => Number.POSITIVE_INFINITY);
  await sendFor(warmUpSeconds * 1000, Number.MAX_SAFE_INTEGER);
  for (let round = 1; round <= rounds; round++) {
    for (const [at, pieceBytes] of sizes.entries()) {
      const before = processUsage(pid).mainThreadSeconds;
      const sent = await sendFor((seconds / sizes.length) * 1000, pieceBytes);
      const ms = ((processUsage(pid).mainThreadSeconds - before) * 1000) / sent;
      best[at] = Math.min(best[at] ?? ms, ms);
    }
  }
  return best;
}

function cut(bytes: Uint8Array, pieceBytes: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.subarray(at, at + pieceBytes));
  return pieces;
}

function uploadTable(results: readonly UploadResult[], { meanBytes }: PhotoSet): Table {
  return {
    title: `What a photo of ${number(meanBytes / 1e6)} MB costs the main thread, in ms of processor time`,
    columns: ['', ...Object.keys(pieceSizes)],
    rows: results.map(({ name, mainThreadMs }) => [name, ...mainThreadMs.map(number)]),
    note: 'One photo at a time, the best of the rounds. The client writes a photo in pieces of that size; how many pieces the service reads depends on the system, too.',
  };
}
