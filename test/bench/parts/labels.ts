import type { Bench, Findings } from '../bench.ts';
import { thousandLabels } from '../labels.ts';
import { postForm } from '../load/form-request.ts';
import type { Photo } from '../photos/photo-set.ts';
import { residentMemory } from '../process/process-usage.ts';
import { memoryNote } from '../report/memory-note.ts';
import { number } from '../report/table.ts';
import { type CgroupFindings, withService } from '../service/running-service.ts';

/** Milliseconds of a request with one photo of 500 pixels. */
interface LabelTimes {
  /** With 1,000 labels that the service has never seen. */
  readonly cold: number;
  /** With the same ones again; the best of some. */
  readonly warm: number;
  /** With one known label; the best of some. */
  readonly one: number;
  /** Resident memory of the service in the end, since its start. */
  readonly peakBytes: number;
}

const REPETITIONS = 20;

/** A thousand labels, unknown and known, in one request. */
export async function labelsPart(bench: Bench): Promise<Findings> {
  const { photos } = await bench.photos('500px');
  const rounds: (LabelTimes & CgroupFindings)[] = [];
  for (let round = 0; round < bench.options.rounds; round++) {
    bench.tell(`round ${round + 1}: 1,000 labels`);
    rounds.push(
      await withService(bench, async ({ url, pid }) => ({
        ...(await timeLabels(url, photos[0] as Photo)),
        peakBytes: residentMemory(pid).peakBytes,
      })),
    );
  }
  const best = (time: (times: LabelTimes) => number) => Math.min(...rounds.map(time));
  const times = {
    cold: best(({ cold }) => cold),
    warm: best(({ warm }) => warm),
    one: best(({ one }) => one),
  };
  return {
    data: { precision: bench.precision, rounds },
    tables: [
      {
        title: `One photo and its labels, ${bench.precision}`,
        columns: ['labels', 'ms', 'of it for the labels'],
        rows: [
          ['1 label, known', number(times.one), '–'],
          ['1,000 labels, cold', number(times.cold), number(times.cold - times.one)],
          ['1,000 labels, warm', number(times.warm), number(times.warm - times.one)],
        ],
        note: `A photo of 500 pixels, labels such as “a striped bicycle”; from the first byte sent to the last received. ${memoryNote(rounds)}`,
      },
    ],
  };
}

async function timeLabels(url: string, photo: Photo): Promise<Omit<LabelTimes, 'peakBytes'>> {
  const time = async (labels: readonly string[]) => {
    const target = new URL('/categorize', url);
    const { status, body, milliseconds } = await postForm(target, [photo], JSON.stringify(labels));
    if (status !== 200) throw new Error(`The labels were answered with ${status}: ${body.slice(0, 500)}`);
    return milliseconds;
  };
  const bestOf = async (labels: readonly string[]) => {
    const times: number[] = [];
    for (let repetition = 0; repetition < REPETITIONS; repetition++) times.push(await time(labels));
    return Math.min(...times);
  };
  const one = await bestOf(['something else']);
  const cold = await time(thousandLabels);
  return { cold, warm: await bestOf(thousandLabels), one };
}
