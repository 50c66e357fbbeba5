/**
 * Compares the service with what people use today: transformers.js, and the stack of the service of 2021. It
 * installs them into a cache folder, which takes a network and 6 GB.
 *
 * bun test/bench/peers/main.ts [--python FILE] [options of `bun run bench`]
 */
import { createBench } from '../bench.ts';
import { type BenchOptions, parseOptions } from '../options.ts';
import { describeMachine, sentenceOf } from '../report/machine.ts';
import { formatTable } from '../report/table.ts';
import { compare, comparisonTable } from './compare.ts';
import { installPeers } from './install.ts';
import { peersFor } from './peer.ts';

const tell = (line: string) => console.error(`… ${line}`);

try {
  const { python, options } = readOptions(process.argv.slice(2));
  const machine = await describeMachine();
  console.log(`${sentenceOf(machine)}\n`);
  const packages = await installPeers(python, tell);
  const bench = await createBench({ options, tell });
  const peers = await peersFor(bench.model.checkpointPath, packages, tell);
  const rounds = await compare(bench, peers);
  console.log(formatTable(comparisonTable(bench, rounds)));
  const report = { machine, options, precision: bench.precision, findings: { peers: rounds } };
  await Bun.write(options.json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`As JSON: ${options.json}`);
} catch (fault) {
  console.error(fault instanceof Error ? fault.message : fault);
  process.exitCode = 1;
}

/** A Python that has all of requirements.txt already saves installing it. */
function readOptions(args: readonly string[]): { python: string | undefined; options: BenchOptions } {
  const at = args.indexOf('--python');
  if (at === -1) return { python: undefined, options: parseOptions(args) };
  return { python: args[at + 1], options: parseOptions(args.toSpliced(at, 2)) };
}
