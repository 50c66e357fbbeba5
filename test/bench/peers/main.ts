/**
 * Compares the service with what people use today: its vision tower with those of OpenVINO, faster-clip,
 * transformers.js and PyTorch; the whole of it with transformers.js and the stack of the service of 2021. It
 * installs them into a cache folder, which takes a network and 8 GB.
 *
 * bun test/bench/peers/main.ts [--only tower|service] [--python FILE] [options of `bun run bench`]
 */
import { createBench } from '../bench.ts';
import { type BenchOptions, parseOptions } from '../options.ts';
import { describeMachine, sentenceOf } from '../report/machine.ts';
import { formatTable } from '../report/table.ts';
import { compare, comparisonTable } from './compare.ts';
import { installPeers } from './install.ts';
import { exportedModel, peersFor } from './peer.ts';
import { compareTowers, towerTable } from './tower/compare-towers.ts';
import { contenders } from './tower/contenders.ts';

const tell = (line: string) => console.error(`… ${line}`);

try {
  const { python, options } = readOptions(process.argv.slice(2));
  const machine = await describeMachine();
  console.log(`${sentenceOf(machine)}\n`);
  const packages = await installPeers(python, tell);
  const bench = await createBench({ options, tell });
  const { checkpointPath } = bench.model;
  const exported = await exportedModel(checkpointPath, packages, tell);
  const findings: Record<string, unknown> = {};
  if (isWanted('tower', options)) {
    const towers = await compareTowers(bench, await contenders(bench, packages, exported));
    console.log(formatTable(towerTable(bench, towers)));
    findings.towers = towers;
  }
  if (isWanted('service', options)) {
    const rounds = await compare(bench, peersFor(checkpointPath, exported, packages));
    console.log(formatTable(comparisonTable(bench, rounds)));
    findings.peers = rounds;
  }
  const report = { machine, options, precision: bench.precision, findings };
  await Bun.write(options.json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`As JSON: ${options.json}`);
} catch (fault) {
  console.error(fault instanceof Error ? fault.message : fault);
  process.exitCode = 1;
}

function isWanted(part: 'tower' | 'service', { only }: BenchOptions): boolean {
  return only?.includes(part) ?? true;
}

/** A Python that has all of requirements.txt already saves installing it. */
function readOptions(args: readonly string[]): { python: string | undefined; options: BenchOptions } {
  const at = args.indexOf('--python');
  if (at === -1) return { python: undefined, options: parseOptions(args) };
  return { python: args[at + 1], options: parseOptions(args.toSpliced(at, 2)) };
}
