/**
 * Fuzzes one group of readers, guided by what each input makes them do, until its time is over.
 *
 *   bun test/fuzz/child.ts GROUP SECONDS SEED INPUT_FILE FINDINGS_FOLDER KEPT_FOLDER [CORPUS_FOLDER...]
 *
 * Prints a line of JSON a second: what `main.ts` makes its table of. The input that is being read is always in
 * INPUT_FILE. Inputs that showed something new are left in KEPT_FOLDER at the end.
 */
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../robustness/random.ts';
import { Coverage } from './coverage.ts';
import { amplified, type Mutator, mutated, wordsOf } from './mutation.ts';
import { type GroupName, limits, loadTarget } from './target.ts';
import { keepInput } from './watched-child.ts';

const [group, seconds, seed, inputFile, findingsFolder, keptFolder, ...corpusFolders] = process.argv.slice(2);
const REPORT_MS = 1000;
const AMPLIFIED = 0.002;
/** Of one kind, more would say the same. */
const MAXIMUM_FINDINGS = 5;

interface Kept {
  readonly bytes: Uint8Array;
  /** How many features it is the smallest input for. */
  favoured: number;
}

const coverage = new Coverage();
coverage.install();
const target = await loadTarget(group as GroupName);
const random = createRandom(Number(seed));
const descriptor = openSync(inputFile!, 'w');
mkdirSync(findingsFolder!, { recursive: true });

const corpus: Kept[] = [];
const smallest = new Map<number, Kept>();
const ways = new Set<number>();
const findings = new Map<string, number>();
let inputs = 0;
/**
 * Share of the limits from which on an input is looked at without instruments; those take their time of each of many
 * steps. It rises with inputs that are within the limits after all.
 */
const suspicious = { mutated: 1, amplified: 3 };
const RISE = 1.3;
let resident = process.memoryUsage.rss();

const began = performance.now();
const until = began + Number(seconds) * 1000;
for (const bytes of [...(await target.seeds()), ...corpusFolders.flatMap(readFolder)]) await read(bytes);
if (corpus.length === 0) throw new Error('This is a bug: no seed shows anything.');
const words = wordsOf(coverage.literals);
const mutator: Mutator = {
  random,
  maxBytes: target.maxBytes,
  words,
  other: () => random.pick(corpus).bytes,
  operands: coverage.operands,
};
let reportedAt = began;
while (performance.now() < until) {
  const parent = choose();
  // Read again at times, for what it compares: that says what to put where.
  if (random.chance(0.05)) await read(parent);
  const bytes = mutated(parent, mutator);
  if (target.repair && random.chance(0.7)) target.repair(bytes);
  await read(bytes);
  if (random.chance(AMPLIFIED)) {
    const large = amplified(parent, random);
    if (target.repair && random.chance(0.7)) target.repair(large);
    await read(large);
  }
  if (performance.now() - reportedAt > REPORT_MS) report();
}
report();
keepCorpus();
process.exit(0);

function readFolder(folder: string): Uint8Array[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((name) => new Uint8Array(readFileSync(join(folder, name))));
}

/** Mostly one that is the smallest to show something; at times the newest, or any. */
function choose(): Uint8Array {
  if (random.chance(0.2)) return corpus[corpus.length - 1 - random.below(Math.min(corpus.length, 20))]!.bytes;
  for (let tries = 0; tries < 10; tries++) {
    const kept = random.pick(corpus);
    if (kept.favoured > 0) return kept.bytes;
  }
  return random.pick(corpus).bytes;
}

async function read(bytes: Uint8Array): Promise<void> {
  inputs += 1;
  keepInput(descriptor, bytes);
  coverage.reset();
  const cpuBefore = process.cpuUsage();
  const residentBefore = resident;
  try {
    const reading = target.run(bytes);
    if (reading) await reading;
  } catch (fault) {
    save('exception', bytes, String((fault as Error).stack ?? fault));
    return;
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  const cpuMs = (user + system) / 1000;
  // Asking takes longer than reading most inputs does.
  if (cpuMs > 1) resident = process.memoryUsage.rss();
  const ratio = Math.max(
    cpuMs / limits.cpuMs(bytes.length),
    (resident - residentBefore) / limits.memoryBytes,
  );
  const size = bytes.length <= target.maxBytes ? 'mutated' : 'amplified';
  if (ratio > suspicious[size]) {
    if (await isExcessive(bytes)) return;
    suspicious[size] = ratio * RISE;
  }
  if (size === 'mutated') keepIfNew(bytes);
}

function keepIfNew(bytes: Uint8Array): void {
  const kept: Kept = { bytes, favoured: 0 };
  let isNew = false;
  for (const feature of coverage.features()) {
    const known = smallest.get(feature);
    if (known && known.bytes.length <= bytes.length) continue;
    if (!known) {
      isNew = true;
      const way = Coverage.wayOf(feature);
      if (way !== undefined) ways.add(way);
    } else known.favoured -= 1;
    smallest.set(feature, kept);
    kept.favoured += 1;
  }
  if (isNew || kept.favoured > 0) corpus.push(kept);
}

/** Asked of the readers as they are, in a process of their own. */
async function isExcessive(bytes: Uint8Array): Promise<boolean> {
  const path = join(findingsFolder!, `${group}-suspect-${process.pid}`);
  writeFileSync(path, bytes);
  const { stdout } = Bun.spawnSync([process.execPath, join(import.meta.dir, 'replay.ts'), group!, path]);
  await Bun.file(path).delete();
  const line = stdout.toString();
  if (line === '') {
    save('ended', bytes, 'The process that read it ended.');
    return true;
  }
  const { cpuMs, memoryBytes, isSlow, isLarge } = JSON.parse(line) as Record<string, number>;
  if (isSlow) save('slow', bytes, `${cpuMs} ms of processor time for ${bytes.length} bytes`);
  if (isLarge) save('large', bytes, `${memoryBytes} bytes of memory for ${bytes.length} bytes`);
  return Boolean(isSlow || isLarge);
}

/** By its kind and place, for an exception: the first lines of its stack without what differs from input to input. */
function save(kind: string, bytes: Uint8Array, note: string): void {
  const [message = '', ...frames] = note.split('\n');
  const place =
    kind === 'exception' ? `${message.split(/[:\d]/, 2).join()} ${frames.slice(0, 2).join()}` : '';
  const count = (findings.get(kind + place) ?? 0) + 1;
  findings.set(kind + place, count);
  if (count > (kind === 'exception' ? 1 : MAXIMUM_FINDINGS)) return;
  const name = join(findingsFolder!, `${group}-${kind}-${seed}-${inputs}`);
  writeFileSync(name, bytes);
  writeFileSync(`${name}.txt`, note);
  console.log(JSON.stringify({ finding: name, note: note.split('\n', 1)[0] }));
}

function report(): void {
  reportedAt = performance.now();
  console.log(
    JSON.stringify({
      inputs,
      seconds: (reportedAt - began) / 1000,
      ways: ways.size,
      allWays: coverage.ids.counters,
      features: smallest.size,
      corpus: corpus.length,
    }),
  );
}

/** The smallest inputs that together show all there was to see. */
function keepCorpus(): void {
  mkdirSync(keptFolder!, { recursive: true });
  const favoured = corpus.filter((kept) => kept.favoured > 0);
  for (const { bytes } of favoured) writeFileSync(join(keptFolder!, Bun.hash(bytes).toString(16)), bytes);
}
