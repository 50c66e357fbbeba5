/** `bun run bench`: measures what the README claims, in tables and as JSON. It asserts nothing. */
import { type Bench, createBench, type Findings } from './bench.ts';
import { type BenchOptions, parseOptions, usage } from './options.ts';
import { crowdPart } from './parts/crowd.ts';
import { decodePart } from './parts/decode.ts';
import { encodePart } from './parts/encode.ts';
import { labelsPart } from './parts/labels.ts';
import { overloadPart } from './parts/overload.ts';
import { servicePart } from './parts/service.ts';
import { startPart } from './parts/start.ts';
import { videoPart } from './parts/video.ts';
import { describeMachine, sentenceOf } from './report/machine.ts';
import { formatTable } from './report/table.ts';

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

const options = readOptions();
const machine = await describeMachine();
console.log(`${sentenceOf(machine)}\n`);
const bench = await createBench(options, (line) => console.error(`… ${line}`));

const findings: Record<string, unknown> = {};
for (const [name, run] of parts) {
  if (options.only && !options.only.includes(name)) continue;
  const { tables, data } = await run(bench);
  findings[name] = data;
  for (const table of tables) console.log(formatTable(table));
}
await Bun.write(options.json, `${JSON.stringify({ machine, options, findings }, null, 2)}\n`);
console.log(`As JSON: ${options.json}`);

function readOptions(): BenchOptions {
  try {
    const read = parseOptions(process.argv.slice(2));
    const unknown = read.only?.filter((name) => !parts.has(name)) ?? [];
    if (unknown.length === 0) return read;
    throw new Error(`--only: ${unknown.join(', ')}; there are ${[...parts.keys()].join(', ')}`);
  } catch (fault) {
    console.error(`${fault instanceof Error ? fault.message : fault}\n\n${usage}`);
    process.exit(2);
  }
}
