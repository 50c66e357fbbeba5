/**
 * May pictures of these formats be decoded in the service's own process? A child process for each format decodes
 * hostile pictures, made to the format's structure, until it dies.
 *
 *   bun test/fuzz/decoders/main.ts --minutes 60 --only jpeg,png --folder FINDINGS --seeds PICTURES
 *
 * A picture that ends the child, keeps it busy for more than 10 seconds of processor time, or fills more than 600 MB
 * is saved to the folder; `bun test/fuzz/decoders/replay.ts FILE` decodes it again. Ends with 1 after a finding.
 */
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { keptInput, memoryFolder, watchChild } from '../watched-child.ts';
import { type BuiltinFormat, builtinFormats } from './seeds.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    only: { type: 'string', default: builtinFormats.join(',') },
    folder: { type: 'string', default: join(tmpdir(), 'fuzz-decoders') },
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', multiple: true, default: [] },
  },
});
const formats = values.only.split(',') as BuiltinFormat[];
const unknown = formats.find((format) => !builtinFormats.includes(format));
const minutes = Number(values.minutes);
if (unknown !== undefined || !(minutes > 0)) {
  console.error(
    `bun test/fuzz/decoders/main.ts [--minutes N] [--only ${builtinFormats.join(',')}] [--folder F] [--seed N]`,
  );
  process.exit(2);
}

const inputs = mkdtempSync(join(memoryFolder, 'fuzz-decoders-'));
const crashes = join(values.folder, 'crashes');
mkdirSync(crashes, { recursive: true });
process.on('exit', () => rmSync(inputs, { recursive: true, force: true }));
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
const until = performance.now() + minutes * 60_000;
const isOver = () => stop.signal.aborted || performance.now() > until;

for (const line of await Promise.all(formats.map(watchFormat))) console.log(line);
process.exitCode = readdirSync(crashes).length > 0 ? 1 : 0;

async function watchFormat(format: BuiltinFormat): Promise<string> {
  const log = join(values.folder, `${format}.log`);
  const startedAt = performance.now();
  const sums: Record<string, number> = {};
  let faults = 0;
  const summary = () =>
    `${format}: ${((performance.now() - startedAt) / 60_000).toFixed(1)} min, ${JSON.stringify(sums)}, ${faults} crashes, hangs or excesses`;
  const ticker = setInterval(() => appendFileSync(log, `${summary()}\n`), 60_000);
  const inputFile = join(inputs, format);
  for (let run = 0; !isOver(); run++) {
    const before = { ...sums };
    const seed = String(Number(values.seed) * 1000 + run);
    const end = await watchChild({
      command: [
        ...[process.execPath, join(import.meta.dir, 'child.ts')],
        ...[format, seed, inputFile, crashes, ...values.seeds],
      ],
      inputFile,
      temporaryFolder: inputs,
      hangCpuSeconds: 10,
      residentBytes: 600 * 1024 ** 2,
      isOver,
      onLine(line) {
        const counts = JSON.parse(line) as Record<string, number>;
        for (const [name, count] of Object.entries(counts)) sums[name] = (before[name] ?? 0) + count;
      },
    });
    if (end === undefined) break;
    faults += 1;
    const name = join(crashes, `${format}-${end.split(':')[0]}-${seed}`);
    writeFileSync(name, keptInput(inputFile));
    writeFileSync(`${name}.txt`, end);
    appendFileSync(log, `${format}: ${end}, saved as ${name}\n`);
  }
  clearInterval(ticker);
  appendFileSync(log, `${summary()} (end)\n`);
  return summary();
}
