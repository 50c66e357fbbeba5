/**
 * Chooses a small corpus out of what the fuzzer has kept: few inputs that together take every way that all of them
 * take.
 *
 *   bun test/fuzz/minimise.ts GROUP FOLDER... > files.txt
 *
 * Prints the paths of the inputs chosen, the smallest first.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Coverage } from './coverage.ts';
import { type GroupName, loadTarget } from './target.ts';

const [group, ...folders] = process.argv.slice(2);
const coverage = new Coverage();
coverage.install();
const target = await loadTarget(group as GroupName);

const inputs = folders
  .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
  .map((path) => ({ path, bytes: new Uint8Array(readFileSync(path)) }))
  .sort((a, b) => a.bytes.length - b.bytes.length);
const taken: { path: string; ways: Set<number> }[] = [];
for (const { path, bytes } of inputs) {
  coverage.reset();
  try {
    await target.run(bytes);
  } catch {
    continue; // a finding is no part of a corpus
  }
  const ways = coverage.features().map(Coverage.wayOf);
  taken.push({ path, ways: new Set(ways.filter((way) => way !== undefined)) });
}

const missing = new Set(taken.flatMap(({ ways }) => [...ways]));
while (missing.size > 0) {
  const gain = ({ ways }: (typeof taken)[number]) => ways.intersection(missing).size;
  const best = taken.reduce((chosen, candidate) => (gain(candidate) > gain(chosen) ? candidate : chosen));
  console.log(best.path);
  for (const way of best.ways) missing.delete(way);
}
