import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { ServiceEnvironment } from '../../service/service.ts';
import type { Bench, Findings } from '../bench.ts';
import { postForm } from '../load/form-request.ts';
import { modelEnvironment } from '../model/compiled.ts';
import type { Photo } from '../photos/photo-set.ts';
import { residentMemory, residentTreeBytes, watchChildren } from '../process/process-usage.ts';
import { megabytes, number } from '../report/table.ts';
import { startFrom } from '../service/start.ts';

interface Start {
  /** From starting the process to the answer to the first photo. */
  readonly seconds: number;
  /** Resident memory of the service after it. */
  readonly residentBytes: number;
  /** As `residentBytes`, with its children. */
  readonly treeBytes: number;
  readonly peakBytes: number;
  /** Of the process that compiles; 0 where none was seen. */
  readonly compilePeakBytes: number;
}

interface Starts {
  readonly root: string;
  readonly first: Start;
  readonly later: Start[];
}

/** How long it takes until the service answers, with and without a compiled model. */
export async function startPart(bench: Bench): Promise<Findings> {
  const { photos } = await bench.photos('500px');
  const photo = photos[0] as Photo;
  const all: Starts[] = [];
  for (const root of bench.options.roots) {
    const environment = await modelEnvironment(bench.precision, bench.model, root);
    bench.tell(`the first start, which compiles, ${root}`);
    const folder = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
    try {
      all.push({
        root,
        first: await timeStart(root, { ...environment, CLIP_CACHE: folder }, photo),
        later: [],
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    // Whatever of a compiled model is missing is made now.
    await timeStart(root, environment, photo);
  }
  const rounds = Math.max(3, bench.options.rounds);
  for (let round = 1; round <= rounds; round++) {
    for (const { root, later } of all) {
      bench.tell(`start ${round} from a compiled model, ${root}`);
      later.push(await timeStart(root, await modelEnvironment(bench.precision, bench.model, root), photo));
    }
  }
  const row = (name: string, root: string, start: Start) => [
    name,
    basename(root),
    number(start.seconds),
    megabytes(start.residentBytes),
    megabytes(start.treeBytes),
    megabytes(start.peakBytes),
    start.compilePeakBytes > 0 ? megabytes(start.compilePeakBytes) : '–',
  ];
  const best = ({ later }: Starts) => later.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  return {
    data: { precision: bench.precision, starts: all },
    tables: [
      {
        title: `From start to the first answer, ${bench.precision}`,
        columns: [
          'start',
          'checkout',
          'seconds',
          'memory after it',
          'with children',
          'peak',
          'peak of compiling',
        ],
        rows: [
          ...all.map(({ root, first }) => row('first, checkpoint there', root, first)),
          ...all.map((starts) => row('compiled', starts.root, best(starts))),
        ],
        note: [
          `Compiled: the best of ${rounds}. Compiling happens in a process of its own.`,
          ...comparison(all.map(best)),
        ].join(' '),
      },
    ],
  };
}

function comparison(best: readonly Start[]): string[] {
  const [first, last] = [best[0], best.at(-1)];
  if (!first || !last || best.length < 2) return [];
  const ratio = (pick: (start: Start) => number) => (pick(last) / pick(first)).toFixed(3);
  return [
    `The last checkout against the first, compiled: ${ratio(({ seconds }) => seconds)} of the time, ${ratio(({ residentBytes }) => residentBytes)} of the memory, ${ratio(({ treeBytes }) => treeBytes)} with children.`,
  ];
}

async function timeStart(root: string, environment: ServiceEnvironment, photo: Photo): Promise<Start> {
  const startedAt = performance.now();
  await using service = await startFrom(root, environment);
  using children = watchChildren(service.pid);
  await service.ready();
  const answer = await postForm(new URL('/categorize', service.url), [photo], '["a cat","a dog"]');
  if (answer.status !== 200) throw new Error(`The first request was answered with ${answer.status}.`);
  const seconds = (performance.now() - startedAt) / 1000;
  const { nowBytes, peakBytes } = residentMemory(service.pid);
  const treeBytes = residentTreeBytes(service.pid);
  return { seconds, residentBytes: nowBytes, treeBytes, peakBytes, compilePeakBytes: children.peakBytes };
}
