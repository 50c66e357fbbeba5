import type { Bench } from '../bench.ts';
import { postForm } from '../load/form-request.ts';
import { steadyLoad } from '../load/load.ts';
import { type Observation, observe } from '../load/observed.ts';
import type { PhotoKind } from '../photos/photo-set.ts';
import { megabytes, number, type Table } from '../report/table.ts';
import { withService } from '../service/running-service.ts';
import { type Peer, startPeer } from './peer.ts';

const OURS = 'this service';

/** What every server is put to, in this order: memory that large photos leave behind is not the small ones'. */
const loads = [
  { name: '500 px', kind: '500px', clients: 4 },
  { name: '12 MP, 1 client', kind: '12mp', clients: 1 },
  { name: '12 MP, 4 clients', kind: '12mp', clients: 4 },
] as const satisfies readonly { name: string; kind: PhotoKind; clients: number }[];

const photosPerRequest = 8;
const categories = ['a cat', 'a dog', 'a tree'] as const;

/** One server's round. */
interface Round {
  readonly server: string;
  /** One a load. */
  readonly observations: readonly Observation[];
  /** Photo → category: with the same weights all should see the same. */
  readonly answers: Readonly<Record<string, string>>;
}

/** All servers in turn, round by round: what disturbs one disturbs the others. */
export async function compare(bench: Bench, peers: readonly Peer[]): Promise<readonly Round[]> {
  const rounds: Round[] = [];
  for (let round = 1; round <= bench.options.rounds; round++) {
    bench.tell(`round ${round}: ${OURS}`);
    rounds.push(await withService(bench, ({ url, pid }) => measure(bench, OURS, url, pid)));
    for (const peer of peers) {
      bench.tell(`round ${round}: ${peer.name}`);
      await using running = await startPeer(peer);
      rounds.push(await measure(bench, peer.name, running.url, running.pid));
    }
  }
  return rounds;
}

async function measure(bench: Bench, server: string, base: string, pid: number): Promise<Round> {
  const { warmUpSeconds, seconds } = bench.options;
  const url = new URL('/categorize', base);
  const { photos } = await bench.photos('500px');
  const { body } = await postForm(url, photos, JSON.stringify({ categories }));
  const observations: Observation[] = [];
  for (const { kind, clients } of loads) {
    const load = { url, clients, photosPerRequest, categories, photos: (await bench.photos(kind)).photos };
    observations.push(await observe(pid, (stopwatch) => steadyLoad(load, warmUpSeconds, seconds, stopwatch)));
  }
  return { server, observations, answers: JSON.parse(body) };
}

export function comparisonTable(bench: Bench, rounds: readonly Round[]): Table {
  const ours = rounds.filter(({ server }) => server === OURS);
  const best = (own: readonly Round[], load: number) =>
    Math.max(...own.map(({ observations }) => observations[load]?.perSecond ?? Number.NaN));
  const peak = (own: readonly Round[], load: number) =>
    Math.max(...own.map(({ observations }) => observations[load]?.peakBytes ?? Number.NaN));
  const row = (server: string) => {
    const own = rounds.filter((round) => round.server === server);
    const cells = loads.flatMap((_, load) => [
      number(best(own, load)),
      server === OURS ? '–' : number(best(ours, load) / best(own, load)),
      megabytes(peak(own, load)),
    ]);
    return [server, ...cells, agreement(own[0] as Round, ours[0] as Round)];
  };
  return {
    title: `Peers: the same photos, weights, cores and clients; this service in ${bench.precision}`,
    columns: [
      'server',
      ...loads.flatMap(({ name }) => [`${name}: pictures/s`, 'ours: … times', 'peak memory']),
      'same answers',
    ],
    rows: [...new Set(rounds.map(({ server }) => server))].map(row),
    note: `Requests of ${photosPerRequest} photos, 4 clients with 500 px. The best of ${bench.options.rounds} rounds, all servers in turn. Peak memory: resident, since the server’s start.`,
  };
}

function agreement({ answers }: Round, { answers: ours }: Round): string {
  const files = Object.keys(ours);
  return `${files.filter((file) => answers[file] === ours[file]).length} of ${files.length}`;
}
