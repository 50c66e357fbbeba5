import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Colour, colourPicture } from '../fixtures/colour-pictures.ts';
import { type Service, startService } from '../service/service.ts';
import { post } from './exchange.ts';
import { CONTENT_TYPE, categoriesPart, filePart, joinForm } from './form.ts';
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

/** Starts a service of its own, with everything it writes in one folder that goes with it. */
export async function startTarget(environment: Readonly<Record<string, string>> = {}): Promise<Target> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const temporary = await mkdtemp(join(folder.path, 'tmp-'));
  const service = cleanup.use(
    await startService({
      CLIP_MODEL: 'demo',
      CLIP_CACHE: join(folder.path, 'cache'),
      TMPDIR: temporary,
      ...environment,
    }),
  );
  await service.ready();
  const { url } = service;
  const form = await goodForm();
  const answer = await goodAnswer(url);
  const tally = createTally();
  const kept = cleanup.move();
  return {
    service,
    url,
    temporaryFolder: temporary,
    tally,
    sentinels: await sentinelsOf(answer),
    async expectSound(attack) {
      const outcome = await post({ url, path: DETAILED, contentType: CONTENT_TYPE, body: form });
      const judged = judge(tally, 'good request', outcome, () => `after ${attack}`);
      if (judged && judged.body !== answer) {
        tally.fault(attack, `another answer to a good request: ${judged.body}; expected ${answer}`);
      }
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** More than a service needs that copies its vision tower; others never do. */
const QUEUES = 40;

/** Lets pictures queue until the service has copied its vision tower, as it does once. */
export async function fillQueues({ service, url }: Target): Promise<void> {
  const body = await goodForm();
  const isCopied = () => service.log.some(({ copies }) => copies !== undefined);
  for (let queues = 0; queues < QUEUES && !isCopied(); queues++) {
    await Promise.all(
      Array.from({ length: 8 }, () => post({ url, path: DETAILED, contentType: CONTENT_TYPE, body })),
    );
  }
}

/** A fresh folder, removed with all that is in it. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'classify-images-robustness-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/**
 * The detailed answer to a good request: the same to the last digit, whoever asks it of whichever service.
 * @throws where there is none, or where it calls a colour by another's name
 */
export async function goodAnswer(url: string): Promise<string> {
  const body = await goodForm();
  const outcome = await post({ url, path: DETAILED, contentType: CONTENT_TYPE, body });
  if (typeof outcome === 'string' || outcome.status !== 200) {
    throw new Error(`a good request is not answered: ${JSON.stringify(outcome)}`);
  }
  await sentinelsOf(outcome.body);
  return outcome.body;
}

async function sentinelsOf(answer: string): Promise<readonly Sentinel[]> {
  const entries = entriesOf(answer);
  const pictures = await colourPictures();
  return pictures.map((bytes, index) => {
    const category = categories[index] as string;
    const entry = entries.get(`${index}.jpg`);
    if (entry === undefined || JSON.parse(entry).category !== category) {
      throw new Error(`the picture of ${category} is called something else: ${answer}`);
    }
    return { bytes, entry, category };
  });
}

const colourPictures = () => Promise.all(categories.map((category) => colourPicture(colours[category])));

export async function goodForm(): Promise<Buffer> {
  const pictures = await colourPictures();
  return joinForm([
    ...pictures.map((bytes, index) => filePart(`${index}.jpg`, bytes)),
    categoriesPart(JSON.stringify({ categories }), 'categories.json'),
  ]);
}

/** The entries of a detailed /categorize answer by file, each without the file's name, as JSON. */
function entriesOf(answer: string): ReadonlyMap<string, string> {
  const { results } = JSON.parse(answer) as { results: { file: string }[] };
  return new Map(results.map(({ file, ...entry }) => [file, JSON.stringify(entry)]));
}

/** Lets `killThreads` reach the service's threads. The path is relative: spaces in it could not be quoted. */
export const mortal = { BUN_OPTIONS: '--preload ./test/robustness/thread-killer.ts' } as const;

/** As `mortal`, and `collectGarbage` reaches its collector. */
export const mortalAndClean = {
  BUN_OPTIONS: `${mortal.BUN_OPTIONS} --preload ./test/robustness/collector.ts`,
} as const;

export function killThreads({ service }: Pick<Target, 'service'>): void {
  process.kill(service.pid, 'SIGUSR2');
}

/** Pages that became free go back to the system some moments later. */
const GIVE_BACK_MS = 2000;

/** Until memory shows what the service holds, and no longer what it has thrown away. */
export async function collectGarbage({ service }: Pick<Target, 'service'>): Promise<void> {
  process.kill(service.pid, 'SIGWINCH');
  await Bun.sleep(GIVE_BACK_MS);
}
