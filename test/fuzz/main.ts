/**
 * Coverage-guided fuzzing of the readers of what clients and operators send: picture headers, forms, category
 * documents, checkpoints.
 *
 *   bun run fuzz --minutes 60 --only headers,forms
 *   bun run fuzz --minutes 0.25 --corpus FOLDER --folder FOLDER
 *
 * Findings are inputs at which a reader throws what it should not, gives a wrong result, takes too much time or
 * memory (see `limits`), or ends the process. Each is saved, with the command that replays it. Ends with 1 after one.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createSemaphore } from '../../src/semaphore.ts';
import { type GroupName, groupNames } from './target.ts';
import { keptInput, memoryFolder, watchChild } from './watched-child.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    only: { type: 'string', default: groupNames.join(',') },
    seed: { type: 'string', default: String(Date.now() % 100_000) },
    folder: { type: 'string', default: join(tmpdir(), 'fuzz') },
    corpus: { type: 'string', multiple: true, default: [] },
  },
});
const minutes = Number(values.minutes);
const groups = values.only.split(',') as GroupName[];
if (!(minutes > 0) || groups.some((group) => !groupNames.includes(group))) {
  console.error(
    `bun run fuzz [--minutes N] [--only ${groupNames.join(',')}] [--seed N] [--folder F] [--corpus FOLDER]...`,
  );
  process.exit(2);
}

interface Report {
  readonly group: GroupName;
  inputs: number;
  seconds: number;
  ways: number;
  allWays: number;
  features: number;
  corpus: number;
  readonly findings: { readonly file: string; readonly note: string }[];
}

const inputs = mkdtempSync(join(memoryFolder, 'fuzz-'));
process.on('exit', () => rmSync(inputs, { recursive: true, force: true }));
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
const findingsFolder = join(values.folder, 'findings');
mkdirSync(findingsFolder, { recursive: true });
/** More at a time than there are processors would only take their time from each other. */
const processors = createSemaphore(availableParallelism());

const reports = await Promise.all(groups.map(fuzzGroup));
console.table(
  Object.fromEntries(
    reports.map(({ group, inputs, seconds, ways, allWays, features, corpus, findings }) => [
      group,
      {
        minutes: (seconds / 60).toFixed(1),
        inputs,
        'inputs/s': Math.round(inputs / seconds),
        ways: `${ways} of ${allWays}`,
        features,
        corpus,
        findings: findings.length,
      },
    ]),
  ),
);
for (const { group, findings } of reports) {
  for (const { file, note } of findings) {
    console.log(
      `${note}\n  bun ${relative(process.cwd(), join(import.meta.dir, 'replay.ts'))} ${group} ${file}`,
    );
  }
}
if (reports.some(({ findings }) => findings.length > 0)) process.exitCode = 1;

async function fuzzGroup(group: GroupName): Promise<Report> {
  using _processor = await processors.acquire(1);
  const report: Report = {
    ...{ group, inputs: 0, seconds: 0, ways: 0, allWays: 0, features: 0, corpus: 0 },
    findings: [],
  };
  const inputFile = join(inputs, group);
  const keptFolder = join(values.folder, 'corpus', group);
  const corpusFolders = [join(import.meta.dir, 'corpus', group), keptFolder, ...values.corpus].filter(
    (folder) => existsSync(folder),
  );
  for (let run = 0; report.seconds < minutes * 60 - 1 && !stop.signal.aborted; run++) {
    const before = { ...report };
    const seed = String(Number(values.seed) + run * 100_000);
    const end = await watchChild({
      command: [
        ...[process.execPath, join(import.meta.dir, 'child.ts')],
        ...[
          group,
          String(minutes * 60 - report.seconds),
          seed,
          inputFile,
          findingsFolder,
          keptFolder,
          ...corpusFolders,
        ],
      ],
      inputFile,
      temporaryFolder: inputs,
      hangCpuSeconds: 10,
      residentBytes: 1024 ** 3,
      isOver: () => stop.signal.aborted,
      onLine(line) {
        const news = JSON.parse(line) as Partial<Report> & { finding?: string; note?: string };
        if (news.finding !== undefined)
          report.findings.push({ file: news.finding, note: `${group}: ${news.note}` });
        else
          Object.assign(report, news, {
            inputs: before.inputs + news.inputs!,
            seconds: before.seconds + news.seconds!,
          });
      },
    });
    if (end === undefined) break;
    const file = join(findingsFolder, `${group}-${end.split(':')[0]}-${seed}`);
    writeFileSync(file, keptInput(inputFile));
    report.findings.push({ file, note: `${group}: ${end}` });
    // A child that ends before it has begun would be started for ever.
    if (report.inputs === before.inputs) break;
  }
  return report;
}
