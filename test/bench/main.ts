/** `bun run bench`: measures what the README claims, in tables and as JSON. It asserts nothing. */
import { type Bench, createBench, type Findings, type Sitting } from './bench.ts';
import { type BenchOptions, parseOptions, usage } from './options.ts';
import { crowdPart } from './parts/crowd.ts';
import { decodePart } from './parts/decode.ts';
import { encodePart } from './parts/encode.ts';
import { hostilePart } from './parts/hostile.ts';
import { labelsPart } from './parts/labels.ts';
import { othersPart } from './parts/others.ts';
import { overloadPart } from './parts/overload.ts';
import { regretPart } from './parts/regret.ts';
import { servicePart } from './parts/service.ts';
import { shardsPart } from './parts/shards.ts';
import { slowPart } from './parts/slow-clients.ts';
import { startPart } from './parts/start.ts';
import { uploadPart } from './parts/upload.ts';
import { videoPart } from './parts/video.ts';
import { describeMachine, sentenceOf } from './report/machine.ts';
import { formatTable } from './report/table.ts';

/** Those that run when none is named; all with a model of full size. */
const parts: ReadonlyMap<string, (bench: Bench) => Promise<Findings>> = new Map([
  ['decode', decodePart],
  ['encode', encodePart],
  ['start', startPart],
  ['service', servicePart],
  ['overload', overloadPart],
  ['crowd', crowdPart],
  ['labels', labelsPart],
  ['video', videoPart],
]);
/** Those that run only when they are named; with the demo model, because they measure everything but the model. */
const named: ReadonlyMap<string, (sitting: Sitting) => Promise<Findings>> = new Map([
  ['hostile', hostilePart],
  ['slow', slowPart],
  ['upload', uploadPart],
  ['regret', regretPart],
  ['shards', shardsPart],
  ['others', othersPart],
]);

const options = readOptions();
if (process.platform !== 'linux') {
  throw new Error('The benchmarks read processor time and memory from /proc: they need Linux.');
}
const machine = await describeMachine();
console.log(`${sentenceOf(machine)}\n`);
const sitting: Sitting = { options, tell: (line) => console.error(`… ${line}`) };
const findings: Record<string, unknown> = {};
const report = (name: string, { tables, data }: Findings) => {
  findings[name] = data;
  for (const table of tables) console.log(formatTable(table));
};

let bench: Bench | undefined;
for (const [name, run] of parts) {
  if (options.only && !options.only.includes(name)) continue;
  bench ??= await createBench(sitting);
  report(name, await run(bench));
}
for (const [name, run] of named) {
  if (options.only?.includes(name)) report(name, await run(sitting));
}
await Bun.write(options.json, `${JSON.stringify({ machine, options, findings }, null, 2)}\n`);
console.log(`As JSON: ${options.json}`);

function readOptions(): BenchOptions {
  try {
    const read = parseOptions(process.argv.slice(2));
    const known = [...parts.keys(), ...named.keys()];
    const unknown = read.only?.filter((name) => !known.includes(name)) ?? [];
    if (unknown.length === 0) return read;
    throw new Error(`--only: ${unknown.join(', ')}; there are ${known.join(', ')}`);
  } catch (fault) {
    console.error(`${fault instanceof Error ? fault.message : fault}\n\n${usage}`);
    process.exit(2);
  }
}
