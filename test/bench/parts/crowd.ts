import type { Bench, Findings } from '../bench.ts';
import { type Crowded, crowd } from '../load/flood.ts';
import { residentMemory } from '../process/process-usage.ts';
import { memoryNote } from '../report/memory-note.ts';
import { number } from '../report/table.ts';
import { type CgroupFindings, withService } from '../service/running-service.ts';

interface CrowdRound extends Crowded, CgroupFindings {
  readonly peakBytes: number;
}

const CLIENTS = 500;
const categories = ['a cat', 'a dog', 'a tree'] as const;

/** So many clients at the same moment, with one photo of 12 megapixels each. */
export async function crowdPart(bench: Bench): Promise<Findings> {
  const { photos } = await bench.photos('12mp');
  const rounds: CrowdRound[] = [];
  for (let round = 1; round <= bench.options.rounds; round++) {
    bench.tell(`round ${round}: ${CLIENTS} clients at once`);
    rounds.push(
      await withService(bench, async ({ url, pid }) => {
        const crowded = await crowd(CLIENTS, { url: new URL('/categorize', url), photos, categories });
        return { ...crowded, peakBytes: residentMemory(pid).peakBytes };
      }),
    );
  }
  const rows = rounds.map(({ accepted, refused }, index) => [
    String(index + 1),
    String(accepted.count),
    number(accepted.p99Ms),
    String(refused.count),
    number(refused.medianMs),
    number(refused.p99Ms),
  ]);
  return {
    data: { precision: bench.precision, rounds },
    tables: [
      {
        title: `${CLIENTS} clients at the same moment, one 12-megapixel photo each, ${bench.precision}`,
        columns: ['round', 'accepted', '99 % ms', 'refused', 'median ms', '99 % ms'],
        rows,
        note: memoryNote(rounds),
      },
    ],
  };
}
