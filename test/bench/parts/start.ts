import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceEnvironment, startService } from '../../service/service.ts';
import type { Bench, Findings } from '../bench.ts';
import { postForm } from '../load/form-request.ts';
import { modelEnvironment } from '../model/compiled.ts';
import type { Photo } from '../photos/photo-set.ts';
import { watchChildren } from '../process/child-processes.ts';
import { residentMemory } from '../process/process-usage.ts';
import { megabytes, number } from '../report/table.ts';

interface Start {
  /** From starting the process to the answer to the first photo. */
  readonly seconds: number;
  /** Resident memory of the service after it. */
  readonly residentBytes: number;
  readonly peakBytes: number;
  /** Of the process that compiles; 0 where none was seen. */
  readonly compilePeakBytes: number;
}

/** How long it takes until the service answers, with and without a compiled model. */
export async function startPart(bench: Bench): Promise<Findings> {
  const { photos } = await bench.photos('500px');
  const photo = photos[0] as Photo;
  const environment = modelEnvironment(bench.precision, bench.model);

  bench.tell('the first start, which compiles');
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-bench-'));
  let first: Start;
  try {
    first = await timeStart({ ...environment, CLIP_CACHE: folder }, photo);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const later: Start[] = [];
  for (let round = 0; round < Math.max(3, bench.options.rounds); round++) {
    bench.tell(`start ${round + 1} from a compiled model`);
    later.push(await timeStart(environment, photo));
  }
  const best = later.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const row = (name: string, { seconds, residentBytes, peakBytes, compilePeakBytes }: Start) => [
    name,
    number(seconds),
    megabytes(residentBytes),
    megabytes(peakBytes),
    compilePeakBytes > 0 ? megabytes(compilePeakBytes) : '–',
  ];
  return {
    data: { precision: bench.precision, first, later },
    tables: [
      {
        title: `From start to the first answer, ${bench.precision}`,
        columns: ['start', 'seconds', 'memory after it', 'peak', 'peak of compiling'],
        rows: [row('first, checkpoint there', first), row('compiled', best)],
        note: `Compiled: the best of ${later.length}. Compiling happens in a process of its own.`,
      },
    ],
  };
}

async function timeStart(environment: ServiceEnvironment, photo: Photo): Promise<Start> {
  const startedAt = performance.now();
  await using service = await startService(environment);
  using children = watchChildren(service.pid);
  await service.ready();
  const answer = await postForm(new URL('/categorize', service.url), [photo], '["a cat","a dog"]');
  if (answer.status !== 200) throw new Error(`The first request was answered with ${answer.status}.`);
  const seconds = (performance.now() - startedAt) / 1000;
  const { nowBytes, peakBytes } = residentMemory(service.pid);
  return { seconds, residentBytes: nowBytes, peakBytes, compilePeakBytes: children.peakBytes };
}
