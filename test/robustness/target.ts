import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { type Service, startService } from '../service/service.ts';
import { post, type RawAnswer } from './exchange.ts';
import { CONTENT_TYPE, categoriesPart, type FormPart, filePart, joinForm } from './form.ts';
import { judge } from './judge.ts';
import { createTally, type Tally } from './tally.ts';

/** A sound picture whose answer is known to the last digit. */
export interface Sentinel {
  readonly bytes: Uint8Array;
  /** Its entry in a detailed answer to `categories`, without the file's name, as JSON. */
  readonly entry: string;
  readonly category: string;
}

/** The service under attack. */
export interface Target extends AsyncDisposable {
  readonly service: Service;
  readonly url: string;
  readonly temporaryFolder: string;
  readonly tally: Tally;
  readonly sentinels: readonly Sentinel[];
  /** Sends a good request and holds its answer to the last digit. */
  expectSound(attack: string): Promise<void>;
}

export const categories = ['red', 'green', 'blue'] as const;
const colours: Readonly<Record<(typeof categories)[number], Colour>> = {
  red: [205, 25, 35],
  green: [40, 150, 50],
  blue: [35, 70, 200],
};

export const DETAILED = '/categorize?details=true';

export async function startTarget(environment: Readonly<Record<string, string>> = {}): Promise<Target> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'classify-images-robustness-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const temporaryFolder = await mkdtemp(join(folder, 'tmp-'));
  const service = cleanup.use(
    await startService({
      CLIP_MODEL: 'demo',
      CLIP_CACHE: join(folder, 'cache'),
      TMPDIR: temporaryFolder,
      ...environment,
    }),
  );
  await service.ready();
  const target = await aim(service, temporaryFolder);
  const kept = cleanup.move();
  return { ...target, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Learns the right answers from a service that nobody has attacked yet; that they are right shows in the colours. */
export async function aim(
  service: Service,
  temporaryFolder: string,
): Promise<Omit<Target, keyof AsyncDisposable>> {
  const { url } = service;
  const tally = createTally();
  const pictures = await Promise.all(categories.map((category) => colourPicture(colours[category])));
  const form = goodForm(pictures);
  const answer = await ask(url, form);
  const entries = entriesOf(answer);
  const sentinels = pictures.map((bytes, index) => {
    const category = categories[index] as string;
    const entry = entries.get(`${index}.jpg`);
    if (entry === undefined || JSON.parse(entry).category !== category) {
      throw new Error(`the service is wrong before any attack: ${answer.body}`);
    }
    return { bytes, entry, category };
  });
  return {
    service,
    url,
    temporaryFolder,
    tally,
    sentinels,
    async expectSound(attack) {
      const about = () => 'a good request afterwards';
      const outcome = await post({ url, path: DETAILED, contentType: CONTENT_TYPE, body: form });
      const judged = judge(tally, 'good request', outcome, () => `${about()} (${attack})`);
      if (judged && judged.body !== answer.body) {
        tally.fault(attack, `another answer to ${about()}: ${judged.body}; expected ${answer.body}`);
      }
    },
  };
}

/** The entries of a detailed /categorize answer by file, each without the file's name, as JSON. */
export function entriesOf({ body }: RawAnswer): ReadonlyMap<string, string> {
  const { results } = JSON.parse(body) as { results: { file: string }[] };
  return new Map(results.map(({ file, ...entry }) => [file, JSON.stringify(entry)]));
}

function goodForm(pictures: readonly Uint8Array[]): Buffer {
  const files: FormPart[] = pictures.map((bytes, index) => filePart(`${index}.jpg`, bytes));
  return joinForm([...files, categoriesPart(JSON.stringify({ categories }), 'categories.json')]);
}

async function ask(url: string, body: Buffer): Promise<RawAnswer> {
  const outcome = await post({ url, path: DETAILED, contentType: CONTENT_TYPE, body });
  if (typeof outcome === 'string' || outcome.status !== 200) {
    throw new Error(`the service does not answer before any attack: ${JSON.stringify(outcome)}`);
  }
  return outcome;
}

/** Lets `killThreads` reach the service's threads. The path is relative: spaces in it could not be quoted. */
export const mortal = { BUN_OPTIONS: '--preload ./test/robustness/thread-killer.ts' } as const;

export function killThreads({ service }: Pick<Target, 'service'>): void {
  process.kill(service.pid, 'SIGUSR2');
}
