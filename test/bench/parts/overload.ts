import { defaultTuning } from '../../../src/http/server.ts';
import type { Bench, Findings } from '../bench.ts';
import { type Flooded, flood } from '../load/flood.ts';
import { steadyLoad } from '../load/load.ts';
import { type Observation, observe } from '../load/observed.ts';
import { memoryNote } from '../report/memory-note.ts';
import { number, percent, type Table } from '../report/table.ts';
import { type CgroupFindings, withService } from '../service/running-service.ts';

interface OverloadResult extends CgroupFindings {
  readonly before: Observation;
  readonly during: Flooded;
  readonly after: Observation;
  /** By a service that knows nothing of the overload: a machine, too, becomes slower in the course of a minute. */
  readonly anew: Observation;
}

const FACTOR = 10;
/** How much longer than a measurement it lasts: a minute where those take 10 seconds. */
const STRETCH = 6;
const categories = ['a cat', 'a dog', 'a tree'] as const;
/** As many as are served at a time, and some that wait: enough to keep it busy, and nobody is refused. */
const STEADY_CLIENTS = 12;

/** Ten times more requests than can be served, of one 500-pixel photo each, and what it is like before and after. */
export async function overloadPart(bench: Bench): Promise<Findings> {
  const { photos } = await bench.photos('500px');
  const { warmUpSeconds, seconds } = bench.options;
  const steady = (base: string, pid: number) =>
    observe(pid, (stopwatch) =>
      steadyLoad(
        {
          url: new URL('/categorize', base),
          photos,
          categories,
          clients: STEADY_CLIENTS,
          photosPerRequest: 1,
        },
        warmUpSeconds,
        seconds,
        stopwatch,
      ),
    );
  const result: OverloadResult = await withService(bench, async ({ url, pid }) => {
    bench.tell('before the overload');
    const before = await steady(url, pid);
    bench.tell('overload');
    const during = await flood({
      url: new URL('/categorize', url),
      photos,
      categories,
      perSecond: FACTOR * before.perSecond,
      seconds: STRETCH * seconds,
    });
    bench.tell('after the overload');
    const after = await steady(url, pid);
    bench.tell('a service started anew');
    const anew = await withService(bench, async (other) => await steady(other.url, other.pid));
    return { before, during, after, anew };
  });
  return { data: result, tables: [overloadTable(bench, result)] };
}

function overloadTable(bench: Bench, result: OverloadResult): Table {
  const { before, during, after, anew } = result;
  const left = (perSecond: number, clientShare: number) => perSecond / (1 - clientShare);
  const kept =
    left(during.acceptedPerSecond, during.clientShare) / left(before.perSecond, before.clientShare);
  const { waiting } = defaultTuning.admission;
  const boundMs = (2 * waiting * 1000) / before.perSecond;
  return {
    title: `Overload: ${FACTOR} times more requests than can be served, for ${STRETCH * bench.options.seconds} s, ${bench.precision}`,
    columns: ['', 'pictures/s', 'median ms', '99 % ms', 'count'],
    rows: [
      ['before', number(before.perSecond), number(before.medianMs), number(before.p99Ms), '–'],
      [
        'accepted',
        number(during.acceptedPerSecond),
        number(during.accepted.medianMs),
        number(during.accepted.p99Ms),
        String(during.accepted.count),
      ],
      [
        'refused',
        '–',
        number(during.refused.medianMs),
        number(during.refused.p99Ms),
        String(during.refused.count),
      ],
      ['after', number(after.perSecond), number(after.medianMs), number(after.p99Ms), '–'],
      ['started anew', number(anew.perSecond), number(anew.medianMs), number(anew.p99Ms), '–'],
    ],
    note: [
      `Sent: ${number(during.sentPerSecond)} a second.`,
      `Twice (requests that wait ÷ pictures/s) is ${number(boundMs)} ms, where newcomers are refused when ${waiting} wait.`,
      `The sender took ${percent(before.clientShare)} of all cores before the overload and ${percent(during.clientShare)} in it, which the service did not have: of what they left it, it made ${percent(kept)} of what it had made before.`,
      memoryNote([{ ...result, peakBytes: after.peakBytes }]),
    ].join(' '),
  };
}
